//! [`Arrival`]: the state of the session that a request came with.

use std::time::Duration;

/// State of the session that a request came with: live, or what is known of the reason why it is
/// not. Returned by [`Session::arrival`](crate::Session::arrival).
///
/// It lets a page say why a user is signed out. It keeps no user from signing in.
///
/// ```
/// use ruts::{Error, Session, session::Arrival};
///
/// async fn notice(session: Session) -> Result<&'static str, Error> {
///     Ok(match session.arrival().await? {
///         Arrival::Ended { .. } => "You have signed out.",
///         Arrival::Replaced { .. } => "You have signed in in another window. Load this page again.",
///         Arrival::Gone => "You were signed out, because your session has expired or was ended.",
///         _ => "",
///     })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
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
    /// Another request had replaced the secret, such as by a sign-in.
    Replaced {
        /// Time since then.
        ago: Duration,
    },
    /// The session had expired, had been revoked or deleted longer ago, or never existed. A store
    /// keeps nothing of such a session that could tell which.
    Gone,
}
