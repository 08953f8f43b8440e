use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "30f")]
    cart: u8,
}

fn main() {}
