//! [`TokenStatus`]: the state of the session whose token a request carried, as a page may show it.
//!
//! Made by `request::exchange`, returned by `Session::token_status`. Plain data.

use std::time::Duration;

use crate::store::Expiry;

/// State of the session that a request came with: live, or what is known of the reason why it is
/// not. Returned by [`Session::token_status`](crate::Session::token_status).
///
/// It lets a page say why a user is signed out. It keeps no user from signing in.
///
/// ```
/// use ruts::{Error, Session, session::TokenStatus, store::Expiry};
///
/// async fn notice(session: Session) -> Result<&'static str, Error> {
///     Ok(match session.token_status().await? {
///         TokenStatus::Ended { .. } => "You have signed out.",
///         TokenStatus::Revoked => "You were signed out from another device.",
///         TokenStatus::Expired { by: Some(Expiry::Idle) } => "You were away for too long.",
///         TokenStatus::Expired { .. } => "You were signed out, because your session has expired.",
///         TokenStatus::Replaced { .. } => "You have signed in in another window. Load this page again.",
///         _ => "",
///     })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenStatus {
    /// The request carried no token: a first visit, or a browser that dropped its cookies.
    NoToken,
    /// The request carried a token that this layer did not make, or with a key that it does not
    /// have any more.
    Unreadable,
    /// The session was live.
    Live,
    /// Another request had [deleted](crate::Session::delete) the session, within the last minute.
    Ended {
        /// Time since then.
        ago: Duration,
    },
    /// The session was revoked: by its user from another session, by an administrator, or because its
    /// principal had reached a [session limit](crate::store::SessionLimit).
    ///
    /// A store knows it until the deadline that the session had, for
    /// [`REVOKED_RETENTION`](crate::store::REVOKED_RETENTION) at most.
    Revoked,
    /// Another request had replaced the secret, such as by a sign-in.
    Replaced {
        /// Time since then.
        ago: Duration,
    },
    /// The session was live, and the token had another secret: one that was replaced more than once
    /// since, or a made-up one.
    Unknown,
    /// The session had expired, by idleness or by age.
    ///
    /// The answer is the same for a session that was deleted more than a minute ago, that the store has
    /// lost, or that never existed.
    Expired {
        /// The deadline that has passed, if the store still knows it.
        ///
        /// | store | knows it |
        /// | --- | --- |
        /// | `MemoryStore` | until newer sessions need the memory |
        /// | `SqliteStore`, `PostgresStore` | until the next cleanup |
        /// | `RedisStore` | never: the server removes an expired session by itself |
        /// | `LayeredStore` | as its origin |
        by: Option<Expiry>,
    },
}
