//! [`keep_unknown`]: adds the stored fields that the type of an update does not know to the updated
//! value.
//!
//! Called by the session for an `update` of a value that a different type wrote. MessagePack
//! payloads contain field names, so they can be merged. bincode payloads do not.

#[cfg(feature = "messagepack")]
use std::collections::HashSet;

use bytes::Bytes;

use super::{fingerprint::Fingerprint, format::Codec, header::Header, shape::Tree};
#[cfg(feature = "messagepack")]
use super::{
    header::MAX_VALUE,
    messagepack::{changed_names, merge},
    shape::TypePart,
    value::may_be_equal,
};

/// Returns whether a stored value may have fields that the type with this fingerprint does not
/// know.
pub(crate) fn may_know_more(stored: &[u8], fingerprint: impl FnOnce() -> Fingerprint) -> bool {
    match Header::split(stored) {
        Ok((header, _)) => {
            let writer = header.fingerprint;
            header.codec == Codec::MessagePack && writer.may_be_other_than(fingerprint())
        }
        Err(_) => false,
    }
}

/// Takes the stored values `stored`, `known` and `next`, and returns `next` with the fields of
/// `stored` that neither `next` nor `known` has.
///
/// - `known` is the value as this release writes it after reading `stored`.
/// - `structure` returns the structure of the type.
/// - `encode_again` decodes a value as this type, and encodes it again.
///
/// `None` in each of these cases:
///
/// - There is nothing to keep.
/// - One of the values is not MessagePack, or has a different version.
/// - The result would be too long.
/// - This release would read the result as a different value.
#[cfg(feature = "messagepack")]
pub(crate) fn keep_unknown(
    values: [&[u8]; 3],
    structure: fn() -> Tree,
    encode_again: impl Fn(&[u8]) -> Option<Bytes>,
) -> Option<Bytes> {
    let parts = values.map(|value| Header::split(value).ok());
    let [Some((header, stored)), Some((of_known, known)), Some((of_next, next))] = parts else {
        return None;
    };
    let is_alike =
        |other: &Header| other.codec == Codec::MessagePack && other.version == header.version;
    if ![header, of_known, of_next].iter().all(is_alike) {
        return None;
    }
    let fingerprint = header.fingerprint.merged(of_next.fingerprint);
    let tree = structure();
    let with_header = |header: Header, payload: &[u8]| [&header.to_bytes()[..], payload].concat();
    let writes_back = |payload: &[u8]| {
        let value = with_header(of_next, payload);
        encode_again(&value).is_some_and(|again| may_be_equal(&again, &value))
    };
    let mut written = HashSet::new();
    loop {
        let merged = merge([stored, known, next], TypePart::of(&tree), &written, &writes_back)?;
        let merged = with_header(Header { fingerprint, ..of_next }, &merged);
        if merged.len() > MAX_VALUE {
            return None;
        }
        let again = encode_again(&merged)?;
        if may_be_equal(&again, &encode_again(values[2])?) {
            return Some(merged.into());
        }
        // A default that differs each time, such as a random number, has to be written.
        let names = changed_names(Header::split(&again).ok()?.1, next)?;
        let number = written.len();
        written.extend(names);
        if written.len() == number {
            return None;
        }
    }
}

/// Without the codec, no MessagePack value is read or updated.
#[cfg(not(feature = "messagepack"))]
pub(crate) fn keep_unknown(
    _values: [&[u8]; 3],
    _structure: fn() -> Tree,
    _encode_again: impl Fn(&[u8]) -> Option<Bytes>,
) -> Option<Bytes> {
    None
}
