use ruts::session;

#[session]
struct r#Shop {
    r#type: String,
    #[field(default)]
    r#move: bool,
}

async fn handler(shop: Shop) -> Result<(), ruts::Error> {
    shop.set_type("a").await?;
    shop.r#move().update(|moved| *moved = true).await?;
    shop.edit().r#type("b").remove_move().commit().await
}

fn main() {
    let _ = handler;
    assert_eq!(Shop::TYPE.spec().name(), "type");
    assert_eq!(Shop::SCHEMA.name(), "Shop");
}
