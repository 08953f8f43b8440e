/// Reading the field yields `Option<T>`.
#[derive(Debug, Clone, Copy)]
pub struct Maybe;

/// Reading the field yields `T`: the default where nothing is stored.
#[derive(Debug)]
pub struct OrDefault<T>(fn() -> T);

/// The field cannot be read, only taken.
#[derive(Debug, Clone, Copy)]
pub struct Once;

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

/// What reading a field yields: [`Maybe`] an `Option<T>`, [`OrDefault`] a `T`.
///
/// A field marked `once` is not readable.
#[diagnostic::on_unimplemented(
    message = "a field marked `once` cannot be read, only taken",
    label = "this field can only be taken"
)]
pub trait Readable<T>: Copy + Send + Sync + Unpin + sealed::Sealed {
    /// `Option<T>` or `T`.
    type Value;

    /// What the reader gets for what is stored.
    fn value(self, stored: Option<T>) -> Self::Value;

    /// What to store for a value; `None` removes the field.
    fn stored(self, value: Self::Value) -> Option<T>;
}

impl<T> Readable<T> for Maybe {
    type Value = Option<T>;

    fn value(self, stored: Option<T>) -> Option<T> {
        stored
    }

    fn stored(self, value: Option<T>) -> Option<T> {
        value
    }
}

impl<T> Readable<T> for OrDefault<T> {
    type Value = T;

    fn value(self, stored: Option<T>) -> T {
        stored.unwrap_or_else(self.0)
    }

    fn stored(self, value: T) -> Option<T> {
        Some(value)
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Maybe {}
    impl<T> Sealed for super::OrDefault<T> {}
}
