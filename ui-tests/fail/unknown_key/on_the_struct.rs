use ruts::session;

#[session(codc = "bincode")]
struct Shop {
    cart: u8,
}

fn main() {}
