//! The routes of the app, for any stack.
//!
//! | path | action |
//! | --- | --- |
//! | `/nothing` | nothing |
//! | `/begin` | writes five fields of 16 bytes |
//! | `/read1`, `/read5`, `/write1`, `/write5` | reads or writes one or five of these fields |
//! | `/increment` | reads a number and writes the next one |
//! | `/number` | returns that number |
//! | `/login` | writes the user, with a new token |
//! | `/user` | returns whether a user is signed in |
//! | `/large` | writes 16 fields of 1 KiB and one of 16 bytes |
//! | `/tiny/read`, `/tiny/write` | reads or writes the field of 16 bytes |
//! | `/set/{n}` | writes the field `n` |
//! | `/fields` | returns how many of 64 such fields exist |
//! | `/slow` | reads the user, waits, and writes |
//! | `/logout` | ends the session |

use std::future::Future;

use axum::{
    Router,
    extract::{FromRequestParts, Path, State},
    http::StatusCode,
    routing::get,
};

use super::app::{Gate, NAMES};

pub(super) type Answer<T> = Result<T, StatusCode>;

/// Turns any error of a stack into a response.
pub(super) fn failed<E>(_: E) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

/// The session of a stack.
pub(super) trait StackSession: FromRequestParts<Gate> + Send + Sync + 'static {
    /// Returns how many of the fields exist.
    fn read(&self, names: &'static [&'static str]) -> impl Future<Output = Answer<usize>> + Send;
    fn write(&self, names: &'static [&'static str]) -> impl Future<Output = Answer<()>> + Send;
    fn number(&self) -> impl Future<Output = Answer<u64>> + Send;
    fn increment(&self) -> impl Future<Output = Answer<()>> + Send;
    fn login(&self) -> impl Future<Output = Answer<()>> + Send;
    fn is_signed_in(&self) -> impl Future<Output = Answer<bool>> + Send;
    fn logout(&self) -> impl Future<Output = Answer<()>> + Send;
    /// Writes a field of 1 KiB.
    fn write_large(&self, name: &str) -> impl Future<Output = Answer<()>> + Send;
    fn set(&self, name: &str, number: u32) -> impl Future<Output = Answer<()>> + Send;
    fn has(&self, name: &str) -> impl Future<Output = Answer<bool>> + Send;
}

const TINY: &[&str] = &["tiny"];

pub(super) fn routes<S: StackSession>(gate: &Gate) -> Router {
    Router::new()
        .route("/nothing", get(|| async {}))
        .route("/begin", get(|session: S| async move { session.write(NAMES).await }))
        .route("/read1", get(|session: S| async move { text(session.read(&NAMES[..1]).await) }))
        .route("/read5", get(|session: S| async move { text(session.read(NAMES).await) }))
        .route("/write1", get(|session: S| async move { session.write(&NAMES[..1]).await }))
        .route("/write5", get(|session: S| async move { session.write(NAMES).await }))
        .route("/increment", get(|session: S| async move { session.increment().await }))
        .route("/number", get(|session: S| async move { text(session.number().await) }))
        .route("/login", get(|session: S| async move { session.login().await }))
        .route("/user", get(|session: S| async move { text(session.is_signed_in().await) }))
        .route("/logout", get(|session: S| async move { session.logout().await }))
        .route("/tiny/read", get(|session: S| async move { text(session.read(TINY).await) }))
        .route("/tiny/write", get(|session: S| async move { session.write(TINY).await }))
        .route(
            "/large",
            get(|session: S| async move {
                for number in 0..16 {
                    session.write_large(&format!("large{number}")).await?;
                }
                session.write(TINY).await
            }),
        )
        .route(
            "/set/{number}",
            get(|session: S, Path(number): Path<u32>| async move {
                session.set(&format!("field{number}"), number).await
            }),
        )
        .route(
            "/fields",
            get(|session: S| async move {
                let mut found = 0;
                for number in 0..64 {
                    found += usize::from(session.has(&format!("field{number}")).await?);
                }
                text(Ok(found))
            }),
        )
        .route(
            "/slow",
            get(|session: S, State(gate): State<Gate>| async move {
                session.is_signed_in().await?;
                gate.pass().await;
                session.set("late", 1).await
            }),
        )
        .with_state(gate.clone())
}

fn text<T: ToString>(answer: Answer<T>) -> Answer<String> {
    answer.map(|answer| answer.to_string())
}
