use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "30days")]
    cart: u8,
}

fn main() {}
