//! The handlers. They use only `Shop`, and neither a store nor field names as strings.

use axum::{
    Form,
    response::{Html, Redirect},
};
use ruts::Error;
use serde::Deserialize;

use crate::{
    page::{ITEMS, Page, render},
    session::Shop,
};

pub(crate) async fn home(shop: Shop) -> Result<Html<String>, Error> {
    // The update is atomic, so that each of several parallel visits counts.
    let visits = shop.visits().update(|visits| {
        *visits += 1;
        *visits
    });
    let visits = visits.await?;
    // If two tabs ask at the same moment, one of them gets the message.
    let flash = shop.flash().take().await?;
    // These two reads take no round trip, because the first call above has read both fields.
    let user = shop.user().await?;
    let cart = shop.cart().await?;
    Ok(Html(render(&Page { visits, flash, user, cart })))
}

#[derive(Deserialize)]
pub(crate) struct SignIn {
    name: String,
}

/// Signs in without a password. A real app checks one here.
pub(crate) async fn sign_in(shop: Shop, Form(form): Form<SignIn>) -> Result<Redirect, Error> {
    let name: String = form.name.trim().chars().take(40).collect();
    if name.is_empty() {
        shop.set_flash("Please enter your name.").await?;
    } else {
        // One round trip writes both fields and issues a new token, because `user` is the
        // principal.
        shop.edit().user(&name).flash(&format!("Welcome, {name}!")).commit().await?;
    }
    Ok(Redirect::to("/"))
}

pub(crate) async fn sign_out(shop: Shop) -> Result<Redirect, Error> {
    // Ends the session in the store and in the browser. The message starts an anonymous session.
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
        shop.set_flash("We do not sell this item.").await?;
        return Ok(Redirect::to("/"));
    };
    // The update is atomic, because two tabs can add items at the same moment.
    shop.cart().update(|cart| *cart.entry(item.to_owned()).or_default() += 1).await?;
    shop.set_flash(&format!("Added {item}.")).await?;
    Ok(Redirect::to("/"))
}
