//! A door that answers three knocks. It answers again ten seconds after the last knock.

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use ruts::{Error, SessionLayer, session, store::Store};

/// A guest at the door.
#[session]
pub struct Guest {
    /// The Redis server itself expires this field, and keeps the other fields.
    #[field(ttl = "10s", default)]
    knocks: u32,
    /// Lives as long as the session.
    #[field(default)]
    knocks_ever: u64,
}

/// Returns the app with sessions in this store.
pub fn app(store: impl Store) -> Router {
    Router::new()
        .route("/", get(door))
        .route("/knock", post(knock))
        .layer(SessionLayer::new(store).development())
}

async fn door(guest: Guest) -> Result<String, Error> {
    let (knocks, ever) = guest.session().read((Guest::KNOCKS, Guest::KNOCKS_EVER)).await?;
    Ok(format!("A door. You knocked {knocks} times just now, {ever} times in all.\n"))
}

async fn knock(guest: Guest) -> Result<(StatusCode, &'static str), Error> {
    // The update is atomic, so that each of several parallel knocks counts. Each write restarts the
    // ten seconds.
    let knocks = guest.knocks().update(|knocks| {
        *knocks += 1;
        *knocks
    });
    let knocks = knocks.await?;
    guest.knocks_ever().update(|knocks| *knocks += 1).await?;
    Ok(match knocks {
        1..=3 => (StatusCode::OK, "Who is there?\n"),
        _ => (StatusCode::TOO_MANY_REQUESTS, "Silence.\n"),
    })
}
