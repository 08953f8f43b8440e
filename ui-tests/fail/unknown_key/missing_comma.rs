use ruts::session;

#[session]
struct Shop {
    #[field(lazy once)]
    cart: u8,
}

fn main() {}
