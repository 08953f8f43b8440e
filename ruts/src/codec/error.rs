use super::Codec;

/// Why a value could not be turned into bytes or back. Its text holds nothing of the value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value's `Serialize` failed, or the format cannot hold the value.
    #[error("{0:?} cannot write the value")]
    Write(Codec, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The payload is not what the type expects: truncated, of another shape, or hostile.
    #[error("{0:?} cannot read the stored payload")]
    Read(Codec, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The payload holds more than the value.
    #[error("{left} bytes are left over after the stored value")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// The bytes do not begin with a header that this release writes.
    #[error("the stored bytes do not begin with a header of ruts")]
    Header,
    /// The codec is not compiled in.
    #[error("the feature of the {0:?} codec is not enabled")]
    Disabled(Codec),
    /// The encoded value is above 16 MiB.
    #[error("the encoded value is {bytes} bytes long, above the limit of 16 MiB")]
    TooLarge {
        /// Its length, header included.
        bytes: usize,
    },
}
