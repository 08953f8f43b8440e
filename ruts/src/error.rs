use std::time::Duration;

use crate::{
    codec::CodecError,
    principal::Assurance,
    store::{StoreError, StoreErrorKind},
    token::RandomError,
    ttl::TtlError,
};

/// What can go wrong with a session.
///
/// No text of it holds a token, a key, a statement or a value; what a driver said is kept as
/// [`source`](std::error::Error::source). As an axum response it is an empty 503 for
/// [`Store`](Self::Store), an empty 401 for [`SignInRequired`](Self::SignInRequired) and
/// [`StepUpRequired`](Self::StepUpRequired), an empty 429 for
/// [`TooManySessions`](Self::TooManySessions), and an empty 500 for the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed. Nothing was changed, unless its kind is
    /// [`Unknown`](StoreErrorKind::Unknown). Trying again may help.
    #[error("the session store failed")]
    Store(#[source] StoreError),

    /// Who wanted to sign in has as many sessions as the layer's
    /// [`max_sessions`](crate::SessionLayer::max_sessions) allows. Nothing was changed.
    #[error("there are as many sessions of this principal as there may be")]
    TooManySessions,

    /// The value could not be encoded. Nothing was changed.
    #[error("the value for the session field `{field}` could not be encoded")]
    Encode {
        /// The field's stored name.
        field: String,
        /// What the codec said.
        source: CodecError,
    },

    /// The stored value is not what the field's type expects. It is left as it is; writing or
    /// removing the field gets rid of it.
    #[error("the stored value of the session field `{field}` could not be decoded")]
    Decode {
        /// The field's stored name.
        field: String,
        /// What the codec said.
        source: CodecError,
    },

    /// Nobody is signed in, and somebody has to be.
    #[error("nobody is signed in")]
    SignInRequired,

    /// Whoever is signed in has to authenticate again, or better.
    #[error("another authentication is needed")]
    StepUpRequired {
        /// How sure one has to be.
        assurance: Assurance,
        /// How long ago it may be; `None` if that does not matter.
        within: Option<Duration>,
    },

    /// Another request ended the session, or replaced its secret, while this one was at work; or it was
    /// signing in somebody whose sessions were revoked meanwhile. The write did not happen, or was
    /// undone along with the session, and created nothing.
    #[error("the session was ended or taken over by another request")]
    Ended,

    /// The field kept changing under an `update`, which gave up. Nothing was changed.
    #[error("the session field `{field}` was changed by too many requests at once")]
    Conflict {
        /// The field's stored name.
        field: String,
    },

    /// It was done, but the cache tier of a layered store could not be told. Until it is, and for as
    /// long as `within` at most, a process may read from the cache what was before: who has signed out
    /// may still seem signed in there.
    #[error("done, but a cache may answer with what was before for {within:?}")]
    Unconfirmed {
        /// The bound: the store's `with_hot_ttl`.
        within: Duration,
    },

    /// The response has gone out, or the client has gone away, so that a cookie for a new session
    /// or secret cannot reach it. Nothing was changed; but if the response left while a rotation
    /// was under way, the session was ended, since nobody knows its secret.
    #[error("the response was sent already: no session can be created or rotated any more")]
    ResponseSent,

    /// In [development mode](crate::SessionLayer::development), a client that does not ask a
    /// loopback name has no session. Nothing was changed.
    #[error("development mode: sessions are for clients on a loopback name only")]
    NotLoopback,

    /// A lifetime is zero or too long. Nothing was changed.
    #[error("not a lifetime for a session or a field")]
    Ttl(#[from] TtlError),

    /// The name is empty, longer than 128 bytes, holds a zero byte or begins with `~`. Nothing was
    /// changed.
    #[error("{0:.130?} cannot be the name of a session field")]
    FieldName(String),

    /// The operating system gave no random bytes for a token. Nothing was changed.
    #[error("no session token could be made")]
    Random(#[from] RandomError),

    /// No `SessionLayer` (of that name) is wrapped around this handler.
    #[error("no `SessionLayer` for {layer} is wrapped around this handler")]
    MissingLayer {
        /// Which layer was looked for.
        layer: &'static str,
    },

    /// The handler names another store than the one that its `SessionLayer` has.
    #[error("the handler expects a session in `{expected}`, the layer keeps it in `{found}`")]
    WrongStore {
        /// The type that the handler names.
        expected: &'static str,
        /// The type that the layer has.
        found: &'static str,
    },
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::SessionLimit => Self::TooManySessions,
            StoreErrorKind::Revoked => Self::Ended,
            _ => Self::Store(error),
        }
    }
}

impl Error {
    /// Whether the operation may have taken place in spite of the error.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == StoreErrorKind::Unknown)
    }
}
