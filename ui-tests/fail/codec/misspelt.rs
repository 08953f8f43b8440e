use ruts::session;

#[session]
struct Shop {
    #[field(codec = "bincod")]
    cart: u8,
}

fn main() {}
