//! The items for sale. A visit starts no session.

use askama::Template;

use crate::{
    session::Shop,
    view::{Frame, Page, html},
};

/// An item for sale.
pub(crate) struct Item {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Price in cents.
    pub(crate) price: u32,
}

impl Item {
    pub(crate) fn price_text(&self) -> String {
        price(self.price)
    }
}

/// Formats a price.
pub(crate) fn price(cents: u32) -> String {
    format!("€ {}.{:02}", cents / 100, cents % 100)
}

pub(crate) const ITEMS: [Item; 4] = [
    Item { id: "tea", name: "Tea", about: "First flush, from the hills.", price: 890 },
    Item { id: "bread", name: "Bread", about: "Rye, baked this morning.", price: 420 },
    Item { id: "apples", name: "Apples", about: "A kilo, red and tart.", price: 310 },
    Item { id: "honey", name: "Honey", about: "From linden trees.", price: 750 },
];

pub(crate) fn find(id: &str) -> Option<&'static Item> {
    ITEMS.iter().find(|item| item.id == id)
}

#[derive(Template)]
#[template(path = "catalogue.html")]
struct CataloguePage {
    frame: Frame,
    items: &'static [Item],
}

pub(crate) async fn show(shop: Shop) -> Page {
    html(&CataloguePage { frame: Frame::of(&shop).await?, items: &ITEMS })
}
