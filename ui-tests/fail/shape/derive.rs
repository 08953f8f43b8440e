use ruts::session;

#[session]
#[derive(Debug)]
struct Shop {
    cart: u8,
}

fn main() {}
