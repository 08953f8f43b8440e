use std::time::Duration;

use ruts::session;

#[session]
struct Shop {
    #[field(once)]
    flash: String,
}

async fn handler(shop: Shop) {
    let _ = shop.flash().expire(Duration::from_secs(1)).await;
}

fn main() {}
