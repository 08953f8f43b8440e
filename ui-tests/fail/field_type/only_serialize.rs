use ruts::session;

#[derive(serde::Serialize)]
struct Cart;

#[session]
struct Shop {
    cart: Cart,
}

fn main() {}
