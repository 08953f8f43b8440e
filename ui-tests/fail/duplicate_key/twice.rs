use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "1d", ttl = "2d")]
    cart: u8,
}

fn main() {}
