//! [`KeyState`]: whether a key of `#[session]` or `#[field]` was given, with its value.
//!
//! Written by `args`, read by the checks. Reports a key that is given twice. Does not know which
//! keys exist.

use syn::{Ident, parse::ParseStream};

use crate::diagnostics::Diagnostics;

/// A key that may be given once.
///
/// A key with an invalid value counts as given, so it is not also reported as missing. Checks
/// against other keys skip it.
#[derive(Default)]
pub(crate) enum KeyState<T> {
    #[default]
    Unset,
    Set {
        key: Ident,
        value: T,
    },
    Invalid,
}

impl<T> KeyState<T> {
    /// Reads the value of `key`. Reports a key that is given twice.
    pub(super) fn read(
        &mut self,
        key: Ident,
        input: ParseStream<'_>,
        diagnostics: &mut Diagnostics,
        value: impl FnOnce(&Ident, ParseStream<'_>, &mut Diagnostics) -> Option<T>,
    ) {
        let value = value(&key, input, diagnostics);
        match (&self, value) {
            (Self::Unset, Some(value)) => *self = Self::Set { key, value },
            (Self::Unset, None) => *self = Self::Invalid,
            _ => diagnostics.at(&key, format!("`{key}` is given twice; remove one of them")),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Set { value, .. } => Some(value),
            Self::Unset | Self::Invalid => None,
        }
    }

    /// Returns the key, unless its value is invalid.
    pub(crate) fn key(&self) -> Option<&Ident> {
        match self {
            Self::Set { key, .. } => Some(key),
            Self::Unset | Self::Invalid => None,
        }
    }

    /// Returns whether the key was given, even with an invalid value.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self, Self::Unset)
    }

    /// Returns whether the key has a valid value.
    pub(crate) fn is_set(&self) -> bool {
        matches!(self, Self::Set { .. })
    }
}
