use super::CodecError;

/// How a field's payload is written. Reading needs no choice: the stored header names the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Compact and positional: a changed struct needs a new `version`. Feature `bincode`.
    Bincode,
    /// Structs as maps, so added fields with `#[serde(default)]` and other languages can read it.
    /// Feature `messagepack`.
    MessagePack,
}

impl Codec {
    /// The codec of fields that name none: [`Bincode`](Self::Bincode) where it is compiled in.
    /// Stored values do not depend on it.
    pub const DEFAULT: Self = if cfg!(feature = "messagepack") && !cfg!(feature = "bincode") {
        Self::MessagePack
    } else {
        Self::Bincode
    };

    /// Whether the codec's feature is on.
    pub const fn is_enabled(self) -> bool {
        match self {
            Self::Bincode => cfg!(feature = "bincode"),
            Self::MessagePack => cfg!(feature = "messagepack"),
        }
    }
}

/// The first four bytes of a stored value: format, codec, and the field's version (big endian).
///
/// The lower half of the format byte is for flags; the one there is says that the payload is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) codec: Codec,
    pub(super) version: u16,
}

const FORMAT: u8 = 0x10;
const SEALED: u8 = 0x11;

#[cfg(feature = "encrypt")]
pub(crate) const HEADER: usize = Header::LEN;

/// Whether stored bytes hold an encrypted payload.
pub(crate) fn is_sealed(stored: &[u8]) -> bool {
    stored.first() == Some(&SEALED)
}

/// The header that a value has when its payload is encrypted, and the payload as it is.
#[cfg(feature = "encrypt")]
pub(crate) fn split_sealed(value: &[u8]) -> Option<([u8; HEADER], &[u8])> {
    let (&[_, codec, high, low], payload) = value.split_first_chunk()?;
    Some(([SEALED, codec, high, low], payload))
}

/// The value with that header once its payload is in the clear.
#[cfg(feature = "encrypt")]
pub(crate) fn join_opened([_, codec, high, low]: [u8; HEADER], payload: &[u8]) -> bytes::Bytes {
    [&[FORMAT, codec, high, low], payload].concat().into()
}

/// Above this, a value belongs in a database of the application, not in its session.
pub(super) const MAX_VALUE: usize = 16 * 1024 * 1024;

impl Header {
    pub(super) const LEN: usize = 4;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let codec = match self.codec {
            Codec::Bincode => 1,
            Codec::MessagePack => 2,
        };
        let [high, low] = self.version.to_be_bytes();
        [FORMAT, codec, high, low]
    }

    /// Splits stored bytes into header and payload.
    pub(super) fn split(stored: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let (&[format, codec, high, low], payload) =
            stored.split_first_chunk().ok_or(CodecError::Header)?;
        let codec = match (format, codec) {
            (FORMAT, 1) => Codec::Bincode,
            (FORMAT, 2) => Codec::MessagePack,
            _ => return Err(CodecError::Header),
        };
        Ok((Self { codec, version: u16::from_be_bytes([high, low]) }, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_survives_its_bytes() {
        for codec in [Codec::Bincode, Codec::MessagePack] {
            let header = Header { codec, version: 0x0203 };
            let mut stored = header.to_bytes().to_vec();
            stored.push(9);
            assert_eq!(Header::split(&stored).unwrap(), (header, &[9][..]));
        }
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for stored in [&[][..], &[0x10, 1, 0], b"{\"a\":1}", &[0x11, 1, 0, 1], &[0x10, 3, 0, 1]] {
            assert!(matches!(Header::split(stored), Err(CodecError::Header)), "{stored:?}");
        }
    }
}
