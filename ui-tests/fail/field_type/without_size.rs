use ruts::session;

#[session]
struct Shop {
    cart: str,
}

fn main() {}
