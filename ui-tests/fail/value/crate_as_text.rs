use ruts::session;

#[session(crate = "ruts")]
struct Shop {
    cart: u8,
}

fn main() {}
