//! [`keep_unknown`]: an update keeps the stored fields that its type does not know.
//!
//! Called by the session for an `update` of a value that another type wrote. MessagePack payloads contain
//! field names, so they can be merged. bincode payloads do not.

use bytes::Bytes;

use super::{fingerprint::Fingerprint, format::Codec, header::Header, shape::Tree};
#[cfg(feature = "messagepack")]
use super::{
    header::MAX_VALUE,
    messagepack::{Defaults, merge},
    shape::TypePart,
};

/// Returns whether a stored value may have fields that the type with this fingerprint does not know.
pub(crate) fn may_know_more(stored: &[u8], fingerprint: impl FnOnce() -> Fingerprint) -> bool {
    match Header::split(stored) {
        Ok((header, _)) => {
            let writer = header.fingerprint;
            header.codec == Codec::MessagePack && writer.may_be_other_than(fingerprint())
        }
        Err(_) => false,
    }
}

/// Returns the last of three stored values, `next`, with the fields of the first one, `stored`, that neither
/// `next` nor the second one has. The second one, `known`, is the value as this release writes it after
/// reading `stored`. `structure` returns the structure of its type, `reads_alike` whether a value reads as
/// `next`, and `writes_back` whether this release would write a value as it is.
///
/// `None` if there is nothing to keep, if one of the values is not MessagePack or has another
/// version, if the result would be too long, or if this release would read it as another value.
#[cfg(feature = "messagepack")]
pub(crate) fn keep_unknown(
    values: [&[u8]; 3],
    structure: fn() -> Tree,
    reads_alike: impl Fn(&[u8]) -> bool,
    writes_back: impl Fn(&[u8]) -> bool,
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
    let header = Header { fingerprint, ..of_next }.to_bytes();
    let writes_back = |trial: &[u8]| writes_back(&[of_next.to_bytes().as_slice(), trial].concat());
    // A default that differs each time, such as a random number, has to be written.
    [Defaults::Omit, Defaults::Write].into_iter().find_map(|defaults| {
        let merged = merge([stored, known, next], TypePart::of(&tree), defaults, &writes_back)?;
        let merged = [header.as_slice(), &merged].concat();
        (merged.len() <= MAX_VALUE && reads_alike(&merged)).then(|| merged.into())
    })
}

/// Without the codec, no MessagePack value is read or updated.
#[cfg(not(feature = "messagepack"))]
pub(crate) fn keep_unknown(
    _values: [&[u8]; 3],
    _structure: fn() -> Tree,
    _reads_alike: impl Fn(&[u8]) -> bool,
    _writes_back: impl Fn(&[u8]) -> bool,
) -> Option<Bytes> {
    None
}
