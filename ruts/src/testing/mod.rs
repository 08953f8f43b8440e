//! Tools for the tests of applications.
//!
//! - [`Client`] keeps cookies like a browser.
//! - [`with_session`] signs a client in, or changes its session, without a page of the application.
//! - [`ManualClock`] moves the time of a `MemoryStore`.
//! - [`assert_session_security`] attacks the application, and reports which requirements of the
//!   standards the application meets.
//! - [`assert_lock`] compares the types of stored values with the types of earlier releases.
//!
//! [`Client`] and [`assert_session_security`] use only the HTTP interface of the application.
//! [`with_session`] also needs its layer, and [`assert_lock`] its session struct.
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::{get, post}};
//! use ruts::{
//!     Error, Session, SessionLayer,
//!     guard::Aal,
//!     layer::ClearSiteData,
//!     session,
//!     store::memory::MemoryStore,
//!     testing::{Client, ManualClock, SessionSecurity, assert_session_security},
//! };
//!
//! #[session]
//! struct Shop {
//!     #[field(principal)]
//!     user: String,
//! }
//!
//! async fn sign_in(shop: Shop, user: String) -> Result<(), Error> {
//!     shop.set_user(&user).await
//! }
//!
//! async fn sign_out(session: Session) -> Result<(), Error> {
//!     session.delete().await
//! }
//!
//! # #[cfg(feature = "csrf")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let clock = ManualClock::new();
//! let store = MemoryStore::builder().clock(clock.clone()).build();
//! let app = Router::new()
//!     .route("/", get(|| async { "welcome" }))
//!     .route("/account", get(|Aal(_): Aal<Shop, 1>| async { "yours" }))
//!     .route("/sign-in", post(sign_in))
//!     .route("/sign-out", post(sign_out))
//!     .layer(SessionLayer::new(store).aal2().clear_site_data(&[ClearSiteData::Storage]))
//!     .layer(ruts::layer::CsrfLayer::new());
//!
//! let hour = Duration::from_secs(60 * 60);
//! let scenario = SessionSecurity::new(
//!     Client::new(app),
//!     "/account",
//!     |client| async move { client.post("/sign-in", "ada").await },
//!     |client| async move { client.post("/sign-out", "").await },
//! )
//! .lifetimes(&clock, hour, 24 * hour);
//! assert_session_security(scenario).await;
//! # });
//! ```
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot continue panics")]

mod act;
mod client;
mod lock;
mod report;
mod scenario;
mod security;

pub use self::{
    act::with_session,
    client::{Client, Reply},
    lock::{Lock, LockFinding, LockLevel, LockReport, LockTest, ParseLockError, assert_lock},
    report::{Finding, Outcome, Report},
    scenario::SessionSecurity,
    security::{assert_session_security, check_session_security},
};
pub use crate::store::memory::ManualClock;
