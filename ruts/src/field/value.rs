//! [`FieldValue`] and [`StoredAs`]: bounds on value types, with readable compiler errors.
//!
//! Used by every generic method that takes a value. Knows only serde.

use serde::{Serialize, de::DeserializeOwned};

/// Type of a field: any `Send + 'static` type that serde can write and read back.
///
/// Implemented for every such type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in a session",
    label = "this field's type needs `Serialize` and `Deserialize`",
    note = "`#[derive(serde::Serialize, serde::Deserialize)]` on your type gives it both",
    note = "a type of another crate may have both if a feature such as `serde` of that crate is enabled; \
            otherwise store a type of your own"
)]
pub trait FieldValue: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend] // otherwise two errors, about serde's traits
impl<T: Serialize + DeserializeOwned + Send + 'static> FieldValue for T {}

/// Type whose values serialise exactly like the values of `T`, so that `set_name("Ada")` needs no
/// `String`.
///
/// A bound on `Borrow` would accept too much: `[u8; 4]` borrows as `[u8]`, which serialises
/// differently.
#[diagnostic::on_unimplemented(
    message = "a field of type `{T}` cannot be set to a `{Self}`",
    label = "expected a reference to `{T}`"
)]
pub trait StoredAs<T>: Serialize {}

impl<T: Serialize> StoredAs<T> for T {}
impl StoredAs<String> for str {}
impl StoredAs<Box<str>> for str {}
impl StoredAs<std::borrow::Cow<'static, str>> for str {}
impl<T: Serialize> StoredAs<Vec<T>> for [T] {}
impl<T: Serialize> StoredAs<Box<[T]>> for [T] {}
impl<T: Serialize> StoredAs<Box<T>> for T {}
impl StoredAs<std::path::PathBuf> for std::path::Path {}
