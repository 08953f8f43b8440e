//! The MessagePack codec. Called by `value`, which adds the header. Knows nothing of versions.

use rmp_serde::decode::Error;
use serde::{Serialize, de::DeserializeOwned};

use super::{buffer::Buffer, error::CodecError, format::Codec};

/// Appends `value` to `out`, structs as maps.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Buffer) -> Result<(), CodecError> {
    value
        .serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())
        .map_err(|_| CodecError::Write(Codec::MessagePack))
}

/// Reads one value, and returns it with its length in bytes.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, usize), CodecError> {
    let mut rest = payload;
    let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest)).map_err(|error| {
        let reason = match error {
            Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "it ends too early",
            Error::DepthLimitExceeded => "it is nested too deeply",
            _ => "it does not have the shape of the type",
        };
        CodecError::Read { codec: Codec::MessagePack, reason }
    })?;
    Ok((value, payload.len() - rest.len()))
}
