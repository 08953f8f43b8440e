use ruts::session;

#[session]
struct Shop {
    #[serde(skip)]
    cart: u8,
}

fn main() {}
