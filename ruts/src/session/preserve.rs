//! [`UnknownFields`]: keeps the fields of a stored value that the type of this release does not know.
//!
//! Used by `entry` for `update`, `push` and `settle`. `codec` merges the payloads.

use bytes::Bytes;

use crate::{codec, crypto::field_cipher::Plaintext, field::Field};

/// A stored value that may have fields which the type of this release does not know.
pub(super) struct UnknownFields {
    stored: Bytes,
    /// The value as this release would write it.
    known: Bytes,
}

impl UnknownFields {
    /// Creates `UnknownFields` from a stored value and the value that was decoded from it. `None` if
    /// the stored value cannot have a field that this release does not know.
    pub(super) fn of<T, M: Copy>(
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

    /// Returns `next` with the unknown fields of `this` added. If the unknown fields would change
    /// the value that this release decodes, returns `next` unchanged.
    pub(super) fn keep<T, M: Copy>(this: Option<Self>, field: Field<T, M>, next: Bytes) -> Bytes {
        let Some(Self { stored, known }) = this else { return next };
        let values = [&stored, &known, &next].map(|value| &**value);
        let encode_again = |value: &[u8]| field.encode_again(value);
        let kept = codec::keep_unknown(values, field.structure(), encode_again);
        kept.unwrap_or_else(|| next.clone())
    }
}
