//! Drivers: the client libraries behind the traits of [`client`], and the [`connections`] that
//! they open.
//!
//! A driver sends one script, once, and sorts its errors into those of
//! [`CommandError`](super::error::CommandError). Used by `eval`. It must not know sessions.

pub(super) mod client;
pub(super) mod connections;
#[cfg(feature = "redis-store")]
mod fred;
#[cfg(feature = "redis-rs-store")]
pub(super) mod redis_rs;
