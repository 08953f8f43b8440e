use ruts::session;

#[session]
struct Shop {
    #[field(ttl = 5 + 5)]
    cart: u8,
}

fn main() {}
