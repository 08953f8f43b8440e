use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, CodecError, header::MAX_VALUE};

/// The limit keeps a hostile length prefix from reserving memory that the payload does not back.
fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_VALUE>()
}

/// Appends `value` to `out`.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    struct Append<'a>(&'a mut Vec<u8>);

    impl bincode::enc::write::Writer for Append<'_> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    bincode::serde::encode_into_writer(value, Append(out), config())
        .map_err(|error| CodecError::Write(Codec::Bincode, error.into()))
}

/// Reads one value and returns how many bytes it took.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, usize), CodecError> {
    bincode::serde::decode_from_slice(payload, config())
        .map_err(|error| CodecError::Read(Codec::Bincode, error.into()))
}
