use ruts::session;

#[session]
struct Shop {
    #[field(version = 65536)]
    cart: u8,
}

fn main() {}
