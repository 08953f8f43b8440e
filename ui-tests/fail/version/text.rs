use ruts::session;

#[session]
struct Shop {
    #[field(version = "2")]
    cart: u8,
}

fn main() {}
