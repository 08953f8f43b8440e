use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use ruts::session;

#[session]
struct Shop {
    number: u64,
    text: String,
    boxed: Box<str>,
    cow: Cow<'static, str>,
    list: Vec<u16>,
    array: [u8; 2],
    path: PathBuf,
    maybe: Option<u64>,
}

async fn handler(shop: Shop, owned: String) -> Result<(), ruts::Error> {
    shop.set_number(&5).await?;
    shop.set_text("text").await?;
    shop.set_text(&owned).await?;
    shop.set_text(owned.as_str()).await?;
    shop.set_boxed("text").await?;
    shop.set_cow("text").await?;
    shop.set_list(&[1, 2][..]).await?;
    shop.set_list(&vec![1, 2]).await?;
    shop.set_array(&[1, 2]).await?;
    shop.set_path(Path::new("/tmp")).await?;
    shop.set_maybe(&5).await?;
    let _: Option<u64> = shop.maybe().await?;
    let (number, text) = shop.session().read((Shop::NUMBER, Shop::TEXT)).await?;
    let _: (Option<u64>, Option<String>) = (number, text);
    Ok(())
}

fn is_send<T: Send>(_: T) {}

fn main() {
    let _ = |shop: Shop| is_send(handler(shop, String::new()));
}
