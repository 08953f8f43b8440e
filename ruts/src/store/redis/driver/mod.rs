//! Drivers: the client libraries behind the traits of [`client`].
//!
//! A driver sends one script, once, within a timeout, and sorts its errors into those of
//! [`CommandError`](super::error::CommandError). Used by `eval`. It must not know sessions.

pub(super) mod client;
#[cfg(feature = "redis-store")]
mod fred;
#[cfg(feature = "redis-rs-store")]
pub(super) mod redis_rs;
