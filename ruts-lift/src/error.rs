//! [`Error`]: the failures of a lift.

use ruts::store::StoreError;

use crate::old::BoxError;

/// A failure of a lift. The response has status 503, and no session is lost.
///
/// Messages contain no cookie and no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store of the old sessions failed.
    #[error("the store of the old sessions failed")]
    Old(#[source] BoxError),
    /// A value of an old session does not have the requested type.
    #[error("the old value `{name}` does not have the requested type")]
    Value {
        /// Name of the value.
        name: String,
        /// The reason.
        source: serde_json::Error,
    },
    /// A session of ruts failed.
    #[error(transparent)]
    Session(#[from] ruts::Error),
    /// The store of ruts, which keeps the claims, failed.
    #[error("a claim on an old session failed")]
    Claim(#[source] StoreError),
    /// Another request has been lifting the same session for too long.
    #[error("another request is still lifting the same session")]
    Busy,
    /// The random number generator of the operating system failed.
    #[error("the random number generator of the operating system failed")]
    Random,
    /// The lift function failed.
    #[error("the lift function of the application failed")]
    App(#[source] BoxError),
}

impl Error {
    /// Wraps an error of the application, such as one of its database.
    pub fn app(source: impl Into<BoxError>) -> Self {
        Self::App(source.into())
    }
}
