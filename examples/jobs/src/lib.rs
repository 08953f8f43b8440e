//! Jobs that work on sessions without a request.
//!
//! - `POST /export` orders an export. A worker writes its progress, then its result, into the
//!   session that ordered the export, while the user keeps browsing.
//! - [`notify`] leaves a message in every session of a user. Another process can call it.

use axum::{
    Form, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use ruts::{Error, SessionLayer, session, store::IntoStore, token::SessionId};
use serde::Deserialize;
use tokio::sync::mpsc::{Receiver, Sender};

/// The session of a user who orders exports.
#[session]
pub struct Desk {
    /// The signed-in user.
    #[field(principal)]
    user: String,
    /// Number of finished parts of the export, out of [`PARTS`].
    #[field(ttl = "1h")]
    progress: u32,
    /// Link to the finished export.
    #[field(ttl = "1d")]
    export: String,
    /// Messages, each shown once.
    #[field(ttl = "7d", once)]
    messages: Vec<String>,
}

/// Number of steps of an export.
pub const PARTS: u32 = 3;

/// An order of an export.
pub struct Order {
    /// The session that gets the result.
    session: SessionId,
    /// The user who ordered it. Another user may sign in to the session before the job runs.
    user: String,
}

/// Returns the app with sessions in this store. Orders of exports go to `queue`.
pub fn app(store: impl IntoStore, queue: Sender<Order>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/export", post(order))
        .with_state(queue)
        .layer(SessionLayer::new(store).development())
}

#[derive(Deserialize)]
struct User {
    name: String,
}

async fn sign_in(desk: Desk, Form(User { name }): Form<User>) -> Result<(), Error> {
    desk.set_user(&name).await
}

async fn sign_out(desk: Desk) -> Result<(), Error> {
    desk.session().delete().await
}

async fn order(
    desk: Desk,
    State(queue): State<Sender<Order>>,
) -> Result<(StatusCode, &'static str), Error> {
    let user = desk.user().await?.ok_or(Error::SignInRequired)?;
    let session = desk.session().id().ok_or(Error::Ended)?;
    // Reserves a place in the queue first, because an order that is refused must not remove the
    // last export.
    let Ok(place) = queue.try_reserve() else {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, "too many orders\n"));
    };
    desk.edit().progress(&0).remove_export().commit().await?;
    place.send(Order { session, user });
    Ok((StatusCode::ACCEPTED, "ordered\n"))
}

async fn home(desk: Desk) -> Result<String, Error> {
    let mut page = desk.messages().take().await?.unwrap_or_default();
    let (progress, export) = (desk.progress().await?, desk.export().await?);
    page.push(match (progress, export) {
        (_, Some(link)) => format!("export: {link}"),
        (Some(parts), None) => format!("export: {parts} of {PARTS}"),
        (None, None) => "no export".to_owned(),
    });
    Ok(page.join("\n") + "\n")
}

/// Carries out orders until the queue is closed. A failed order is logged, and the worker continues
/// with the next order.
pub async fn work(sessions: DeskSessions, mut orders: Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let id = order.session;
        match export(&sessions, &order).await {
            Ok(()) => {}
            // The user has signed out, or was away for too long, so the export is no longer needed.
            Err(Error::Ended) => tracing::info!(%id, "the session of an order has ended"),
            Err(error) => tracing::error!(%id, %error, "an order has failed"),
        }
    }
}

/// Carries out one order.
///
/// # Errors
///
/// [`Error::Ended`] if the session has ended or has another user, or [`Error::Store`]. The job then
/// stops, and starts no session.
pub async fn export(sessions: &DeskSessions, order: &Order) -> Result<(), Error> {
    for part in 1..=PARTS {
        // The work of this part would be here.
        desk_of(sessions, order).await?.set_progress(&part).await?;
    }
    let link = format!("/exports/{}.zip", order.user);
    desk_of(sessions, order).await?.edit().export(&link).remove_progress().commit().await
}

/// Returns the session of an order, if the user of the order is still signed in to it. Each call
/// reads the session from the store.
async fn desk_of(sessions: &DeskSessions, order: &Order) -> Result<Desk, Error> {
    let desk: Desk = sessions.get(&order.session);
    match desk.user().await? {
        Some(user) if user == order.user => Ok(desk),
        _ => Err(Error::Ended),
    }
}

/// Adds a message to every live session of a user, and returns their number. Starts no session.
///
/// # Errors
///
/// [`Error::Store`].
pub async fn notify(sessions: &DeskSessions, user: &str, message: &str) -> Result<usize, Error> {
    let (mut after, mut reached) = (None, 0);
    loop {
        let page = sessions.by_user(user).list((), after, 100).await?;
        for session in &page.sessions {
            match sessions.get(&session.id).messages().push(message.to_owned()).await {
                Ok(()) => reached += 1,
                // The session ended after the list was read.
                Err(Error::Ended) => {}
                Err(error) => return Err(error),
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(reached);
        }
    }
}
