//! [`Error`]: the failures of a lift.
//!
//! Returned by the lift function of the application and by the other files of this crate. `layer`
//! turns the error into a response.

use ruts::store::StoreError;

use crate::old::BoxError;

/// A failure of a lift. No session is lost.
///
/// | failure | response |
/// | --- | --- |
/// | outage: a retry may succeed | 503 |
/// | refusal: a retry cannot succeed | the request continues without the old session |
///
/// [`Value`](Self::Value) and [`Malformed`] are refusals. So are the errors of a session, such as
/// [`ruts::Error::TooManySessions`], except those of its store and of the configuration.
/// [`App`](Self::App) is an outage.
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

    /// Returns whether a retry cannot succeed. Such an error must not keep the client from every
    /// page.
    pub(crate) fn is_refusal(&self) -> bool {
        use ruts::Error as E;
        match self {
            Self::Value { .. } => true,
            Self::Old(source) => source.is::<Malformed>(),
            Self::Session(error) => !matches!(
                error,
                E::Store(_)
                    | E::Newer { .. }
                    | E::Busy
                    | E::Conflict { .. }
                    | E::StaleCache { .. }
                    | E::ResponseSent
                    | E::Random(_)
                    | E::LoadUser(_)
                    // Errors of the program, which a deployment mends.
                    | E::MissingLayer { .. }
                    | E::WrongLayer { .. }
                    | E::WrongStore { .. }
                    | E::SchemaConflict { .. }
                    | E::NoRequest
            ),
            Self::Claim(_) | Self::Busy | Self::Random | Self::App(_) => false,
        }
    }

    /// Returns whether the error is due to this request, and not to the old session.
    pub(crate) fn is_of_request(&self) -> bool {
        matches!(self, Self::Session(ruts::Error::Ended | ruts::Error::NotLoopback))
    }
}

/// An old session cannot be decoded. It has no source: serde errors may quote values.
///
/// Returned by [`OldSessions::load`](crate::OldSessions::load).
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the old session cannot be decoded")]
pub struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal would hide such an error from the operator: each user would become a guest.
    #[test]
    fn an_error_of_the_program_is_no_refusal() {
        assert!(!Error::Session(ruts::Error::MissingLayer { layer: None }).is_refusal());
        assert!(!Error::Session(ruts::Error::NoRequest).is_refusal());
        assert!(Error::Session(ruts::Error::TooManySessions).is_refusal());
    }
}
