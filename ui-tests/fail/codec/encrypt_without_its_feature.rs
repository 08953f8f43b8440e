use ruts::session;

#[session]
struct Shop {
    #[field(encrypt)]
    cart: u8,
}

fn main() {}
