use ruts::session;

#[session]
struct Shop {
    cart: u8,
    #[field(once)]
    flash: String,
}

async fn handler(shop: Shop) {
    let _ = shop.flash().get().await;
}

fn main() {}
