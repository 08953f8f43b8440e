use std::sync::Arc;

use ruts::{Error, auth::Assurance, session, store::memory::MemoryStore};

mod shop {
    #[ruts::session]
    pub struct Shop {
        #[field(principal, rename = "u")]
        r#type: String,
    }
}

#[session(prefix = "none")]
struct Nobody {
    cart: u8,
}

pub async fn handler(shop: shop::Shop, store: Arc<MemoryStore>) -> Result<usize, Error> {
    shop.r#type().sign_in("ada", Assurance::Aal2).await?;
    shop.set_type("bob").await?;
    let _: Option<String> = shop.r#type().await?;
    shop::Shop::sessions(&store).revoke_everyone().await?;
    shop::Shop::sessions(store).by_type("bob").revoke_all().await
}

fn main() {
    assert_eq!(Nobody::SCHEMA.fields().len(), 1);
}
