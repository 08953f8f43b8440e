//! The error of every session operation: [`Error`].
//!
//! Returned by the session, the guards and the extractors. Wraps errors of stores, codecs, TTLs and
//! random numbers. Knows nothing about HTTP: `axum` turns the error into a response.

use std::time::Duration;

use crate::{
    auth::Assurance,
    codec::CodecError,
    store::{StoreError, StoreErrorKind},
    token::RandomError,
    ttl::TtlError,
};

/// The error of every session operation.
///
/// No message contains a token, a key, an SQL statement or the value of a field. The chain of
/// [sources](std::error::Error::source) of a store failure includes the driver's error. As an axum
/// response, an error has no body and one of these status codes:
///
/// | error | status |
/// | --- | --- |
/// | [`Store`](Self::Store), [`Newer`](Self::Newer), [`Encode`](Self::Encode) with [`CodecError::Migrate`] | 503 |
/// | [`SignInRequired`](Self::SignInRequired), [`StepUpRequired`](Self::StepUpRequired) | 401 |
/// | [`Ended`](Self::Ended) | 409 |
/// | [`TooManySessions`](Self::TooManySessions) | 429 |
/// | all others | 500 |
///
/// To answer differently, an application wraps the error in a type of its own:
///
/// ```
/// use axum::response::{IntoResponse, Redirect, Response};
/// use ruts::Error;
///
/// struct PageError(Error);
///
/// impl From<Error> for PageError {
///     fn from(error: Error) -> Self {
///         Self(error)
///     }
/// }
///
/// impl IntoResponse for PageError {
///     fn into_response(self) -> Response {
///         match self.0 {
///             Error::SignInRequired => Redirect::to("/sign-in").into_response(),
///             error if error.is_outcome_unknown() => "Please check whether it was saved.".into_response(),
///             error => error.into_response(),
///         }
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed. A retry may succeed. Nothing was changed, with two exceptions:
    ///
    /// - If the kind is [`OutcomeUnknown`](StoreErrorKind::OutcomeUnknown), the change may have
    ///   been made.
    /// - A revocation or a sign-in may have ended some sessions.
    #[error("the session store failed")]
    Store(#[source] StoreError),

    /// The principal has as many sessions as [`max_sessions`](crate::SessionLayer::max_sessions) of
    /// the layer allows. Nothing was changed, with one exception: the sign-in may have ended a
    /// session that no client has used.
    #[error("the principal has reached its limit of sessions")]
    TooManySessions,

    /// The value could not be encoded or encrypted. Nothing was changed.
    #[error("the value for the session field `{field}` could not be encoded")]
    Encode {
        /// Stored name of the field.
        field: String,
        /// Error of the codec.
        source: CodecError,
    },

    /// The stored value does not fit the type of the field, or cannot be decrypted. The value is
    /// kept until the field is set, removed or taken.
    #[error("the stored value of the session field `{field}` could not be decoded")]
    Decode {
        /// Stored name of the field.
        field: String,
        /// Error of the codec.
        source: CodecError,
    },

    /// No principal is signed in.
    #[error("no principal is signed in")]
    SignInRequired,

    /// The principal has to authenticate again, or with a higher assurance.
    #[error("a stronger or more recent authentication is required")]
    StepUpRequired {
        /// Required assurance.
        assurance: Assurance,
        /// Maximum age of the authentication. `None` if any age will do.
        within: Option<Duration>,
    },

    /// The session is no longer valid, for one of these reasons:
    ///
    /// - It ended after this request had used it.
    /// - It was deleted, or its secret was replaced, after this request arrived or less than five
    ///   seconds before.
    /// - A revocation ended it during this sign-in.
    /// - No live session has the id of this [job](crate::session::SessionIndex::get).
    ///
    /// The write did not take place, or was lost with the session. No session was created.
    #[error("the session has ended, or another request has replaced its secret")]
    Ended,

    /// Another operation of the same request has held the session for five seconds. Its store call
    /// is slow, or its future was polled once and is now neither polled nor dropped. Nothing was
    /// changed.
    #[error(
        "another operation of this request has blocked the session for five seconds: its store call \
         is slow, or its future is neither polled nor dropped"
    )]
    Busy,

    /// An `update`, `push` or `settle` gave up after 48 attempts, because other requests kept
    /// changing the field. Nothing was changed.
    #[error("too many concurrent requests changed the session field `{field}`")]
    Conflict {
        /// Stored name of the field.
        field: String,
    },

    /// The write is done, but the cache of a layered store missed it. For at most `stale_for`,
    /// reads may still get the former state from the cache. So a user who has signed out may appear
    /// signed in.
    #[error("the write succeeded, but a cache may return the former state for up to {stale_for:?}")]
    StaleCache {
        /// Maximum time for which the cache may be stale: the cache TTL of the store.
        stale_for: Duration,
    },

    /// The response was sent, or the client has disconnected. So the cookie of a new session or
    /// secret can no longer reach the client. Nothing was changed, with one exception: if the
    /// response was sent during the write, the write took place. In that case no client knows the
    /// new secret of the session.
    #[error("the response was sent: a session can no longer be created, nor a secret replaced")]
    ResponseSent,

    /// [Development mode](crate::SessionLayer::development) gives this request no session. The
    /// request came through a proxy or from another site, or asks for a host that is not allowed.
    /// Nothing was changed.
    #[error(
        "development mode: only direct requests for a loopback name, or for a host that \
         `development_on` allows, get a session"
    )]
    NotLoopback,

    /// A [job](crate::session::SessionIndex::get) has no client, so it cannot sign in or out,
    /// replace the secret, move the absolute deadline or delete the session. Nothing was changed.
    #[error("a job without a request cannot sign in or out, replace a secret or end a session")]
    NoRequest,

    /// A lifetime is zero or too long. Nothing was changed.
    #[error("the lifetime is zero or too long")]
    Ttl(#[from] TtlError),

    /// A later release of the application wrote the value, for example during a deploy. Nothing was
    /// changed. An instance of that release can answer the request.
    #[error(
        "a later release wrote the session field `{field}`: it has version {stored}, and this release \
         knows only versions up to {known}"
    )]
    Newer {
        /// Stored name of the field.
        field: String,
        /// Version of the stored value.
        stored: u16,
        /// Highest version that this release knows.
        known: u16,
    },

    /// The lifetime is longer than the layer or the field allows. Nothing was changed.
    #[error("the lifetime is longer than the maximum of {longest:?}")]
    LifetimeBound {
        /// Maximum lifetime.
        longest: Duration,
    },

    /// The name is empty, is longer than 128 bytes, contains a zero byte, or begins with `~` or
    /// `ruts.`. Nothing was changed.
    #[error(
        "{0:.130?} is not a valid name for a session field: use 1 to 128 bytes without a zero byte, \
         not beginning with `~` or `ruts.`"
    )]
    FieldName(String),

    /// The field is declared as a principal, so only a sign-in writes it. Nothing was changed.
    #[error(
        "the session field `{0}` is declared as `principal`: only a sign-in through its `#[session]` \
         struct can write it"
    )]
    PrincipalField(String),

    /// An edit has an option of a sign-in, such as `assurance` or `remember`, but sets no principal
    /// field. To prove a second factor, set the principal field of the signed-in user again.
    /// Nothing was changed.
    #[error(
        "the edit has an option of a sign-in, but sets no field that is declared as `principal`: set that \
         field, too"
    )]
    NoSignIn,

    /// The operating system returned no random bytes for a token or for encryption. Nothing was
    /// changed.
    #[error("no random bytes were available for a session token or for encryption")]
    Random(#[from] RandomError),

    /// The application could not load the signed-in user. Nothing was changed.
    #[error("the signed-in user could not be loaded")]
    LoadUser(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// No `SessionLayer` of the required name wraps this handler. A layer covers only the routes
    /// that were added before `.layer(..)`.
    #[error(
        "no `SessionLayer`{} wraps this handler: \
         a layer covers only the routes that were added before `.layer(..)`",
        name_of(*layer)
    )]
    MissingLayer {
        /// The [`LayerName`](crate::session::LayerName) type of the layer. `None` for the layer
        /// without a name.
        layer: Option<&'static str>,
    },

    /// Two schemas of one layer declare a field of the same stored name differently. The type,
    /// version or encryption differs, or only one declaration is a principal field. The schema that
    /// was used later is refused. Give one of the schemas a `prefix`, or declare the field the same
    /// way in both.
    #[error(
        "the schemas `{}` and `{}` declare the session field `{field}` differently: give one of them a \
         `prefix`, or declare the field the same way in both", schemas[0], schemas[1]
    )]
    SchemaConflict {
        /// Stored name of the field.
        field: String,
        /// Names of the schemas, in the order of their first use.
        schemas: [&'static str; 2],
    },

    /// The session belongs to a different layer than the `#[session]` struct declares, for example
    /// because it was converted by `try_from`. Extract the struct itself, or use
    /// [`Session::from_extensions_of`](crate::Session::from_extensions_of).
    #[error(
        "the session is of {}, but its `#[session]` struct declares {}",
        layer(found),
        layer(expected)
    )]
    WrongLayer {
        /// [`LayerName::NAME`](crate::session::LayerName::NAME) of the declared layer.
        expected: &'static str,
        /// The name of the session's layer, empty for the layer without a name.
        found: &'static str,
    },

    /// The handler expects a different store type from that of its `SessionLayer`.
    #[error(
        "the handler expects a session in `{expected}`, but its layer keeps sessions in `{found}`"
    )]
    WrongStore {
        /// Store type that the handler expects.
        expected: &'static str,
        /// Store type of the layer.
        found: &'static str,
    },
}

fn layer(name: &str) -> String {
    if name.is_empty() { "the unnamed layer".to_owned() } else { format!("the layer `{name}`") }
}

fn name_of(layer: Option<&str>) -> String {
    layer.map(|layer| format!(" with the name `{layer}`")).unwrap_or_default()
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
    /// Returns whether the outcome is unknown: the operation may have taken place in spite of the
    /// error.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == StoreErrorKind::OutcomeUnknown)
    }
}
