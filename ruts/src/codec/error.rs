use super::Codec;

/// Why a value could not be turned into bytes or back.
///
/// It never holds a part of the value: what serde says of one may quote it, so only the kind of
/// failure is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value's `Serialize` failed, or the format cannot hold the value.
    #[error("{0:?} cannot write the value")]
    Write(Codec),
    /// The payload is not what the type expects: truncated, of another shape, or hostile.
    #[error("{codec:?} cannot read the stored payload: {reason}")]
    Read {
        /// The codec that the payload's header names.
        codec: Codec,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The payload holds more than the value.
    #[error("{left} bytes are left over after the stored value")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// The bytes do not begin with a header that this release writes.
    #[error("the stored bytes do not begin with a header of ruts")]
    Header,
    /// The value is to be encrypted, or was, and there is no key for that: none at all, or not the one
    /// that was used.
    #[error("there is no key for the encrypted value")]
    NoKey,
    /// The encrypted value was altered, or belongs to another session or field.
    #[error("the encrypted value was altered or moved")]
    Sealed,
    /// The field is declared with `encrypt`, and what is stored is not encrypted. A new `version` of the
    /// field has values from before read as absent.
    #[error("the stored value is not encrypted, as its field has to be")]
    NotEncrypted,
    /// The codec is not compiled in.
    #[error("the feature of the {0:?} codec is not enabled")]
    Disabled(Codec),
    /// The value says who is signed in, and JSON, of which the key of an index is made, cannot write it.
    #[error("the value of a principal cannot be written as JSON")]
    Principal,
    /// The encoded value is above 16 MiB.
    #[error("the encoded value is {bytes} bytes long, above the limit of 16 MiB")]
    TooLarge {
        /// Its length, header included.
        bytes: usize,
    },
}
