use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, CodecError};

/// Appends `value` to `out`, structs as maps.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    value
        .serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())
        .map_err(|error| CodecError::Write(Codec::MessagePack, error.into()))
}

/// Reads one value and returns how many bytes it took.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, usize), CodecError> {
    let mut rest = payload;
    let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
        .map_err(|error| CodecError::Read(Codec::MessagePack, error.into()))?;
    Ok((value, payload.len() - rest.len()))
}
