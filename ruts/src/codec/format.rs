//! [`Codec`]: the format of a payload.
//!
//! Chosen by schemas and by the layer. Knows nothing about the codecs behind it.

/// Format of a value's payload. Only a write uses this choice: a read takes the format from the
/// stored header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Compact. Identifies fields by position, so a changed type needs a new `version`. Feature
    /// `bincode`.
    Bincode,
    /// Writes structs as maps, which other languages can read. Fields of a struct can be reordered
    /// or removed, and added with `#[serde(default)]`. Feature `messagepack`.
    MessagePack,
}

impl Codec {
    /// Codec of declared fields that do not name a codec: [`MessagePack`](Self::MessagePack) if it
    /// is compiled in, because it reads a changed struct by name. Stored values name their codec,
    /// so a change of this default does not affect them.
    pub const DEFAULT: Self =
        if cfg!(feature = "messagepack") { Self::MessagePack } else { Self::Bincode };

    /// Codec of values that are set by name: [`Bincode`](Self::Bincode) if it is compiled in.
    pub const DEFAULT_BY_NAME: Self =
        if cfg!(feature = "bincode") { Self::Bincode } else { Self::DEFAULT };

    /// Returns whether the feature of the codec is enabled.
    pub const fn is_enabled(self) -> bool {
        match self {
            Self::Bincode => cfg!(feature = "bincode"),
            Self::MessagePack => cfg!(feature = "messagepack"),
        }
    }
}
