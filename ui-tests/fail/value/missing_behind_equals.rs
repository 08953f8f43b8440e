use ruts::session;

#[session]
struct Shop {
    #[field(rename =)]
    cart: u8,
}

fn main() {}
