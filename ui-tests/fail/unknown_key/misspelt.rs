use ruts::session;

#[session]
struct Shop {
    #[field(tll = "30d")]
    cart: u8,
}

fn main() {}
