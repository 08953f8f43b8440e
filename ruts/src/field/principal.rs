//! The key of a principal, made of a value: [`key_of`].

use serde::Serialize;

use crate::{auth::PrincipalKey, codec::CodecError};

/// Returns the key of the principal that a value names.
pub(super) fn key_of<Q: Serialize + ?Sized>(
    layer: &str,
    field: &str,
    value: &Q,
) -> Result<PrincipalKey, CodecError> {
    // The error of serde may quote the value, so it is dropped.
    let value = serde_json::to_vec(value).map_err(|_| CodecError::Principal)?;
    Ok(PrincipalKey::digest(layer, field, &value))
}
