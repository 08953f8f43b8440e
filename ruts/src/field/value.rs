use serde::{Serialize, de::DeserializeOwned};

/// A type whose values can be kept in a session: anything that serde can write and read back.
///
/// It is implemented for all of them; there is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in a session",
    label = "this field's type needs `Serialize` and `Deserialize`",
    note = "`#[derive(serde::Serialize, serde::Deserialize)]` on your type gives it both"
)]
pub trait FieldValue: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend] // or a type without serde would be two errors, in serde's words
impl<T: Serialize + DeserializeOwned + Send + 'static> FieldValue for T {}

/// A type whose values serialise exactly as `T` does, so that `set_name("Ada")` needs no `String`.
///
/// `Borrow` would be too wide: `[u8; 4]` borrows as `[u8]`, which is written differently.
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
