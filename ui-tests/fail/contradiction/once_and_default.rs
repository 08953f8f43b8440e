use ruts::session;

#[session]
struct Shop {
    #[field(once, default)]
    cart: u8,
}

fn main() {}
