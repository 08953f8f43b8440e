use ruts::session;

#[session]
struct Shop {
    cart: u8,
    set_cart: u8,
}

fn main() {}
