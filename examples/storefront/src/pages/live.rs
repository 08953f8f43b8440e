//! What a page asks while it is open. None of it keeps the session alive.

use std::convert::Infallible;

use axum::{
    Json,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use ruts::{Error, Session};
use serde_json::{Value, json};

use crate::App;

/// How long until the user is signed out, for a notice.
pub(crate) async fn left(session: Session) -> Result<Json<Value>, Error> {
    session.passive();
    let meta = session.deadlines().await?;
    let deadlines = meta.map(|meta| [meta.idle, meta.absolute]);
    let left = deadlines.and_then(|deadlines| deadlines.into_iter().flatten().min());
    Ok(Json(json!({ "seconds": left.map(|left| left.as_secs()) })))
}

/// One event, when the session is over or somebody else's: in another tab, on another device, on another
/// instance.
pub(crate) async fn events(
    State(app): State<App>,
    session: Session,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    session.passive();
    let over = session.watch().await?;
    let mut stopping = app.stopping.clone();
    let event = async move {
        tokio::select! {
            // An event without data is none.
            _ = over => Ok(Event::default().event("over").data("session")),
            // The browser asks again, another instance maybe.
            _ = stopping.changed() => Ok(Event::default().comment("stopping")),
        }
    };
    Ok(Sse::new(stream::once(event)).keep_alive(KeepAlive::default()))
}
