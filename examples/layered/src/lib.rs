//! A front desk whose sessions have a cache. The cache serves the name of the clerk. For each
//! request to open the safe, the origin confirms that the clerk may do so.

use axum::{
    Form, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ruts::{Error, SessionLayer, session, store::Store};
use serde::Deserialize;

/// The desk and its clerk.
#[session]
pub struct Desk {
    /// The signed-in clerk. A cached value is at most five minutes old.
    #[field(ttl = "12h", hot = "5m", principal)]
    clerk: String,
    /// Served from the cache only if the origin confirms the value.
    #[field(ttl = "12h", hot = "checked", default)]
    may_open_the_safe: bool,
    /// Stays in the cache as long as the layered store allows.
    #[field(default)]
    guests: u32,
}

/// Returns the app with sessions in this store.
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
        Some(clerk) => format!("{clerk} has served {guests} guests.\n"),
        None => "The desk is empty.\n".to_owned(),
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
        true => (StatusCode::OK, "The safe is open.\n"),
        false => (StatusCode::FORBIDDEN, "The safe stays closed.\n"),
    })
}

async fn sign_out(desk: Desk) -> Response {
    match desk.session().delete().await {
        Ok(()) => "Good night.\n".into_response(),
        // The session has ended and its cookie is removed. The cache could not be invalidated, so
        // another process may still serve the session.
        Err(Error::StaleCache { stale_for }) => {
            format!("Good night. A cache may be stale for {stale_for:?}.\n").into_response()
        }
        Err(error) => error.into_response(),
    }
}
