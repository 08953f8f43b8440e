use ruts::session;

#[session]
#[session]
struct Shop {
    cart: u8,
}

fn main() {}
