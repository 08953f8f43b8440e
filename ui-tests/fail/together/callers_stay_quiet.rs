use ruts::session;

#[session]
struct Shop {
    #[field(tll = "30d", default)]
    cart: u8,
    #[field(ttl = "7days")]
    user: String,
}

async fn handler(shop: Shop) -> Result<u8, ruts::Error> {
    shop.set_user("ada").await?;
    shop.edit().cart(&1).remove_user().commit().await?;
    shop.cart().update(|cart| *cart += 1).await?;
    let values: ShopValues = shop.load().await?;
    Ok(values.cart + shop.cart().await?)
}

fn main() {}
