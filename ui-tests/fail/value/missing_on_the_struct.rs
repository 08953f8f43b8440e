use ruts::session;

#[session(prefix)]
struct Shop {
    cart: u8,
}

fn main() {}
