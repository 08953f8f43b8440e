use syn::Ident;

use crate::diag::Diagnostics;

/// A key that may be given once. A key whose value was wrong counts as given, so that it is not
/// also reported as missing or as contradicting another.
#[derive(Default)]
pub(crate) enum Once<T> {
    #[default]
    Unset,
    Set {
        key: Ident,
        value: T,
    },
    Failed,
}

impl<T> Once<T> {
    /// Takes the value of `key`, unless there is one already.
    pub(super) fn put(&mut self, key: Ident, value: Option<T>, diagnostics: &mut Diagnostics) {
        match (&self, value) {
            (Self::Unset, Some(value)) => *self = Self::Set { key, value },
            (Self::Unset, None) => *self = Self::Failed,
            _ => diagnostics.at(&key, format!("`{key}` is given twice; remove one of them")),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Set { value, .. } => Some(value),
            Self::Unset | Self::Failed => None,
        }
    }

    /// The key, where the value is good.
    pub(crate) fn key(&self) -> Option<&Ident> {
        match self {
            Self::Set { key, .. } => Some(key),
            Self::Unset | Self::Failed => None,
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        matches!(self, Self::Set { .. })
    }
}
