//! [`FieldName`]: a stored name as an owned string.
//!
//! Used by the answers of stores, the field cache and session maps. Does not check the string:
//! `is_field_name` does.

use std::{borrow::Borrow, fmt, ops::Deref};

use smol_str::SmolStr;

/// Name of a stored field. A name of up to 23 bytes needs no allocation.
///
/// ```
/// use ruts::field::FieldName;
///
/// let name = FieldName::from("cart");
/// assert_eq!(&*name, "cart");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName(SmolStr);

impl FieldName {
    /// Creates a name without an allocation.
    pub const fn from_static(name: &'static str) -> Self {
        Self(SmolStr::new_static(name))
    }
}

impl From<&str> for FieldName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for FieldName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl Deref for FieldName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for FieldName {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq<&str> for FieldName {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
