//! A field's value to stored bytes and back, with the field's name in every error.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    auth::PrincipalKey,
    codec::{self, Codec, CodecError},
    crypto::field_cipher::Plaintext,
    error::Error,
    field::{Field, Mode},
};

pub(super) fn encode<T, M: Copy, Q: Serialize + ?Sized>(
    field: Field<T, M>,
    value: &Q,
) -> Result<Bytes, Error> {
    field.encode_as(value).map_err(|source| encode_error(field.spec().name(), source))
}

/// Encodes a value that is set by name, which has version 1.
pub(super) fn encode_named<Q: Serialize + ?Sized>(
    name: &str,
    codec: Codec,
    value: &Q,
) -> Result<Bytes, Error> {
    codec::encode(codec, 1, 0, value).map_err(|source| encode_error(name, source))
}

/// Returns the principal that a value stands for, if the field is that of a principal.
pub(super) fn principal<T, M: Mode, Q: Serialize + ?Sized>(
    field: Field<T, M>,
    layer: &str,
    value: &Q,
) -> Result<Option<PrincipalKey>, Error> {
    let spec = field.spec();
    let key = field.mode().principal(layer, spec, value);
    key.map_err(|source| encode_error(spec.name(), source))
}

pub(super) fn encode_error(name: &str, source: CodecError) -> Error {
    Error::Encode { field: name.to_owned(), source }
}

pub(super) fn decode<T, M: Copy>(
    field: Field<T, M>,
    stored: Option<&Plaintext>,
) -> Result<Option<T>, Error> {
    let Some(stored) = stored else { return Ok(None) };
    let name = field.spec().name();
    let value = field.decode(&stored.bytes).map_err(|source| decode_error(name, source))?;
    if value.is_none() {
        warn_once(name);
    } else if field.spec().is_encrypted() && !stored.was_encrypted {
        return Err(decode_error(name, CodecError::NotEncrypted));
    }
    Ok(value)
}

/// Decodes a value as one that was set by name, which has version 1.
pub(super) fn decode_named<T: DeserializeOwned>(
    name: &str,
    stored: Option<&Plaintext>,
) -> Result<Option<T>, Error> {
    let Some(stored) = stored else { return Ok(None) };
    let value = codec::decode(&stored.bytes, 1, codec::trace::<T>);
    value.map_err(|source| decode_error(name, source))
}

pub(super) fn decode_error(name: &str, source: CodecError) -> Error {
    let field = name.to_owned();
    match source {
        CodecError::Newer { stored, known } => Error::Newer { field, stored, known },
        source => Error::Decode { field, source },
    }
}

/// Logs once for each field that stored values have a former version. There may be many.
fn warn_once(name: &'static str) {
    static WARNED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    if WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
        tracing::warn!(
            field = name,
            "stored values of this session field are of a former version: they read as absent"
        );
    }
}
