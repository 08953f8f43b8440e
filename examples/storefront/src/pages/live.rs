//! Handlers for the script on an open page. Its requests do not move the idle deadline.

use std::convert::Infallible;

use axum::{
    Json,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use ruts::{Error, Session};
use serde_json::{Value, json};

use crate::stopping::Stopping;

/// Returns the seconds until the session expires, for a notice.
pub(crate) async fn left(session: Session) -> Result<Json<Value>, Error> {
    session.set_passive();
    let meta = session.metadata().await?;
    let deadlines = meta.map(|meta| [meta.idle_remaining, meta.absolute_remaining]);
    let left = deadlines.and_then(|deadlines| deadlines.into_iter().flatten().min());
    Ok(Json(json!({ "seconds": left.map(|left| left.as_secs()) })))
}

/// Sends one event when the session ends or changes its principal, even if another tab, device or
/// instance is the cause.
pub(crate) async fn events(
    State(mut stopping): State<Stopping>,
    session: Session,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    session.set_passive();
    let change = session.watch().await?;
    let event = async move {
        tokio::select! {
            // Browsers ignore an event without data.
            _ = change => Ok(Event::default().event("changed").data("session")),
            // The browser connects again, perhaps to another instance.
            () = stopping.requested() => Ok(Event::default().comment("stopping")),
        }
    };
    Ok(Sse::new(stream::once(event)).keep_alive(KeepAlive::default()))
}
