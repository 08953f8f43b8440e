use ruts::session;

#[session]
struct Shop {
    #[field(principal)]
    user: u8,
}

async fn handler(shop: Shop) {
    let _ = shop.user().update(|_| ()).await;
}

fn main() {}
