use ruts::session;

#[session(lock = 7)]
struct Shop {
    cart: u8,
}

fn main() {}
