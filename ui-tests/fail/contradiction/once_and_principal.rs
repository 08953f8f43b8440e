use ruts::session;

#[session]
struct Shop {
    #[field(once, principal)]
    cart: u8,
}

fn main() {}
