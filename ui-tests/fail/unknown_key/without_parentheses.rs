use ruts::session;

#[session]
struct Shop {
    #[field]
    cart: u8,
}

fn main() {}
