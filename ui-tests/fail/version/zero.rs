use ruts::session;

#[session]
struct Shop {
    #[field(version = 0)]
    cart: u8,
}

fn main() {}
