use serde::Serialize;

use super::FieldSpec;
use crate::{codec::CodecError, principal::PrincipalKey};

/// Reading the field yields `Option<T>`.
#[derive(Debug, Clone, Copy)]
pub struct Maybe;

/// Reading the field yields `T`: the default where nothing is stored.
#[derive(Debug)]
pub struct OrDefault<T>(fn() -> T);

/// The field cannot be read, only taken.
#[derive(Debug, Clone, Copy)]
pub struct Once;

/// Reading the field yields `Option<T>`: who is signed in. Writing it signs in.
#[derive(Debug, Clone, Copy)]
pub struct Principal;

impl<T> OrDefault<T> {
    pub(super) const fn new(default: fn() -> T) -> Self {
        Self(default)
    }
}

impl<T> Clone for OrDefault<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for OrDefault<T> {}

/// What kind of field it is: [`Maybe`], [`OrDefault`], [`Once`] or [`Principal`].
pub trait Mode: Copy + Send + Sync + Unpin + sealed::Sealed {
    /// Under which key a session is listed that has this value; `None` if it is no [`Principal`].
    #[doc(hidden)]
    #[allow(clippy::missing_errors_doc, reason = "not for callers")]
    fn principal<Q: Serialize + ?Sized>(
        self,
        layer: &str,
        field: &FieldSpec,
        value: &Q,
    ) -> Result<Option<PrincipalKey>, CodecError> {
        let _ = (layer, field, value);
        Ok(None)
    }
}

impl Mode for Maybe {}
impl<T> Mode for OrDefault<T> {}
impl Mode for Once {}

impl Mode for Principal {
    fn principal<Q: Serialize + ?Sized>(
        self,
        layer: &str,
        field: &FieldSpec,
        value: &Q,
    ) -> Result<Option<PrincipalKey>, CodecError> {
        // What JSON says of a value that it cannot write may quote it.
        let value = serde_json::to_vec(value).map_err(|_| CodecError::Principal)?;
        Ok(Some(PrincipalKey::digest(layer, field.name(), &value)))
    }
}

/// What reading a field yields: [`Maybe`] and [`Principal`] an `Option<T>`, [`OrDefault`] a `T`.
///
/// A field marked `once` is not readable.
#[diagnostic::on_unimplemented(
    message = "a field marked `once` cannot be read, only taken",
    label = "this field can only be taken"
)]
pub trait Readable<T>: Mode {
    /// `Option<T>` or `T`.
    type Value;

    /// What the reader gets for what is stored.
    fn value(self, stored: Option<T>) -> Self::Value;
}

/// A field that can be changed by what it holds: [`Maybe`] and [`OrDefault`].
#[diagnostic::on_unimplemented(
    message = "this field cannot be changed by an `update`",
    label = "who is signed in changes by `sign_in`, and what is `once` by `set`"
)]
pub trait Updatable<T>: Readable<T> {
    /// What to store for a value; `None` removes the field.
    fn stored(self, value: Self::Value) -> Option<T>;
}

impl<T> Readable<T> for Maybe {
    type Value = Option<T>;

    fn value(self, stored: Option<T>) -> Option<T> {
        stored
    }
}

impl<T> Updatable<T> for Maybe {
    fn stored(self, value: Option<T>) -> Option<T> {
        value
    }
}

impl<T> Readable<T> for Principal {
    type Value = Option<T>;

    fn value(self, stored: Option<T>) -> Option<T> {
        stored
    }
}

impl<T> Readable<T> for OrDefault<T> {
    type Value = T;

    fn value(self, stored: Option<T>) -> T {
        stored.unwrap_or_else(self.0)
    }
}

impl<T> Updatable<T> for OrDefault<T> {
    fn stored(self, value: T) -> Option<T> {
        Some(value)
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Maybe {}
    impl<T> Sealed for super::OrDefault<T> {}
    impl Sealed for super::Once {}
    impl Sealed for super::Principal {}
}
