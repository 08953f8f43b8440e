use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "1 month")]
    cart: u8,
}

fn main() {}
