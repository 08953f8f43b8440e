use ruts::session;

#[session]
struct Shop {
    #[field(ttl = "36501d")]
    cart: u8,
}

fn main() {}
