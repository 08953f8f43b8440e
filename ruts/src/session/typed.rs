use super::{Session, SessionMap};
use crate::{error::Error, schema::SessionSchema};

/// A session with a declared schema. `#[session]` implements it; there is nothing to implement by
/// hand.
///
/// ```
/// use ruts::{Error, TypedSession, http::Extensions, session};
///
/// #[session]
/// struct Shop {
///     cart: Vec<String>,
/// }
///
/// // Any tower service can do what the axum extractor does:
/// fn shop(extensions: &Extensions) -> Result<Shop, Error> {
///     Shop::from_extensions(extensions)
/// }
/// ```
pub trait TypedSession: From<Session> + Clone + Send + Sync + 'static {
    /// Which [`SessionLayer`](crate::SessionLayer) it comes from.
    type Layer: super::SessionName;

    /// Its fields.
    const SCHEMA: &'static SessionSchema;

    /// The session behind it.
    fn session(&self) -> &Session;

    /// The session that the layer put into a request.
    ///
    /// # Errors
    ///
    /// [`Error::MissingLayer`].
    fn from_extensions(extensions: &http::Extensions) -> Result<Self, Error> {
        Session::from_extensions_of::<Self::Layer>(extensions).map(Self::from)
    }
}

/// The plain struct of all values of a schema, made by `#[session]`.
#[doc(hidden)]
pub trait Values: Sized {
    #[allow(missing_docs, clippy::missing_errors_doc, reason = "not for callers")]
    fn decode(fields: &SessionMap) -> Result<Self, Error>;
}
