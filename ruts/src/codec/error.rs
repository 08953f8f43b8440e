//! [`CodecError`]: the reason why a value could not be encoded or decoded.
//!
//! Returned by the codecs and by `crypto`. Knows no field names: `Error` adds them.

use super::format::Codec;

/// The reason why a value could not be encoded or decoded.
///
/// The error never contains a part of the value. A serde message may quote the value, so the error
/// keeps only the kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The `Serialize` of the value failed, or the format cannot hold the value.
    #[error(
        "{0:?} cannot encode the value: its `Serialize` failed, or the format does not support its \
         type"
    )]
    Write(Codec),
    /// The payload does not match the type: it is truncated, has a different shape, or is hostile.
    #[error(
        "the stored {codec:?} value does not fit the field's type: {reason}; a changed type needs a \
         new `version` and `migrate`{or}",
        or = match codec {
            Codec::Bincode => {
                "; a type with `serde_json::Value`, `untagged`, `tag` or `flatten` needs \
                 `codec = \"messagepack\"`"
            }
            Codec::MessagePack => "",
        }
    )]
    Read {
        /// Codec that the header names.
        codec: Codec,
        /// Reason of the failure.
        reason: &'static str,
    },
    /// The payload is longer than the value.
    #[error(
        "the stored value has {left} bytes more than the field's type reads: a changed type needs a \
         new `version` and `migrate`"
    )]
    TrailingBytes {
        /// Number of bytes after the value.
        left: usize,
    },
    /// A later release of the application wrote the value: its version is higher than the version
    /// of the field.
    #[error(
        "a later release wrote the stored value: it has version {stored}, and this release knows only \
         versions up to {known}"
    )]
    Newer {
        /// Version of the value.
        stored: u16,
        /// Version of the field.
        known: u16,
    },
    /// An earlier release of the application wrote the value, and the field has no `migrate` for
    /// its version.
    #[error(
        "the stored value has version {stored}, and the field, which has version {known}, has no \
         migration for it: write `migrate({stored} => FormerType)`"
    )]
    Former {
        /// Version of the value.
        stored: u16,
        /// Version of the field.
        known: u16,
    },
    /// The application could not convert the value from or to this version.
    #[error(
        "the conversion between version {0} of the value and the version of the field failed: the \
         `TryFrom` of the application has to accept every value of that version"
    )]
    Migrate(u16),
    /// A different type of the same version wrote the value, and the bytes could be misread.
    /// bincode identifies fields by position. In MessagePack, a large `u128` has the same bytes as
    /// a negative `i128`. Give a changed type a new `version`. For a field with bincode,
    /// `codec = "messagepack"` also helps, because MessagePack reads by name.
    #[error(
        "the stored value was written by a different type of the same version: \
         a changed type needs a new `version` and `migrate`, or `codec = \"messagepack\"`"
    )]
    Shape,
    /// ruts cannot find all parts of the type, so bincode could misread a value after a change of
    /// the type. Such a value is written as MessagePack instead, but the feature `messagepack` is
    /// not enabled.
    #[error(
        "ruts cannot determine the whole structure of the type, so bincode could misread the value \
         after a change of the type: enable the feature `messagepack`"
    )]
    PartlyKnown,
    /// The format writes the value, but cannot read it back. Only builds with debug assertions and
    /// the lock of `testing` check this.
    #[error(
        "{0:?} cannot read back what it writes for this value: change the type{or}",
        or = match .0 {
            Codec::Bincode => ", or use `codec = \"messagepack\"`",
            Codec::MessagePack => "",
        }
    )]
    Unreadable(Codec),
    /// The bytes do not begin with a header that this release writes.
    #[error(
        "the stored bytes do not begin with a header of ruts: another program wrote them under the \
         name of the field"
    )]
    Header,
    /// The layer has no keys, or lacks the key that encrypted the value.
    #[error(
        "the value is encrypted with a key that the layer does not have: add this key to the \
         `encryption_keys` of the layer"
    )]
    NoKey,
    /// The field is declared with `encrypt`, and there are no keys to encrypt its value.
    #[error(
        "the field is declared with `encrypt`, and there are no keys: set `encryption_keys` of the layer, \
         or of the `SessionIndex` in a job"
    )]
    NoKeys,
    /// The encrypted value was altered, or belongs to another session or field.
    #[error("the encrypted value was altered, or belongs to another session or field")]
    Tampered,
    /// The field is declared with `encrypt`, and the stored value is not encrypted.
    #[error(
        "the stored value is not encrypted, although its field requires it: to turn encryption on \
         for live sessions, write `encrypt(since = 2)` with `version = 2`"
    )]
    NotEncrypted,
    /// The codec is not compiled in.
    #[error(
        "the value needs the codec {0:?}: enable the feature `bincode` or `messagepack` of `ruts`"
    )]
    Disabled(Codec),
    /// JSON cannot write the value of a field marked `principal` or `index`. Sessions are found by
    /// a digest of that JSON.
    #[error("the value of a field marked `principal` or `index` cannot be written as JSON")]
    Principal,
    /// Sessions cannot be found by a field that is not marked `index`.
    #[error("sessions cannot be found by this field: mark it `#[field(index)]`")]
    NotIndexed,
    /// The encoded value is longer than 16 MiB.
    #[error("the encoded value is {bytes} bytes long, above the limit of 16 MiB")]
    TooLarge {
        /// Length of the encoded value, header included.
        bytes: usize,
    },
}
