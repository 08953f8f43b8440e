use ruts::session;

#[session]
struct Shop {
    #[field(codec = "json")]
    cart: u8,
}

fn main() {}
