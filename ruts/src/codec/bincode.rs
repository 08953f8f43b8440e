use bincode::error::{DecodeError, EncodeError};
use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, CodecError, header::MAX_VALUE, value::Buffer};

/// The limit keeps a hostile length prefix from reserving memory without end. bincode counts what
/// a number takes up in memory: sixteen bytes for one that may be written in one.
fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<{ 16 * MAX_VALUE }>()
}

/// Appends `value` to `out`.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Buffer) -> Result<(), CodecError> {
    struct Append<'a>(&'a mut Buffer);

    impl bincode::enc::write::Writer for Append<'_> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    bincode::serde::encode_into_writer(value, Append(out), config())
        .map_err(|_| CodecError::Write(Codec::Bincode))
}

/// Reads one value and returns how many bytes it took.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, usize), CodecError> {
    bincode::serde::decode_from_slice(payload, config()).map_err(|error| CodecError::Read {
        codec: Codec::Bincode,
        reason: match error {
            DecodeError::UnexpectedEnd { .. } => "it ends too early",
            DecodeError::LimitExceeded => "it claims to hold more than any value may",
            _ => "it is not of the type's shape",
        },
    })
}
