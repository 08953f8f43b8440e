use ruts::session;

#[session(colour = "red")]
struct Shop {
    cart: u8,
}

fn main() {}
