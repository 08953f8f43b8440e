use ruts::session;

#[session("auth")]
struct Shop {
    cart: u8,
}

fn main() {}
