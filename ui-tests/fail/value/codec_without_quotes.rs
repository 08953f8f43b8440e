use ruts::session;

#[session]
struct Shop {
    #[field(codec = bincode)]
    cart: u8,
}

fn main() {}
