use ruts::session;

#[session]
struct Shop {
    #[field(codec = "messagepack")]
    cart: u8,
}

fn main() {}
