//! [`PrincipalName`]: collects the value from which a principal key is computed.
//!
//! Used by typed keys and field specs, and by applications with `principal_with`. Knows JSON and
//! the digest of `auth`, and nothing about stores.

use serde::Serialize;

use crate::{auth::PrincipalKey, codec::CodecError};

/// Collects the value by which the sessions of a principal are found: the argument of
/// [`FieldSpec::principal_with`](super::FieldSpec::principal_with).
///
/// If several values are set, the last one replaces the others.
#[derive(Debug)]
pub struct PrincipalName<'a> {
    layer: &'a str,
    field: &'static str,
    key: Option<PrincipalKey>,
}

impl<'a> PrincipalName<'a> {
    pub(super) fn new(layer: &'a str, field: &'static str) -> Self {
        Self { layer, field, key: None }
    }

    /// Names the principal by `value`, in place of any earlier value.
    ///
    /// # Errors
    ///
    /// [`CodecError::Principal`] if JSON cannot write the value.
    pub fn set<Q: Serialize + ?Sized>(&mut self, value: &Q) -> Result<(), CodecError> {
        // Serde's error may quote the value, so it is dropped.
        let value = serde_json::to_vec(value).map_err(|_| CodecError::Principal)?;
        self.key = Some(PrincipalKey::digest(self.layer, self.field, &value));
        Ok(())
    }

    pub(super) fn finish(self) -> Result<PrincipalKey, CodecError> {
        self.key.ok_or(CodecError::Principal)
    }
}
