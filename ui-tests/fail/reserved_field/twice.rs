use ruts::session;

#[session]
struct Shop {
    cart: u8,
    cart: u16,
}

fn main() {}
