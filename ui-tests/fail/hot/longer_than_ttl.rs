use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "1h", hot = "2h")]
    cart: u8,
}

fn main() {}
