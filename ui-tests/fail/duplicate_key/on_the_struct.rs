use ruts::session;

#[session(prefix = "a", prefix = "b")]
struct Shop {
    cart: u8,
}

fn main() {}
