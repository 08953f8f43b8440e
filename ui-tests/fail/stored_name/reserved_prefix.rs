use ruts::session;

#[session(prefix = "~shop")]
struct Shop {
    cart: u8,
}

fn main() {}
