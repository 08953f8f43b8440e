//! Encodes and decodes payloads with bincode. Called by `value` and `stored`, which handle the
//! header. Knows nothing about versions.

use bincode::error::{DecodeError, EncodeError};
use serde::{Serialize, de::DeserializeOwned};

use super::{buffer::Buffer, error::CodecError, format::Codec, header::MAX_VALUE};

/// Limits the memory that a hostile length prefix can reserve. The limit is 16 times the maximum
/// length of a value, because bincode counts the size of a number in memory. A `u128` takes 16
/// bytes in memory, but may take only one byte in the payload.
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

/// Reads one value, and returns it with its length in bytes.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, usize), CodecError> {
    bincode::serde::decode_from_slice(payload, config()).map_err(|error| CodecError::Read {
        codec: Codec::Bincode,
        reason: match error {
            DecodeError::UnexpectedEnd { .. } => "it ends too early",
            DecodeError::LimitExceeded => "it claims more bytes than a value may have",
            _ => "it does not have the shape of the type",
        },
    })
}
