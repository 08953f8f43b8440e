//! [`Header`]: the first eight bytes of a stored value.
//!
//! Written by `value`, `by_names` and `merging`, read by every file of `codec` that takes a stored
//! value. `crypto` changes its format byte when it encrypts or decrypts a payload. Never decodes a
//! payload.

use super::{error::CodecError, fingerprint::Fingerprint, format::Codec};

/// Format, codec, version of the field and fingerprint of the writing type, in eight bytes. Numbers
/// are big endian.
///
/// The lower half of the format byte holds flags. One flag marks an encrypted payload. The other
/// flag marks a MessagePack payload with types in their compact form, and is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) codec: Codec,
    pub(super) version: u16,
    pub(super) fingerprint: Fingerprint,
}

const PLAIN: u8 = 0x10;
const ENCRYPTED: u8 = 0x11;
/// The format of a value that was converted from bincode, in which types such as `IpAddr` are not
/// strings.
const COMPACT: u8 = 0x12;

/// Version and header of the fields that this crate itself adds to sessions.
const OWN_VERSION: u16 = 1;
const OWN: [u8; Header::LEN] = [PLAIN, 0, 0, 1, 0, 0, 0, 0];

#[cfg(any(feature = "encrypt", all(feature = "testing", feature = "messagepack")))]
pub(crate) const HEADER_LEN: usize = Header::LEN;

/// Maximum length of an encoded value. A larger one belongs in a database of the application.
pub(super) const MAX_VALUE: usize = 16 * 1024 * 1024;

/// Returns whether stored bytes hold an encrypted payload.
pub(crate) fn is_encrypted(stored: &[u8]) -> bool {
    stored.first() == Some(&ENCRYPTED)
}

/// Returns whether a payload was converted from bincode.
#[cfg(feature = "messagepack")]
pub(super) fn is_compact(stored: &[u8]) -> bool {
    stored.first() == Some(&COMPACT)
}

/// Prepends the header of this crate's own fields to bytes that no codec wrote.
pub(crate) fn wrap_own(bytes: &[u8]) -> bytes::Bytes {
    [&OWN[..], bytes].concat().into()
}

/// Returns the bytes of one of this crate's own fields, without their header.
pub(crate) fn unwrap_own(stored: &[u8]) -> Result<&[u8], CodecError> {
    match stored.strip_prefix(&OWN) {
        Some(bytes) => Ok(bytes),
        None => Err(match version(stored) {
            Some(stored) if stored > OWN_VERSION => {
                CodecError::Newer { stored, known: OWN_VERSION }
            }
            _ => CodecError::Header,
        }),
    }
}

/// Returns the version of a stored value, even of an encrypted one. `None` without a header.
pub(crate) fn version(stored: &[u8]) -> Option<u16> {
    let (&[_, _, high, low, ..], _) = stored.split_first_chunk::<{ Header::LEN }>()?;
    Some(u16::from_be_bytes([high, low]))
}

/// Returns codec, version and fingerprint of a stored value, even of an encrypted one. `None`
/// without a header.
pub(crate) fn origin(stored: &[u8]) -> Option<(Codec, u16, Fingerprint)> {
    let (Header { codec, version, fingerprint }, _) = Header::split_any(stored).ok()?;
    Some((codec, version, fingerprint))
}

/// Returns whether an update merged `next` from values of two types, and `next` has the payload of
/// `stored`.
pub(crate) fn is_merged_to_the_same(stored: &[u8], next: &[u8]) -> bool {
    match (Header::split(stored), Header::split(next)) {
        (Ok((of_stored, stored)), Ok((of_next, next))) => {
            // A bincode value without a hash was not merged but set by name, and could be misread.
            of_next.codec == Codec::MessagePack
                && !of_next.fingerprint.has_type()
                && (of_stored.codec, of_stored.version) == (of_next.codec, of_next.version)
                && stored == next
        }
        _ => false,
    }
}

/// Splits a plain value into two parts: the header for its encrypted form, and the unchanged
/// payload.
#[cfg(feature = "encrypt")]
pub(crate) fn split_encrypted(value: &[u8]) -> Option<([u8; HEADER_LEN], &[u8])> {
    let (&header, payload) = value.split_first_chunk()?;
    Some((with_format(header, ENCRYPTED), payload))
}

/// Builds a plain value from the header of an encrypted value and its decrypted payload.
#[cfg(feature = "encrypt")]
pub(crate) fn join_decrypted(header: [u8; HEADER_LEN], payload: &[u8]) -> bytes::Bytes {
    [&with_format(header, PLAIN), payload].concat().into()
}

#[cfg(any(feature = "encrypt", all(feature = "bincode", feature = "messagepack")))]
fn with_format(mut header: [u8; Header::LEN], format: u8) -> [u8; Header::LEN] {
    header[0] = format;
    header
}

impl Header {
    pub(super) const LEN: usize = 8;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let codec = match self.codec {
            Codec::Bincode => 1,
            Codec::MessagePack => 2,
        };
        let [high, low] = self.version.to_be_bytes();
        let [a, b, c, d] = self.fingerprint.bits().to_be_bytes();
        [PLAIN, codec, high, low, a, b, c, d]
    }

    /// Returns the header of a value that was converted from bincode.
    #[cfg(all(feature = "bincode", feature = "messagepack"))]
    pub(super) fn to_compact_bytes(self) -> [u8; Self::LEN] {
        with_format(self.to_bytes(), COMPACT)
    }

    /// Splits stored bytes into header and payload. An encrypted payload is an error.
    pub(super) fn split(stored: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        match is_encrypted(stored) {
            false => Self::split_any(stored),
            true => Err(CodecError::Header),
        }
    }

    /// Splits stored bytes into header and payload, which may be encrypted.
    fn split_any(stored: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let (&[format, codec, high, low, a, b, c, d], payload) =
            stored.split_first_chunk().ok_or(CodecError::Header)?;
        let codec = match (format, codec) {
            (PLAIN | ENCRYPTED, 1) => Codec::Bincode,
            (PLAIN | ENCRYPTED | COMPACT, 2) => Codec::MessagePack,
            _ => return Err(CodecError::Header),
        };
        let version = u16::from_be_bytes([high, low]);
        let fingerprint = Fingerprint::from_bits(u32::from_be_bytes([a, b, c, d]));
        Ok((Self { codec, version, fingerprint }, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_round_trips() {
        for codec in [Codec::Bincode, Codec::MessagePack] {
            let fingerprint = Fingerprint::from_bits(0x0405_0607);
            let header = Header { codec, version: 0x0203, fingerprint };
            let mut stored = header.to_bytes().to_vec();
            stored.push(9);
            assert_eq!(Header::split(&stored).unwrap(), (header, &[9][..]));
        }
    }

    #[test]
    fn a_field_of_this_crate_has_a_header_of_its_own() {
        let stored = wrap_own(b"seed");
        assert!(!is_encrypted(&stored));
        assert_eq!(unwrap_own(&stored), Ok(&b"seed"[..]));
        assert_eq!(Header::split(&stored), Err(CodecError::Header), "no codec should read it");
        let newer = [&[PLAIN, 0, 0, 2, 0, 0, 0, 0], &b"seed"[..]].concat();
        assert_eq!(unwrap_own(&newer), Err(CodecError::Newer { stored: 2, known: 1 }));
        assert_eq!(unwrap_own(b"seed"), Err(CodecError::Header));
    }

    #[test]
    fn bytes_without_a_header_are_refused() {
        for stored in [
            &[][..],
            &[0x10, 1, 0, 1, 0, 0, 0],
            b"{\"a\": 1}",
            &[0x11, 1, 0, 1, 0, 0, 0, 0],
            &[0x10, 3, 0, 1, 0, 0, 0, 0],
        ] {
            assert!(matches!(Header::split(stored), Err(CodecError::Header)), "{stored:?}");
        }
    }
}
