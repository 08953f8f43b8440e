use ruts::session;

#[session]
struct Shop {
    #[field(hot = true)]
    cart: u8,
}

fn main() {}
