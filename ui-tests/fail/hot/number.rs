use ruts::session;

#[session]
struct Shop {
    #[field(hot = 30)]
    cart: u8,
}

fn main() {}
