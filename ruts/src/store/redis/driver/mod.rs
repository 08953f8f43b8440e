//! Drivers: the client libraries behind the traits of [`client`], and the [`connections`] that
//! they open.
//!
//! A driver sends each call (a script, or three commands) at most once, and converts errors to
//! [`CommandError`](super::error::CommandError). The store and the channel create the
//! connections; `eval` and the executor send calls. Drivers must not know sessions.

pub(super) mod client;
pub(super) mod connections;
#[cfg(feature = "redis-store")]
mod fred;
mod health;
#[cfg(feature = "redis-rs-store")]
pub(super) mod redis_rs;
