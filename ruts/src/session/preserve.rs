//! [`rewrite`]: changes a stored value, and keeps the fields that the type of this release does not
//! know.
//!
//! Used by `entry` for `update`, `push` and `settle`. `codec` merges the payloads.

use bytes::Bytes;

use super::{config::Unreadable, value};
use crate::{codec, crypto::field_cipher::Plaintext, error::Error, field::Field};

/// Decodes a stored value, and returns the bytes that `change` makes of it, with the unknown fields
/// of the stored value.
pub(super) fn rewrite<T, M: Copy>(
    field: Field<T, M>,
    stored: Option<&Plaintext>,
    unreadable: Unreadable,
    change: impl FnOnce(Option<T>) -> Result<Option<Bytes>, Error>,
) -> Result<Option<Bytes>, Error> {
    let read = value::decode(field, stored, unreadable)?;
    let unknown = UnknownFields::of(field, stored, read.as_ref());
    let next = change(read)?;
    Ok(next.map(|next| match unknown {
        Some(unknown) => unknown.keep(field, next),
        None => next,
    }))
}

/// A stored value that may have fields which the type of this release does not know.
struct UnknownFields {
    stored: Bytes,
    /// The value as this release would write it.
    known: Bytes,
}

impl UnknownFields {
    /// Creates `UnknownFields` from a stored value and the value that was decoded from it. `None`
    /// if the stored value cannot have a field that this release does not know.
    fn of<T, M: Copy>(
        field: Field<T, M>,
        stored: Option<&Plaintext>,
        read: Option<&T>,
    ) -> Option<Self> {
        let (stored, read) = (&stored?.bytes, read?);
        if !codec::may_know_more(stored, || field.fingerprint()) {
            return None;
        }
        Some(Self { stored: stored.clone(), known: field.encode(read).ok()? })
    }

    /// Returns `next` with the unknown fields. If they would change the value that this release
    /// decodes, returns `next` unchanged.
    fn keep<T, M: Copy>(self, field: Field<T, M>, next: Bytes) -> Bytes {
        let Self { stored, known } = self;
        let values = [&stored, &known, &next].map(|value| &**value);
        let encode_again = |value: &[u8]| field.encode_again(value);
        let kept = codec::keep_unknown(values, field.structure(), encode_again);
        kept.unwrap_or_else(|| next.clone())
    }
}
