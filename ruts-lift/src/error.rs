//! [`Error`]: the failures of a lift.

use ruts::store::StoreError;

use crate::old::BoxError;

/// A failure of a lift. The request is answered with status 503, and no session is lost.
///
/// No text holds a cookie or a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store of the old sessions failed.
    #[error("the store of the old sessions failed")]
    Old(#[source] BoxError),
    /// A value of an old session does not have the requested type.
    #[error("the old value `{name}` has another type")]
    Value {
        /// Name of the value.
        name: String,
        /// The reason.
        source: serde_json::Error,
    },
    /// A session of ruts failed.
    #[error(transparent)]
    Session(#[from] ruts::Error),
    /// The store of ruts failed, which also keeps the claims.
    #[error("a claim on an old session failed")]
    Claim(#[source] StoreError),
    /// Another request has been lifting the same session for too long.
    #[error("another request lifts the same session")]
    Busy,
    /// The random number generator of the operating system failed.
    #[error("no random numbers")]
    Random,
    /// The application refuses, for a reason of its own.
    #[error("the application refuses the old session")]
    App(#[source] BoxError),
}

impl Error {
    /// Wraps an error of the application, such as one of its database.
    pub fn app(source: impl Into<BoxError>) -> Self {
        Self::App(source.into())
    }
}
