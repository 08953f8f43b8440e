use ruts::session;

#[session]
struct Shop {
    #[field(version = -1)]
    cart: u8,
}

fn main() {}
