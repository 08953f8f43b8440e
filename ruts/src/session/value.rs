//! A field's value to stored bytes and back, with the field's name in every error.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    codec::{self, Codec, CodecError},
    error::Error,
    field::{Field, FieldSpec},
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

pub(super) fn encode_error(name: &str, source: CodecError) -> Error {
    Error::Encode { field: name.to_owned(), source }
}

pub(super) fn decode<T, M: Copy>(
    field: Field<T, M>,
    stored: Option<&Bytes>,
) -> Result<Option<T>, Error> {
    let spec = field.spec();
    finish(spec.name(), stored.map(|stored| field.decode(stored)))
}

/// Values that are set by name have version 1.
pub(super) fn decode_named<T: DeserializeOwned>(
    name: &str,
    stored: Option<&Bytes>,
) -> Result<Option<T>, Error> {
    finish(name, stored.map(|stored| codec::decode(stored, 1)))
}

fn finish<T>(
    name: &str,
    decoded: Option<Result<Option<T>, CodecError>>,
) -> Result<Option<T>, Error> {
    let Some(decoded) = decoded else {
        return Ok(None);
    };
    let value = decoded.map_err(|source| Error::Decode { field: name.to_owned(), source })?;
    if value.is_none() {
        tracing::warn!(
            field = name,
            "the stored session field is of another version: read as absent"
        );
    }
    Ok(value)
}
