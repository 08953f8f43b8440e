use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "30")]
    cart: u8,
}

fn main() {}
