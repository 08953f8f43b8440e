use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "")]
    cart: u8,
}

fn main() {}
