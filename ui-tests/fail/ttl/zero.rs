use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "0s")]
    cart: u8,
}

fn main() {}
