//! The routes, for whatever a request says of its session.
//!
//! | path | does |
//! | --- | --- |
//! | `/nothing` | nothing |
//! | `/begin` | writes five fields of 16 bytes |
//! | `/read1`, `/read5`, `/write1`, `/write5` | that many of them |
//! | `/increment` | reads a number and writes the next one; `/number` says which it is |
//! | `/login` | writes who is signed in, with a new token; `/who` says whether somebody is |
//! | `/fat` | writes 16 fields of 1 KiB and one of 16 bytes; `/thin/read`, `/thin/write` that one |
//! | `/set/{n}` | writes the field `n`; `/fields` says how many of 64 there are |
//! | `/slow` | reads who is signed in, waits, and writes; `/out` ends the session |

use std::future::Future;

use axum::{
    Router,
    extract::{FromRequestParts, Path, State},
    http::StatusCode,
    routing::get,
};

use super::{Gate, NAMES};

pub(super) type Answer<T> = Result<T, StatusCode>;

/// Any failure: what counts is that it is told.
pub(super) fn failed<E>(_: E) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

/// A session, as each stack has one.
pub(super) trait Visit: FromRequestParts<Gate> + Send + Sync + 'static {
    fn read(&self, names: &'static [&'static str]) -> impl Future<Output = Answer<usize>> + Send;
    fn write(&self, names: &'static [&'static str]) -> impl Future<Output = Answer<()>> + Send;
    fn number(&self) -> impl Future<Output = Answer<u64>> + Send;
    fn increment(&self) -> impl Future<Output = Answer<()>> + Send;
    fn login(&self) -> impl Future<Output = Answer<()>> + Send;
    fn is_signed_in(&self) -> impl Future<Output = Answer<bool>> + Send;
    fn out(&self) -> impl Future<Output = Answer<()>> + Send;
    /// Writes 1 KiB.
    fn write_large(&self, name: &str) -> impl Future<Output = Answer<()>> + Send;
    fn set(&self, name: &str, number: u32) -> impl Future<Output = Answer<()>> + Send;
    fn has(&self, name: &str) -> impl Future<Output = Answer<bool>> + Send;
}

const THIN: &[&str] = &["thin"];

pub(super) fn routes<V: Visit>(gate: &Gate) -> Router {
    Router::new()
        .route("/nothing", get(|| async {}))
        .route("/begin", get(|visit: V| async move { visit.write(NAMES).await }))
        .route("/read1", get(|visit: V| async move { told(visit.read(&NAMES[..1]).await) }))
        .route("/read5", get(|visit: V| async move { told(visit.read(NAMES).await) }))
        .route("/write1", get(|visit: V| async move { visit.write(&NAMES[..1]).await }))
        .route("/write5", get(|visit: V| async move { visit.write(NAMES).await }))
        .route("/increment", get(|visit: V| async move { visit.increment().await }))
        .route("/number", get(|visit: V| async move { told(visit.number().await) }))
        .route("/login", get(|visit: V| async move { visit.login().await }))
        .route("/who", get(|visit: V| async move { told(visit.is_signed_in().await) }))
        .route("/out", get(|visit: V| async move { visit.out().await }))
        .route("/thin/read", get(|visit: V| async move { told(visit.read(THIN).await) }))
        .route("/thin/write", get(|visit: V| async move { visit.write(THIN).await }))
        .route(
            "/fat",
            get(|visit: V| async move {
                for number in 0..16 {
                    visit.write_large(&format!("large{number}")).await?;
                }
                visit.write(THIN).await
            }),
        )
        .route(
            "/set/{number}",
            get(|visit: V, Path(number): Path<u32>| async move {
                visit.set(&format!("field{number}"), number).await
            }),
        )
        .route(
            "/fields",
            get(|visit: V| async move {
                let mut there = 0;
                for number in 0..64 {
                    there += usize::from(visit.has(&format!("field{number}")).await?);
                }
                told(Ok(there))
            }),
        )
        .route(
            "/slow",
            get(|visit: V, State(gate): State<Gate>| async move {
                visit.is_signed_in().await?;
                gate.pass().await;
                visit.set("late", 1).await
            }),
        )
        .with_state(gate.clone())
}

fn told<T: ToString>(answer: Answer<T>) -> Answer<String> {
    answer.map(|answer| answer.to_string())
}
