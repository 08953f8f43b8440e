use std::error::Error;

/// A store could not do what it was asked.
///
/// Its text names the store and the kind of failure, never a key, a statement or a value; what the
/// driver said is its [`source`](Error::source).
#[derive(Debug, thiserror::Error)]
#[error("the {store} store {}", self.kind.text())]
pub struct StoreError {
    store: &'static str,
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a caller can tell apart about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It could not be reached. Nothing was changed.
    Unavailable,
    /// It was asked, but whether it did so is not known.
    Unknown,
    /// It has no room left.
    Full,
    /// A session of that id exists already.
    Exists,
    /// What it holds is not what a store of this release writes.
    Corrupt,
    /// The principal has as many sessions as it may. Nothing was changed.
    SessionLimit,
    /// A revocation overtook the sign-in. The session does not exist any more.
    Revoked,
    /// It is of a version or configuration that cannot keep the contract.
    Unsupported,
}

impl StoreErrorKind {
    const fn text(self) -> &'static str {
        match self {
            Self::Unavailable => "could not be reached",
            Self::Unknown => "did not say whether the operation took place",
            Self::Full => "has no room left",
            Self::Exists => "already holds a session of this id",
            Self::Corrupt => "holds data that it cannot read",
            Self::SessionLimit => "holds as many sessions of this principal as it may",
            Self::Revoked => "was told meanwhile to end the sessions of this principal",
            Self::Unsupported => "cannot be used as it is set up",
        }
    }
}

impl StoreError {
    /// A failure of the store called `store`.
    pub const fn new(store: &'static str, kind: StoreErrorKind) -> Self {
        Self { store, kind, source: None }
    }

    /// The same failure with what caused it. The cause must not hold a value or a secret.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The name of the store.
    pub const fn store(&self) -> &'static str {
        self.store
    }
}
