//! [`Mode`]: how a field is read and written.
//!
//! Used as a type parameter of every typed key. Knows nothing about requests or stores.

/// Mode of a field that reads as `Option<T>`.
#[derive(Debug, Clone, Copy)]
pub struct Optional;

/// Mode of a field that reads as `T`, with a default for an absent field.
#[derive(Debug)]
pub struct OrDefault<T>(fn() -> T);

/// Mode of a field that can only be taken, not read.
#[derive(Debug, Clone, Copy)]
pub struct Once;

/// Mode of a field that reads as `Option<T>`, the signed-in principal. Writing it signs in.
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

/// Mode of a field: [`Optional`], [`OrDefault`], [`Once`] or [`Principal`].
pub trait Mode: Copy + Send + Sync + Unpin + sealed::Sealed {
    /// Whether a write of the field signs a principal in.
    #[doc(hidden)]
    const SIGNS_IN: bool = false;
}

impl Mode for Optional {}
impl<T> Mode for OrDefault<T> {}
impl Mode for Once {}

impl Mode for Principal {
    const SIGNS_IN: bool = true;
}

/// Mode of a field that can be read. A read of an [`Optional`] or [`Principal`] field yields an
/// `Option<T>`, and a read of an [`OrDefault`] field a `T`. A field marked `once` is not readable.
#[diagnostic::on_unimplemented(
    message = "a field marked `once` cannot be read: call `take()`",
    label = "call `take()`, which removes the value and returns it"
)]
pub trait Readable<T>: Mode {
    /// `Option<T>` or `T`.
    type Value;

    /// Turns the stored value, if any, into the result of a read.
    fn value(self, stored: Option<T>) -> Self::Value;
}

/// Mode of a field with an atomic read-modify-write: [`Optional`] and [`OrDefault`].
#[diagnostic::on_unimplemented(
    message = "a field marked `principal` or `once` has neither `update` nor `expire`",
    label = "call `sign_in` to change a principal, or `set` to change a `once` field"
)]
pub trait Updatable<T>: Readable<T> {
    /// Turns a value into the value to store. `None` removes the field.
    fn stored(self, value: Self::Value) -> Option<T>;
}

impl<T> Readable<T> for Optional {
    type Value = Option<T>;

    fn value(self, stored: Option<T>) -> Option<T> {
        stored
    }
}

impl<T> Updatable<T> for Optional {
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

    impl Sealed for super::Optional {}
    impl<T> Sealed for super::OrDefault<T> {}
    impl Sealed for super::Once {}
    impl Sealed for super::Principal {}
}
