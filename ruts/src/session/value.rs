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
    field::{Field, FieldSpec, Mode},
};

pub(super) fn encode<Q: Serialize + ?Sized>(field: &FieldSpec, value: &Q) -> Result<Bytes, Error> {
    encode_named(field.name(), field.codec(), field.version(), value)
}

pub(super) fn encode_named<Q: Serialize + ?Sized>(
    name: &str,
    codec: Codec,
    version: u16,
    value: &Q,
) -> Result<Bytes, Error> {
    codec::encode(codec, version, value).map_err(|source| encode_error(name, source))
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

/// Decodes a value that was set by name, which has version 1. Another version reads as absent.
pub(super) fn decode_named<T: DeserializeOwned>(
    name: &str,
    stored: Option<&Plaintext>,
) -> Result<Option<T>, Error> {
    let Some(stored) = stored else { return Ok(None) };
    codec::decode(&stored.bytes, 1).map_err(|source| decode_error(name, source))
}

pub(super) fn decode_error(name: &str, source: CodecError) -> Error {
    Error::Decode { field: name.to_owned(), source }
}

/// Logs once for each field that stored values have another version. There may be many.
fn warn_once(name: &'static str) {
    static WARNED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    if WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
        tracing::warn!(
            field = name,
            "stored values of this session field are of another version: they read as absent"
        );
    }
}
