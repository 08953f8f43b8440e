use ruts::session;

#[session]
struct Shop {
    cart: u8,
    name: String,
}

async fn handler(shop: Shop) {
    let _ = shop.set_name(String::new()).await;
}

fn main() {
    let _ = handler;
}
