use ruts::session;

#[session]
struct Shop {
    #[field(default)]
    cart: Option<u8>,
}

fn main() {}
