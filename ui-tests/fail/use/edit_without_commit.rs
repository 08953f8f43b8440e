#![deny(unused_must_use)]

use ruts::session;

#[session]
struct Shop {
    cart: u8,
    name: String,
}

async fn handler(shop: Shop) {
    shop.edit().cart(&1);
}

fn main() {
    let _ = handler;
}
