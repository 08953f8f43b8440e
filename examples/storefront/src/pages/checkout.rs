//! An order in three steps. The forms fill a draft, which is encrypted and read only here.

use askama::Template;
use axum::{
    Form,
    response::{IntoResponse, Redirect},
};
use ruts::guard::Aal;
use serde::Deserialize;

use super::cart::{Line, lines, total};
use crate::{
    session::{Delivery, Draft, Shop},
    view::{Frame, Page, html},
};

#[derive(Template)]
#[template(path = "checkout.html")]
struct CheckoutPage {
    frame: Frame,
    draft: Draft,
    step: u8,
    lines: Vec<Line>,
    total: String,
}

impl CheckoutPage {
    fn delivery(&self) -> &'static str {
        match self.draft.delivery {
            Some(Delivery::Bicycle) => "by bicycle",
            Some(Delivery::Post) => "by post",
            None => "",
        }
    }
}

pub(crate) async fn show(Aal(shop): Aal<Shop, 1>) -> Page {
    let frame = Frame::of(&shop).await?;
    let lines = lines(&shop.cart().await?);
    if lines.is_empty() {
        return Ok(Redirect::to("/cart").into_response());
    }
    let draft = shop.draft().await?;
    let step = step(&draft);
    html(&CheckoutPage { frame, draft, step, total: total(&lines), lines })
}

/// Returns the step that comes next.
fn step(draft: &Draft) -> u8 {
    match draft {
        Draft { street, .. } if street.is_empty() => 1,
        Draft { delivery: None, .. } => 2,
        _ => CONFIRM,
    }
}

/// The last step.
const CONFIRM: u8 = 3;

#[derive(Deserialize)]
pub(crate) struct AddressForm {
    name: String,
    street: String,
    city: String,
}

pub(crate) async fn address(Aal(shop): Aal<Shop, 1>, Form(form): Form<AddressForm>) -> Page {
    let short = |text: &str| text.trim().chars().take(100).collect::<String>();
    let fill = |draft: &mut Draft| {
        draft.name = short(&form.name);
        draft.street = short(&form.street);
        draft.city = short(&form.city);
    };
    shop.draft().update(fill).await?;
    Ok(Redirect::to("/checkout").into_response())
}

#[derive(Deserialize)]
pub(crate) struct DeliveryForm {
    /// `None` goes back to the address.
    delivery: Option<Delivery>,
}

pub(crate) async fn delivery(Aal(shop): Aal<Shop, 1>, Form(form): Form<DeliveryForm>) -> Page {
    let choose = |draft: &mut Draft| match form.delivery {
        Some(delivery) => draft.delivery = Some(delivery),
        None => {
            draft.street.clear();
            draft.delivery = None;
        }
    };
    shop.draft().update(choose).await?;
    Ok(Redirect::to("/checkout").into_response())
}

pub(crate) async fn order(Aal(shop): Aal<Shop, 1>) -> Page {
    let (draft, cart) = shop.session().read((Shop::DRAFT, Shop::CART)).await?;
    if step(&draft) < CONFIRM && !cart.is_empty() {
        return Ok(Redirect::to("/checkout").into_response());
    }
    // `take` returns the cart once, so a form that is sent twice orders once.
    let message = match shop.cart().take().await? {
        Some(cart) => {
            shop.draft().remove().await?;
            format!("Thank you. {} is on its way.", total(&lines(&cart)))
        }
        None => "Your order is already on its way.".to_owned(),
    };
    shop.set_flash(&message).await?;
    Ok(Redirect::to("/").into_response())
}
