//! [`TokenStatus`]: whether the token of a request belongs to a live session, and if not, the
//! reason.
//!
//! Made by `request`, returned by `Session::token_status`. Plain data.

use std::time::Duration;

use crate::store::Expiry;

/// State of the session to which the token of a request belongs: live or, if known, the reason why
/// it is not live. Returned by [`Session::token_status`](crate::Session::token_status).
///
/// Use it on pages that explain why a user is signed out. A sign-in works with every status.
///
/// ```
/// use ruts::{Error, Session, session::TokenStatus, store::Expiry};
///
/// async fn notice(session: Session) -> Result<&'static str, Error> {
///     Ok(match session.token_status().await? {
///         TokenStatus::Deleted { .. } => "You have signed out.",
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
    /// The request carried a cookie or header without a readable token. The token is malformed, or
    /// signed or encrypted with a key that the layer does not have.
    Unreadable,
    /// The session was live.
    Live,
    /// Another request had [deleted](crate::Session::delete) the session. A store recognises a
    /// deleted session for at least a minute.
    Deleted {
        /// Time since the deletion.
        ago: Duration,
    },
    /// The session was revoked: by its user from another session, by an administrator, or because
    /// its principal had reached a [session limit](crate::store::SessionLimit).
    ///
    /// A store recognises a revoked session until the deadline of the session, but for no longer
    /// than [`REVOKED_RETENTION`](crate::store::REVOKED_RETENTION).
    Revoked,
    /// Another request had replaced the secret, for example with a sign-in.
    Replaced {
        /// Time since the former secret ceased to be valid.
        ago: Duration,
    },
    /// The session was live, but the token had the wrong secret: a secret that was replaced more
    /// than once, or a guessed one.
    WrongSecret,
    /// The session had expired, by idleness or by age.
    ///
    /// The status is the same for a session that the store has lost, that never existed, or whose
    /// deletion the store no longer knows.
    Expired {
        /// The deadline that has passed, if the store still knows it.
        ///
        /// | store | knows it |
        /// | --- | --- |
        /// | `MemoryStore` | until newer sessions need the memory |
        /// | `SqliteStore`, `MySqlStore`, `PostgresStore` | until the next cleanup |
        /// | `RedisStore` | never: the server removes an expired session by itself |
        /// | `LayeredStore` | as long as its origin knows it |
        by: Option<Expiry>,
    },
}
