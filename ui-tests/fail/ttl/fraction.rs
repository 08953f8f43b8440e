use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "1.5h")]
    cart: u8,
}

fn main() {}
