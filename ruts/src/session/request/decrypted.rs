//! Decrypts stored values, and finds out whether a value names the signed-in principal.
//!
//! Used by `operations` and `rewrite`. Makes no store call.

use bytes::Bytes;

use super::{shared::Shared, state::State};
use crate::{
    codec::CodecError,
    crypto::field_cipher::{FieldAad, Plaintext},
    error::Error,
    event,
    field::FieldSpec,
    session::{map::Undecrypted, value},
};

/// Decrypts a stored value, if it is encrypted.
pub(super) fn decrypt(
    shared: &Shared,
    state: &State,
    name: &str,
    stored: &Bytes,
) -> Result<Plaintext, Undecrypted> {
    let plaintext = match &state.identity.id() {
        Some(id) => shared.config().cipher.decrypt(FieldAad { id, field: name }, stored),
        None => Err(CodecError::NoKey),
    };
    if plaintext.as_ref().is_ok_and(|plaintext| plaintext.was_encrypted) {
        event::decrypted(name, shared.config().cipher.is_current(true, stored));
    }
    plaintext.map_err(|source| Undecrypted::new(source, stored))
}

/// Decrypts the value of a field. `known` is the version of the field. The error names this
/// version.
pub(super) fn decrypt_field(
    shared: &Shared,
    state: &State,
    name: &str,
    known: u16,
    stored: Option<&Bytes>,
) -> Result<Option<Plaintext>, Error> {
    let plaintext = stored.map(|stored| decrypt(shared, state, name, stored)).transpose();
    plaintext.map_err(|failed| value::decode_error(name, failed.error(known)))
}

/// Returns whether the value of a principal field names the signed-in principal. True for other
/// fields.
pub(super) fn names_signed_in_principal(
    shared: &Shared,
    state: &State,
    field: &FieldSpec,
    value: Option<&Plaintext>,
) -> Result<bool, CodecError> {
    let (true, Some(value)) = (field.is_principal(), value) else { return Ok(true) };
    let named = field.principal_key(shared.config().layer, &value.bytes)?;
    Ok(state.principal == Some(named))
}
