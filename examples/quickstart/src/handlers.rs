//! Handlers name only `Shop`: never a store, never a string.

use axum::{
    Form,
    response::{Html, Redirect},
};
use ruts::Error;
use serde::Deserialize;

use crate::{
    page::{Page, render},
    session::Shop,
};

/// What can be bought.
pub(crate) const ITEMS: [&str; 3] = ["tea", "bread", "apples"];

pub(crate) async fn home(shop: Shop) -> Result<Html<String>, Error> {
    // Atomic: parallel visits are all counted.
    let visits = shop.visits().update(|visits| {
        *visits += 1;
        *visits
    });
    let visits = visits.await?;
    // Of two tabs, one gets the message.
    let flash = shop.flash().take().await?;
    // Both were read together by the first of the calls above: no further round trip.
    let user = shop.user().await?;
    let cart = shop.cart().await?;
    Ok(Html(render(&Page { visits, flash, user, cart })))
}

#[derive(Deserialize)]
pub(crate) struct SignIn {
    name: String,
}

/// Asks for no password: a real app checks one here.
pub(crate) async fn sign_in(shop: Shop, Form(form): Form<SignIn>) -> Result<Redirect, Error> {
    let name: String = form.name.trim().chars().take(40).collect();
    if name.is_empty() {
        shop.set_flash("Tell us your name first.").await?;
    } else {
        // One round trip: the user, the message and a new token, since `user` is the principal.
        shop.edit().user(&name).flash(&format!("Welcome, {name}!")).commit().await?;
    }
    Ok(Redirect::to("/"))
}

pub(crate) async fn sign_out(shop: Shop) -> Result<Redirect, Error> {
    // Ends the session here and in the browser; the message begins a new, anonymous one.
    shop.session().delete().await?;
    shop.set_flash("You are signed out.").await?;
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
pub(crate) struct Add {
    item: String,
}

pub(crate) async fn add_to_cart(shop: Shop, Form(add): Form<Add>) -> Result<Redirect, Error> {
    let Some(item) = ITEMS.into_iter().find(|item| *item == add.item) else {
        shop.set_flash("We do not sell that.").await?;
        return Ok(Redirect::to("/"));
    };
    // Atomic as well: two tabs can add at the same moment.
    shop.cart().update(|cart| *cart.entry(item.to_owned()).or_default() += 1).await?;
    shop.set_flash(&format!("Added {item}.")).await?;
    Ok(Redirect::to("/"))
}
