use ruts::session;

#[session]
struct Shop {
    #[field(ttl = 30d)]
    cart: u8,
}

fn main() {}
