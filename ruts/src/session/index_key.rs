//! [`stored_key`]: the key of an indexed value, which a reserved field next to the value stores.
//!
//! `request` writes and reads the field, and `indexed_sessions` reads it. A release cannot decode a
//! value of a later version, so it cannot compute the key. It reads the key from the reserved field
//! instead.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    auth::PrincipalKey,
    codec::{self, CodecError},
    field::FieldSpec,
};

/// Returns the name of the reserved field. It has a fixed length, because a store may limit the
/// length of names.
pub(super) fn key_name(field: &str) -> String {
    let digest = Sha256::digest(field);
    digest[..8].iter().fold("ruts.index.".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Returns the name and the value of the reserved field next to a value. `None` for a field without
/// an index.
pub(super) fn key_beside(
    field: &FieldSpec,
    layer: &str,
    value: &[u8],
) -> Result<Option<(String, Bytes)>, CodecError> {
    if !field.is_index() {
        return Ok(None);
    }
    let key = field.index_key(layer, value)?;
    Ok(Some((key_name(field.name()), wrap_key(&key, value))))
}

/// Returns the value of the reserved field for a stored value and its key.
pub(super) fn wrap_key(key: &PrincipalKey, value: &[u8]) -> Bytes {
    codec::wrap_own(&[key.as_bytes(), digest(value).as_slice()].concat())
}

/// Returns a digest that binds a key to its value. A release that does not index the field changes
/// only the value, so the digest no longer fits.
fn digest(value: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(value)[..8]);
    first
}

/// Returns the key of a field's value, or `None` if the field has no value. `get` returns the
/// stored value of a field.
pub(super) fn stored_key<'a>(
    field: &FieldSpec,
    layer: &str,
    get: impl Fn(&str) -> Option<&'a Bytes>,
) -> Result<Option<PrincipalKey>, CodecError> {
    let Some(value) = get(field.name()) else { return Ok(None) };
    match field.index_key(layer, value) {
        Err(newer @ CodecError::Newer { .. }) => {
            let key = get(&key_name(field.name())).and_then(|key| {
                let (key, of_value) = codec::unwrap_own(key).ok()?.split_last_chunk()?;
                let is_current = *of_value == digest(value);
                let key = key.try_into().ok().filter(|_| is_current)?;
                Some(PrincipalKey::from_bytes(key))
            });
            key.map(Some).ok_or(newer)
        }
        key => key.map(Some),
    }
}
