use ruts::session;

#[session]
struct Shop {
    #[field("30d")]
    cart: u8,
}

fn main() {}
