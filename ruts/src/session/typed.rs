//! [`TypedSession`]: the trait of every `#[session]` struct.
//!
//! Implemented by generated code. Used by guards, `SessionIndex` and `testing`.

use super::{handle::Session, layer_name::LayerName, schemas::FingerprintFn};
use crate::{
    error::Error,
    field::{FieldVisitor, SessionSchema},
};

/// A session with a declared schema. Implemented by `#[session]`, not by hand.
///
/// ```
/// use ruts::{Error, http::Extensions, session, session::TypedSession};
///
/// #[session]
/// struct Shop {
///     cart: Vec<String>,
/// }
///
/// // Any tower service can do the same as the axum extractor:
/// fn shop(extensions: &Extensions) -> Result<Shop, Error> {
///     Shop::from_extensions(extensions)
/// }
/// ```
pub trait TypedSession: Clone + Send + Sync + 'static {
    /// Name of the [`SessionLayer`](crate::SessionLayer) that provides the session.
    type Layer: LayerName;

    /// Schema of the struct.
    const SCHEMA: &'static SessionSchema;

    /// The fingerprint functions of the fields' types, in the order of the fields.
    #[doc(hidden)]
    const SHAPES: &'static [FingerprintFn] = &[];

    /// Returns the session without its schema.
    fn session(&self) -> &Session;

    /// Wraps a session without checking its layer and schema.
    #[doc(hidden)]
    fn wrap(session: Session) -> Self;

    /// Returns the session that the layer put into a request.
    ///
    /// # Errors
    ///
    /// [`Error::MissingLayer`]. [`Error::SchemaConflict`] if another schema of the layer declares a
    /// field of the same stored name differently.
    fn from_extensions(extensions: &http::Extensions) -> Result<Self, Error> {
        typed(Session::from_extensions_of::<Self::Layer>(extensions)?)
    }
}

/// A session whose types are compared with a lock file. Implemented by `#[session(lock)]`, not by
/// hand.
///
/// Used by `ruts::testing::assert_lock`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no lock of its stored types",
    label = "declare it with `#[session(lock)]`"
)]
pub trait LockedSession: TypedSession {
    /// Passes each typed key to a visitor, in the order of the declaration.
    fn visit_fields<V: FieldVisitor>(visitor: &mut V);
}

/// Returns a session with its schema, after adding the schema to those of the layer.
#[allow(clippy::missing_errors_doc, reason = "not for callers")]
pub fn typed<T: TypedSession>(session: Session) -> Result<T, Error> {
    session.register(T::Layer::NAME, T::SCHEMA, T::SHAPES)?;
    Ok(T::wrap(session))
}

/// Returns `None` for a session whose layer is missing.
#[allow(clippy::missing_errors_doc, reason = "not for callers")]
pub fn optional<T>(session: Result<T, Error>) -> Result<Option<T>, Error> {
    match session {
        Ok(session) => Ok(Some(session)),
        Err(Error::MissingLayer { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
