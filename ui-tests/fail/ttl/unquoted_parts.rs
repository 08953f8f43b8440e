use ruts::session;

#[session]
struct Shop {
    #[field(ttl = 1h 30m)]
    cart: u8,
}

fn main() {}
