//! A door that can be knocked at three times; then it stays silent until nobody has knocked for ten
//! seconds.

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use ruts::{Error, SessionLayer, session, store::Store};

/// Who stands before the door.
#[session]
pub struct Guest {
    /// Redis removes this by itself when its time has come, and leaves the rest alone.
    #[field(ttl = "10s", default)]
    knocks: u32,
    /// As long as the session.
    #[field(default)]
    knocks_ever: u64,
}

/// The app, over any store.
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
    // Atomic: of parallel knocks, each counts. Every write renews the ten seconds.
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
