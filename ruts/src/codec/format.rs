//! [`Codec`]: the format of a payload.
//!
//! Chosen by schemas and by the layer. Knows nothing of the codecs behind it.

/// Format of a value's payload. Reading needs no choice: the stored header names the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Compact and positional: a changed struct needs a new `version`. Feature `bincode`.
    Bincode,
    /// Structs as maps, readable from other languages. Fields with `#[serde(default)]` can be
    /// added. Feature `messagepack`.
    MessagePack,
}

impl Codec {
    /// Codec of fields that name none: [`Bincode`](Self::Bincode) where it is compiled in.
    /// Stored values do not depend on it.
    pub const DEFAULT: Self = if cfg!(feature = "messagepack") && !cfg!(feature = "bincode") {
        Self::MessagePack
    } else {
        Self::Bincode
    };

    /// Returns whether the feature of the codec is enabled.
    pub const fn is_enabled(self) -> bool {
        match self {
            Self::Bincode => cfg!(feature = "bincode"),
            Self::MessagePack => cfg!(feature = "messagepack"),
        }
    }
}
