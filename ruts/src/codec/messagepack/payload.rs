//! [`write`] encodes a value as a MessagePack payload, and [`read`] decodes one.
//!
//! Called by `value` and `stored`. Knows nothing of headers or versions.

use serde::{Serialize, de::DeserializeOwned};

use super::{deserializer::Value, reader::Reader};
use crate::codec::{buffer::Buffer, error::CodecError, fingerprint::Fingerprint, format::Codec};

/// Appends `value` to `out`. Structs are written as maps.
pub(in crate::codec) fn write<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Buffer,
) -> Result<(), CodecError> {
    value
        .serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())
        .map_err(|_| CodecError::Write(Codec::MessagePack))
}

/// Reads one value, and returns it with its length in bytes.
///
/// If a different type from `T` wrote the value, `other` returns the fingerprint of that type. It is called
/// only if the bytes could also stand for a different value, such as the bytes of a large `u128`.
pub(in crate::codec) fn read<T: DeserializeOwned>(
    payload: &[u8],
    other: impl FnOnce() -> Option<Fingerprint>,
) -> Result<(T, usize), CodecError> {
    let mut reader = Reader::new(payload);
    let value = T::deserialize(Value(&mut reader))
        .map_err(|error| CodecError::Read { codec: Codec::MessagePack, reason: error.reason() })?;
    if reader.is_ambiguous() && other().is_some_and(|other| reader.may_have_changed_sign(other)) {
        return Err(CodecError::Shape);
    }
    Ok((value, payload.len() - reader.rest()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// A type with both signed and unsigned numbers of 128 bits.
    const BOTH: Fingerprint = Fingerprint::new(0x10, Fingerprint::U128 | Fingerprint::I128);

    fn written<T: Serialize>(value: T) -> Vec<u8> {
        let mut payload = Buffer::new();
        write(&value, &mut payload).unwrap();
        payload.to_vec()
    }

    /// Writes a value and reads it back as a different type.
    fn reread<T: DeserializeOwned>(value: impl Serialize) -> Option<T> {
        let payload = written(value);
        let (value, len) = read(&payload, || Some(BOTH)).ok()?;
        (len == payload.len()).then_some(value)
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Coupon {
        Without,
        With(u32),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Price {
        gross: u32,
        net: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Nothing;

    #[test]
    fn a_number_names_no_variant() {
        assert_eq!(reread::<Coupon>(Some(0)), None);
        assert_eq!(reread::<Coupon>(BTreeMap::from([(1, 5)])), None);
        assert_eq!(reread(Coupon::Without), Some(Coupon::Without));
        assert_eq!(reread("Without"), Some(Coupon::Without));
        assert_eq!(reread(BTreeMap::from([("With", 5)])), Some(Coupon::With(5)));
    }

    #[test]
    fn no_number_loses_digits() {
        assert_eq!(reread::<f32>(0.1_f64), None);
        assert_eq!(reread::<f32>(0.5_f64), Some(0.5));
        assert_eq!(reread::<f64>(0.1_f32), Some(0.1_f32.into()));
        assert!(reread::<f32>(f64::NAN).is_some_and(f32::is_nan));
        assert_eq!(reread::<f32>(f64::INFINITY), Some(f32::INFINITY));
        assert_eq!(reread::<f64>(1_u64 << 53), Some(9_007_199_254_740_992.0));
        assert_eq!(reread::<f64>((1_u64 << 53) + 1), None);
        assert_eq!(reread::<f32>((1_u32 << 24) + 1), None);
        assert_eq!(reread::<u32>(1.0), None);
    }

    #[test]
    fn fields_are_read_by_their_names_alone() {
        assert_eq!(reread::<Price>((119, 100)), None);
        assert_eq!(reread::<(u32, u32)>(Price { gross: 119, net: 100 }), None);
        let map = BTreeMap::from([("net", 100), ("gross", 119)]);
        assert_eq!(reread(map), Some(Price { gross: 119, net: 100 }));
    }

    #[test]
    fn a_list_of_another_length_is_refused() {
        assert_eq!(reread::<[u8; 3]>([1, 2, 3, 4]), None);
        assert_eq!(reread::<(u8, [u8; 1], u8)>((1, [2, 3], 4)), None);
    }

    #[test]
    fn numbers_of_128_bits_keep_their_sign() {
        assert_eq!(reread::<i128>(u128::MAX), None);
        assert_eq!(reread::<u128>(-1_i128), None);
        assert_eq!(reread::<u128>(i128::MAX), Some(i128::MAX as u128));
        assert_eq!(reread(u64::MAX), Some(u128::from(u64::MAX)));
        // A type with this fingerprint cannot have written a number with the opposite sign.
        let unsigned = Fingerprint::new(0x10, Fingerprint::U128);
        assert_eq!(read(&written(u128::MAX), || Some(unsigned)), Ok((u128::MAX, 18)));
        assert!(read::<i128>(&written(u128::MAX), || Some(unsigned)).is_err());
        for number in [i128::MIN, -1, 0, i128::MAX] {
            assert_eq!(read(&written(number), || None), Ok((number, 18)));
            assert_eq!(read(&written(number as u128), || None), Ok((number as u128, 18)));
        }
    }

    #[test]
    fn bytes_are_a_list_of_numbers() {
        struct Bytes(Vec<u8>);

        impl Serialize for Bytes {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_bytes(&self.0)
            }
        }

        for len in [0, 1, 200, 300, 70_000] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8 ^ 0xc0).collect();
            let read: Option<(Vec<u8>, String)> = reread((Bytes(bytes.clone()), "after"));
            assert_eq!(read, Some((bytes, "after".to_owned())));
        }
        assert_eq!(reread::<Vec<Option<u8>>>(Bytes(vec![0xc0])), Some(vec![Some(0xc0)]));
    }

    #[test]
    fn values_without_parts_round_trip() {
        assert_eq!(reread(Nothing), Some(Nothing));
        assert_eq!(reread(()), Some(()));
        assert_eq!(reread('ß'), Some('ß'));
        assert_eq!(reread(true), Some(true));
        assert_eq!(reread::<u8>(true), None);
        assert_eq!(reread::<Option<u8>>(()), Some(None));
    }

    #[test]
    fn deep_values_are_refused() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Nest(Vec<Nest>);
        let deep = [[0x91; 2_000].as_slice(), &[0x90]].concat();
        let expected =
            CodecError::Read { codec: Codec::MessagePack, reason: "it is nested too deeply" };
        assert_eq!(read::<Nest>(&deep, || None), Err(expected));
    }

    proptest! {
        #[test]
        fn every_number_round_trips(numbers: Vec<i64>, large: Vec<u64>, floats: Vec<u32>) {
            prop_assert_eq!(reread(&numbers), Some(numbers));
            prop_assert_eq!(reread(&large), Some(large.clone()));
            let set: BTreeSet<u64> = large.into_iter().collect();
            prop_assert_eq!(reread(&set), Some(set));
            let floats: Vec<f32> = floats.into_iter().map(f32::from_bits).collect();
            let read: Vec<f32> = reread(&floats).unwrap();
            prop_assert!(floats.iter().zip(read).all(|(a, b)| *a == b || a.is_nan()));
        }
    }
}
