//! [`StoreError`] and [`StoreErrorKind`]: failures of a store, classified by what the caller can
//! do.
//!
//! Returned by every store and cache. Knows nothing about drivers.

use std::{error::Error, fmt, iter, sync::Arc};

/// The failure of a store.
///
/// Its text names the store and the kind of failure, never a key, a statement or a value. The
/// cause, such as an error of the driver, is its [`source`](Error::source).
#[derive(Clone)]
pub struct StoreError {
    store: &'static str,
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kinds of [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store could not be reached, or did not carry the operation out. Nothing was changed,
    /// unless an operation on several sessions failed halfway.
    Unavailable,
    /// The operation was sent, and its outcome is not known.
    OutcomeUnknown,
    /// The store has no room left.
    Full,
    /// A session with that id exists.
    Exists,
    /// The store holds data that this release cannot read.
    Corrupt,
    /// The principal has as many sessions as its limit allows. The sign-in did not take place.
    SessionLimit,
    /// A revocation overtook the sign-in. The session has ended, or was never created.
    Revoked,
    /// The version or configuration of the backend does not allow the store to keep its contract.
    Unsupported,
}

impl StoreErrorKind {
    const fn text(self) -> &'static str {
        match self {
            Self::Unavailable => "could not be reached",
            Self::OutcomeUnknown => "did not report the outcome of the operation",
            Self::Full => "has no room left",
            Self::Exists => "already holds a session with this id",
            Self::Corrupt => "holds data that this release of ruts cannot read",
            Self::SessionLimit => "already holds the maximum number of sessions of this principal",
            Self::Revoked => "ended the sessions of this principal during the sign-in",
            Self::Unsupported => "has an unsupported version or configuration",
        }
    }
}

impl StoreError {
    /// Creates a failure of the store called `store`.
    pub const fn new(store: &'static str, kind: StoreErrorKind) -> Self {
        Self { store, kind, source: None }
    }

    /// Adds the cause, which must not hold a value or a secret.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Returns the kind of failure.
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Returns the name of the store.
    pub const fn store(&self) -> &'static str {
        self.store
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} store {}", self.store, self.kind.text())
    }
}

/// Shows the texts of the causes, because a program that returns the error from `main` prints this
/// form.
impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes: Vec<String> = iter::successors(self.source(), |&cause| cause.source())
            .map(ToString::to_string)
            .collect();
        f.debug_struct("StoreError")
            .field("store", &self.store)
            .field("kind", &self.kind)
            .field("causes", &causes)
            .finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source: &(dyn Error + 'static) = &**self.source.as_ref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_form_shows_the_causes() {
        let cause = std::io::Error::other("the cable is unplugged");
        let error = StoreError::new("redis", StoreErrorKind::Unavailable).with_source(cause);
        assert_eq!(
            format!("{error:?}"),
            r#"StoreError { store: "redis", kind: Unavailable, causes: ["the cable is unplugged"] }"#
        );
    }
}
