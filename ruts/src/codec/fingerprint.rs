//! [`Fingerprint`]: the part of a header that identifies the type that wrote a value.
//!
//! Made by `shape`, stored in a `header`, and compared by the files that read a stored value. Knows
//! no types.

use super::{error::CodecError, format::Codec};

/// Hash of the shape of a type, and two flags.
///
/// A value that was set by name has no hash and no flags. If an update merged the
/// values of two types, the result has the flags of both types, but no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u32);

impl Fingerprint {
    /// No type is known.
    pub(crate) const UNKNOWN: Self = Self(0);

    /// Some parts of the type are not known.
    pub(super) const PARTIAL: u32 = 1;
    /// A part of the type needs a self-describing format, so the shape does not show the parts of
    /// that part.
    pub(super) const ANY: u32 = 2;
    const FLAGS: u32 = Self::PARTIAL | Self::ANY;

    /// Joins a hash with flags. The flags take the place of two bits of the hash.
    pub(super) const fn new(hash: u32, flags: u32) -> Self {
        let hash = hash & !Self::FLAGS;
        // A hash of zero would mean that no single type wrote the value.
        Self((if hash == 0 { Self::FLAGS + 1 } else { hash }) | flags)
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether one type wrote the whole value.
    pub(crate) const fn has_type(self) -> bool {
        self.0 & !Self::FLAGS != 0
    }

    /// Returns whether a part of the type needs a self-describing format, as enums with a tag do.
    const fn has_any(self) -> bool {
        self.0 & Self::ANY != 0
    }

    const fn is_partial(self) -> bool {
        self.0 & Self::PARTIAL != 0
    }

    /// Returns whether two types with this fingerprint may differ.
    const fn may_differ(self) -> bool {
        self.is_partial() || self.has_any()
    }

    /// Returns whether a different type from that of `reader` may have written the value.
    pub(super) fn may_be_other_than(self, reader: Self) -> bool {
        self != reader || self.may_differ()
    }

    /// Returns the codec that writes the values of the type, in a field with the codec `chosen`.
    ///
    /// If a part of the type is not known, MessagePack takes the place of bincode. After a change
    /// of that part, bincode could misread a value. MessagePack reads by name.
    pub(crate) fn codec(self, chosen: Codec) -> Result<Codec, CodecError> {
        match (chosen, self.is_partial()) {
            (Codec::Bincode, true) if Codec::MessagePack.is_enabled() => Ok(Codec::MessagePack),
            (Codec::Bincode, true) => Err(CodecError::PartlyKnown),
            (codec, _) => Ok(codec),
        }
    }
}

#[cfg(feature = "messagepack")]
impl Fingerprint {
    /// Returns the fingerprint of a value whose fields were written by two types.
    pub(super) const fn merged(self, other: Self) -> Self {
        Self((self.0 | other.0) & Self::FLAGS)
    }
}
