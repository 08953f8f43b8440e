use ruts::session;

#[session]
struct Shop {
    #[feild(ttl = "30d")]
    cart: u8,
}

fn main() {}
