use ruts::session;

#[session]
struct Shop {
    #[field(once(true))]
    cart: u8,
}

fn main() {}
