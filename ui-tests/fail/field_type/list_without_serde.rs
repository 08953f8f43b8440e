use ruts::session;

struct Cart;

#[session]
struct Shop {
    cart: Vec<Cart>,
}

fn main() {}
