//! A front desk. Who sits there is read with every request, and comes from the cache; what they may do is
//! confirmed by the store of record each time.

use axum::{
    Form, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ruts::{Error, SessionLayer, session, store::Store};
use serde::Deserialize;

/// Who sits at the desk.
#[session]
pub struct Desk {
    /// At most five minutes from the cache, then read anew.
    #[field(ttl = "12h", hot = "5m", principal)]
    clerk: String,
    /// Served from the cache only if the store of record says the same.
    #[field(ttl = "12h", hot = "checked", default)]
    may_open_the_safe: bool,
    /// As long in the cache as the store allows.
    #[field(default)]
    guests: u32,
}

/// The app, over any store.
pub fn app(store: impl Store) -> Router {
    Router::new()
        .route("/", get(desk))
        .route("/sign-in", post(sign_in))
        .route("/guest", post(guest))
        .route("/safe", post(safe))
        .route("/sign-out", post(sign_out))
        .layer(SessionLayer::new(store).development())
}

async fn desk(desk: Desk) -> Result<String, Error> {
    let guests = desk.guests().await?;
    Ok(match desk.clerk().await? {
        Some(clerk) => format!("{clerk} has seen to {guests} guests.\n"),
        None => "Nobody is here.\n".to_owned(),
    })
}

#[derive(Deserialize)]
struct Clerk {
    name: String,
}

async fn sign_in(desk: Desk, Form(Clerk { name }): Form<Clerk>) -> Result<String, Error> {
    let is_manager = name == "Ada";
    desk.edit().clerk(&name).may_open_the_safe(&is_manager).guests(&0).commit().await?;
    Ok(format!("Good morning, {name}.\n"))
}

async fn guest(desk: Desk) -> Result<String, Error> {
    let guests = desk.guests().update(|guests| {
        *guests += 1;
        *guests
    });
    Ok(format!("Guest {}, welcome.\n", guests.await?))
}

async fn safe(desk: Desk) -> Result<(StatusCode, &'static str), Error> {
    Ok(match desk.may_open_the_safe().await? {
        true => (StatusCode::OK, "It is open.\n"),
        false => (StatusCode::FORBIDDEN, "It stays shut.\n"),
    })
}

async fn sign_out(desk: Desk) -> Response {
    match desk.session().delete().await {
        Ok(()) => "Good night.\n".into_response(),
        // It is done, and the cookie is gone; but another process may not know yet.
        Err(Error::Unconfirmed { within }) => {
            format!("Good night. It may take {within:?} until all doors know.\n").into_response()
        }
        Err(error) => error.into_response(),
    }
}
