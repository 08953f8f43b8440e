//! The cart: changed by what it holds, so tabs that add at the same moment lose nothing.

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
    // Read along with the frame: no further round trip.
    let lines = lines(&shop.cart().await?);
    html(&CartPage { frame, total: total(&lines), lines })
}

#[derive(Deserialize)]
pub(crate) struct Chosen {
    item: String,
}

/// Nobody needs more than that of anything.
const MOST: u32 = 99;

pub(crate) async fn add(shop: Shop, Form(chosen): Form<Chosen>) -> Page {
    match find(&chosen.item) {
        Some(item) => {
            let add = |cart: &mut Cart| {
                let count = cart.entry(item.id.to_owned()).or_default();
                *count = (*count + 1).min(MOST);
            };
            shop.cart().update(add).await?;
            shop.set_flash(&format!("{} is in your cart.", item.name)).await?;
        }
        None => shop.set_flash("We do not sell that.").await?,
    }
    Ok(Redirect::to("/").into_response())
}

pub(crate) async fn remove(shop: Shop, Form(chosen): Form<Chosen>) -> Page {
    shop.cart().update(|cart| cart.remove(&chosen.item)).await?;
    Ok(Redirect::to("/cart").into_response())
}
