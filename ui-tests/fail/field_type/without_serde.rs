use ruts::session;

struct Cart;

#[session]
struct Shop {
    cart: Cart,
}

fn main() {}
