use ruts::session;

#[session]
struct Shop {
    #[field(colour = "red")]
    cart: u8,
}

fn main() {}
