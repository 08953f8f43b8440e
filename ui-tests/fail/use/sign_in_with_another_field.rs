use ruts::{auth::Assurance, session};

#[session]
struct Shop {
    #[field(principal)]
    user: u8,
    cart: u8,
}

async fn handler(shop: Shop) {
    let _ = shop.cart().sign_in(&7, Assurance::Aal1).await;
}

fn main() {}
