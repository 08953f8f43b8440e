//! The key of an indexed value, in a reserved field beside the value: [`stored_key`].
//!
//! Written and read by `request`, read by `indexed_sessions`. A release cannot read a value of a later version,
//! and so not find its key. It finds the key in the reserved field.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    auth::PrincipalKey,
    codec::{self, CodecError},
    field::FieldSpec,
};

/// Returns the name of the reserved field. It has a fixed length, because a store may limit the length of
/// names.
pub(super) fn key_name(field: &str) -> String {
    let digest = Sha256::digest(field);
    digest[..8].iter().fold("ruts.index.".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Returns the value of the reserved field.
pub(super) fn wrap_key(key: &PrincipalKey) -> Bytes {
    codec::wrap_own(key.as_bytes())
}

/// Returns the key of a field's value, `None` without a value. `get` returns the stored value of a field.
pub(super) fn stored_key<'a>(
    field: &FieldSpec,
    layer: &str,
    get: impl Fn(&str) -> Option<&'a Bytes>,
) -> Result<Option<PrincipalKey>, CodecError> {
    let Some(value) = get(field.name()) else { return Ok(None) };
    match field.index_key(layer, value) {
        Err(newer @ CodecError::Newer { .. }) => {
            let key = get(&key_name(field.name())).and_then(|key| {
                let bytes = codec::unwrap_own(key).ok()?.try_into().ok()?;
                Some(PrincipalKey::from_bytes(bytes))
            });
            key.map(Some).ok_or(newer)
        }
        key => key.map(Some),
    }
}
