use ruts::session;

#[session]
struct Shop {
    #[allow(non_snake_case)]
    CART: u8,
    _1: u8,
}

fn main() {}
