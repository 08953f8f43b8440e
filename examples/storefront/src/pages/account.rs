//! Sign-in and sign-out.

use askama::Template;
use axum::{
    Form,
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect},
};
use ruts::Error;
use serde::Deserialize;

use crate::{
    session::Shop,
    view::{Frame, Page, html},
};

/// The password of every user. A real shop stores Argon2 hashes and limits the rate of attempts.
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
pub(crate) struct SignInForm {
    name: String,
    password: String,
}

pub(crate) async fn sign_in(shop: Shop, headers: HeaderMap, Form(form): Form<SignInForm>) -> Page {
    let name = form.name.trim().to_lowercase();
    if !USERS.contains(&name.as_str()) || form.password != PASSWORD {
        shop.set_flash("Wrong name or password.").await?;
        return Ok(Redirect::to("/sign-in").into_response());
    }
    // If another user is signed in, that user's session ends here. Otherwise the sign-in would
    // continue this session, and only remove its fields.
    if shop.user().await?.is_some_and(|user| user != name) {
        shop.session().delete().await?;
    }
    // One round trip writes the fields and replaces the token.
    shop.edit()
        .user(&name)
        .device(&device(&headers))
        .flash(&format!("Welcome, {name}."))
        .commit()
        .await?;
    Ok(Redirect::to("/").into_response())
}

pub(crate) async fn sign_out(shop: Shop) -> Page {
    // Ends the session in the store and in the browser. The message starts an anonymous session.
    shop.session().delete().await?;
    match shop.set_flash("You are signed out.").await {
        // After a double click, the first request has ended the session and written the message.
        Ok(()) | Err(Error::Ended) => Ok(Redirect::to("/").into_response()),
        Err(error) => Err(error.into()),
    }
}

/// Returns a name such as "Firefox on Linux".
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
