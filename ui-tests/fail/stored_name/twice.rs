use ruts::session;

#[session]
struct Shop {
    cart: u8,
    #[field(rename = "cart")]
    basket: u8,
}

fn main() {}
