//! Encodes and decodes the value of a field, and puts the field name into errors.
//!
//! Called by `handle`, `entry`, `edit`, `map` and `request`. Calls `codec`. Makes no store call.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::config::Unreadable;
use crate::{
    auth::PrincipalKey,
    codec::{self, Codec, CodecError, Fingerprint},
    crypto::field_cipher::Plaintext,
    error::Error,
    event,
    field::{Field, FieldSpec, Mode},
};

pub(super) fn encode<T, M: Copy, Q: Serialize + ?Sized>(
    field: Field<T, M>,
    value: &Q,
) -> Result<Bytes, Error> {
    field.encode_as(value).map_err(|source| encode_error(field.spec().name(), source))
}

/// Encodes a value that is set by name. `declared` is the declaration of a field with this name, if
/// any, and `codec` the codec of other fields.
///
/// The type of the value may differ from the declared type. So the value of a declared field is
/// written as MessagePack, which is never misread, and in the version of the declared type.
pub(super) fn encode_named<Q: Serialize + ?Sized>(
    name: &str,
    declared: Option<&FieldSpec>,
    codec: Codec,
    value: &Q,
) -> Result<Bytes, Error> {
    let encoded = match declared {
        // Only the declared type can be converted to the version that this release writes.
        Some(spec) if spec.written_version() != spec.version() => {
            Err(CodecError::Migrate(spec.written_version()))
        }
        Some(spec) => {
            let by_name = Codec::MessagePack;
            let codec = if by_name.is_enabled() { by_name } else { spec.codec() };
            codec::encode(codec, spec.version(), Fingerprint::UNKNOWN, value)
        }
        None => codec::encode(codec, 1, Fingerprint::UNKNOWN, value),
    };
    encoded.map_err(|source| encode_error(name, source))
}

/// Returns the principal that a value names, if the field is a principal field.
pub(super) fn principal<T, M: Mode, Q: Serialize + ?Sized>(
    field: Field<T, M>,
    layer: &str,
    value: &Q,
) -> Result<Option<PrincipalKey>, Error> {
    let key = field.principal_key(layer, value);
    key.map_err(|source| encode_error(field.spec().name(), source))
}

pub(super) fn encode_error(name: &str, source: CodecError) -> Error {
    Error::Encode { field: name.to_owned(), source }
}

/// Decodes the value of a field. `None` if it is absent, or if it cannot be read and the layer
/// treats such values as absent.
pub(super) fn decode<T, M: Copy>(
    field: Field<T, M>,
    stored: Option<&Plaintext>,
    unreadable: Unreadable,
) -> Result<Option<T>, Error> {
    let Some(stored) = stored else { return Ok(None) };
    let spec = field.spec();
    #[cfg(feature = "metrics")]
    if let Some((version, shape)) = field.origin(&stored.bytes) {
        event::field_read(spec.name(), version, shape);
    }
    match field.decode(&stored.bytes) {
        Ok(Some(_)) if is_clear(spec, stored) => {
            Err(decode_error(spec.name(), CodecError::NotEncrypted))
        }
        Ok(value) => Ok(value),
        Err(source) => read_as_absent(spec.name(), source, unreadable).map(|()| None),
    }
}

/// Returns whether a value is not encrypted, although its version requires it.
fn is_clear(field: &FieldSpec, stored: &Plaintext) -> bool {
    let version = codec::version(&stored.bytes).unwrap_or(field.version());
    !stored.was_encrypted && field.encrypts(version)
}

/// Decodes the value of a field that is read by name. `version` is the declared version of the
/// field, or 1.
pub(super) fn decode_named<T: DeserializeOwned>(
    name: &str,
    version: u16,
    stored: Option<&Plaintext>,
    unreadable: Unreadable,
) -> Result<Option<T>, Error> {
    let Some(stored) = stored else { return Ok(None) };
    match codec::decode(&stored.bytes, version, codec::trace::<T>) {
        Ok(value) => Ok(Some(value)),
        Err(source) => read_as_absent(name, source, unreadable).map(|()| None),
    }
}

/// Decides whether a value that cannot be decoded reads as absent. A value of a newer version never
/// does.
pub(super) fn read_as_absent(
    name: &str,
    source: CodecError,
    unreadable: Unreadable,
) -> Result<(), Error> {
    match (unreadable, source) {
        (Unreadable::Error, source) | (_, source @ CodecError::Newer { .. }) => {
            Err(decode_error(name, source))
        }
        (Unreadable::Absent, source) => {
            event::unreadable(name, &source);
            Ok(())
        }
    }
}

pub(super) fn decode_error(name: &str, source: CodecError) -> Error {
    let field = name.to_owned();
    match source {
        CodecError::Newer { stored, known } => Error::Newer { field, stored, known },
        source => Error::Decode { field, source },
    }
}
