use ruts::session;

#[session]
struct Shop {
    #[field(index)]
    cart: u8,
}

fn main() {}
