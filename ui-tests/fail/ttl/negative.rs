use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "-1h")]
    cart: u8,
}

fn main() {}
