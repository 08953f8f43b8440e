//! Signing in and out.

use askama::Template;
use axum::{
    Form,
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect},
};
use serde::Deserialize;

use crate::{
    session::Shop,
    view::{Frame, Page, html},
};

/// A real shop keeps a hash of each password (Argon2) and slows down who guesses.
const PASSWORD: &str = "open sesame";
const USERS: [&str; 3] = ["ada", "grace", "linus"];

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    users: &'static [&'static str],
    password: &'static str,
}

pub(crate) async fn form(shop: Shop) -> Page {
    html(&SignInPage { frame: Frame::of(&shop).await?, users: &USERS, password: PASSWORD })
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    name: String,
    password: String,
}

pub(crate) async fn sign_in(
    shop: Shop,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Page {
    let name = credentials.name.trim().to_lowercase();
    if !USERS.contains(&name.as_str()) || credentials.password != PASSWORD {
        shop.set_flash("That name and password do not go together.").await?;
        return Ok(Redirect::to("/sign-in").into_response());
    }
    // Somebody else was here: nothing of theirs is left to the next one.
    if shop.user().await?.is_some_and(|user| user != name) {
        shop.session().delete().await?;
    }
    // Together: who it is, a new token, and what this device is called.
    shop.edit()
        .user(&name)
        .device(&device(&headers))
        .flash(&format!("Welcome, {name}."))
        .commit()
        .await?;
    Ok(Redirect::to("/").into_response())
}

pub(crate) async fn sign_out(shop: Shop) -> Page {
    // Ends it in the store and in the browser; the message begins another one, of nobody.
    shop.session().delete().await?;
    shop.set_flash("You are signed out.").await?;
    Ok(Redirect::to("/").into_response())
}

/// Such as "Firefox on Linux".
fn device(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.unwrap_or_default();
    let known = |names: &[(&str, &'static str)], other| {
        let found = names.iter().find(|(mark, _)| agent.contains(mark));
        found.map_or(other, |(_, name)| *name)
    };
    let browsers = [
        ("Firefox", "Firefox"),
        ("Edg/", "Edge"),
        ("Chrome", "Chromium"),
        ("Safari", "Safari"),
        ("curl", "curl"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "an iPhone"),
        ("Windows", "Windows"),
        ("Mac OS", "a Mac"),
        ("Linux", "Linux"),
    ];
    format!("{} on {}", known(&browsers, "A browser"), known(&systems, "some device"))
}
