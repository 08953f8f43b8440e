use ruts::session;

#[session]
struct Shop {
    remove_cart: u8,
    cart: u8,
}

fn main() {}
