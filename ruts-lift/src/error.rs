//! [`Error`]: the failures of a lift.
//!
//! Returned by the lift function of the application and by the other files of this crate. `layer`
//! turns the error into a response.

use ruts::store::StoreError;

use crate::old::BoxError;

/// A failure of a lift. The response has status 503, and no session is lost.
///
/// No message and no source contains a cookie or a value, except in an error of the application.
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
    },
    /// An operation on a ruts session failed.
    #[error(transparent)]
    Session(#[from] ruts::Error),
    /// The ruts store, which keeps the claims, failed.
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

/// An old session cannot be decoded. It has no source: serde errors may quote values.
#[cfg(any(feature = "tower-sessions", feature = "axum-session", feature = "ruts-013"))]
#[derive(Debug, thiserror::Error)]
#[error("the old session cannot be decoded")]
pub(crate) struct Malformed;
