//! The cart. Updates are atomic, so tabs that add at the same moment lose nothing.

use askama::Template;
use axum::{
    Form,
    response::{IntoResponse, Redirect},
};
use serde::Deserialize;

use super::catalogue::{Item, find, price};
use crate::{
    session::{Cart, Shop},
    view::{Frame, Page, html},
};

/// A line of the cart.
pub(crate) struct Line {
    pub(crate) item: &'static Item,
    pub(crate) count: u32,
}

pub(crate) fn lines(cart: &Cart) -> Vec<Line> {
    let line = |(id, count): (&String, &u32)| Some(Line { item: find(id)?, count: *count });
    cart.iter().filter_map(line).collect()
}

pub(crate) fn total(lines: &[Line]) -> String {
    price(lines.iter().map(|line| line.item.price * line.count).sum())
}

#[derive(Template)]
#[template(path = "cart.html")]
struct CartPage {
    frame: Frame,
    lines: Vec<Line>,
    total: String,
}

pub(crate) async fn show(shop: Shop) -> Page {
    let frame = Frame::of(&shop).await?;
    // No round trip: the frame has read the cart.
    let lines = lines(&shop.cart().await?);
    html(&CartPage { frame, total: total(&lines), lines })
}

#[derive(Deserialize)]
pub(crate) struct ItemForm {
    item: String,
}

/// Maximum number of one item.
const MAX_COUNT: u32 = 99;

pub(crate) async fn add(shop: Shop, Form(form): Form<ItemForm>) -> Page {
    match find(&form.item) {
        Some(item) => {
            let add = |cart: &mut Cart| {
                let count = cart.entry(item.id.to_owned()).or_default();
                *count = (*count + 1).min(MAX_COUNT);
            };
            shop.cart().update(add).await?;
            shop.set_flash(&format!("{} is in your cart.", item.name)).await?;
        }
        None => shop.set_flash("We do not sell this item.").await?,
    }
    Ok(Redirect::to("/").into_response())
}

pub(crate) async fn remove(shop: Shop, Form(form): Form<ItemForm>) -> Page {
    shop.cart().update(|cart| cart.remove(&form.item)).await?;
    Ok(Redirect::to("/cart").into_response())
}
