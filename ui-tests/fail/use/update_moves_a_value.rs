use ruts::session;

#[session]
struct Shop {
    #[field(default)]
    cart: Vec<String>,
}

async fn handler(shop: Shop, item: String) {
    let _ = shop.cart().update(|cart| cart.push(item)).await;
}

fn main() {
    let _ = handler;
}
