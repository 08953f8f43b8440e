use ruts::session;

#[session(layer = "staff")]
struct Shop {
    cart: u8,
}

fn main() {}
