use ruts::session;

#[session]
struct Shop {
    #[field(rename = "~meta")]
    cart: u8,
}

fn main() {}
