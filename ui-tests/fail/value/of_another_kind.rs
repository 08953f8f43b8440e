use ruts::session;

#[session]
struct Shop {
    #[field(rename = 5)]
    cart: u8,
}

fn main() {}
