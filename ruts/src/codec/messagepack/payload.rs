//! [`write`] encodes a value as a MessagePack payload, and [`read`] decodes one.
//!
//! Called by `value` and `stored`. Knows nothing about headers or versions.

use serde::{Serialize, de::DeserializeOwned};

use super::{deserializer::Value, reader::Reader, writer::Writer};
use crate::codec::{buffer::Buffer, error::CodecError, format::Codec};

/// Appends `value` to `out`. Structs are written as maps.
pub(in crate::codec) fn write<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Buffer,
) -> Result<(), CodecError> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map().with_human_readable();
    value.serialize(Writer(&mut serializer)).map_err(|_| CodecError::Write(Codec::MessagePack))
}

/// Reads one value, and returns it with its length in bytes. If `is_human_readable`, types such as
/// `IpAddr` are strings, and not in their compact form.
pub(in crate::codec) fn read<T: DeserializeOwned>(
    payload: &[u8],
    is_human_readable: bool,
) -> Result<(T, usize), CodecError> {
    let mut reader = Reader::new(payload);
    reader.is_human_readable = is_human_readable;
    let value = T::deserialize(Value(&mut reader))
        .map_err(|error| CodecError::Read { codec: Codec::MessagePack, reason: error.reason() })?;
    Ok((value, payload.len() - reader.rest()))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        net::IpAddr,
    };

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    fn written<T: Serialize>(value: T) -> Vec<u8> {
        let mut payload = Buffer::new();
        write(&value, &mut payload).unwrap();
        payload.to_vec()
    }

    /// Writes a value and reads it back as a different type.
    fn reread<T: DeserializeOwned>(value: impl Serialize) -> Option<T> {
        let payload = written(value);
        let (value, len) = read(&payload, true).ok()?;
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
        assert_eq!(reread::<Vec<u8>>(u128::MAX), None, "a number is not a list of bytes");
        let (small, large) = (i128::from(u64::MAX), i128::from(i64::MIN));
        for (number, len) in [
            (i128::MIN, 18),
            (large - 1, 18),
            (large, 9),
            (-1, 1),
            (0, 1),
            (small, 9),
            (small + 1, 18),
            (i128::MAX, 18),
        ] {
            assert_eq!(read(&written(number), true), Ok((number, len)));
        }
        for (number, len) in [(0, 1), (u128::from(u64::MAX) + 1, 18), (u128::MAX, 18)] {
            assert_eq!(read(&written(number), true), Ok((number, len)));
        }
    }

    /// serde keeps the parts of these types in a buffer, and reads them as those of a
    /// human-readable format.
    #[test]
    fn parts_with_two_forms_are_read_in_any_type() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        enum Tagged {
            SignedIn { from: IpAddr },
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(untagged)]
        enum Untagged {
            Number(u8),
            Address(IpAddr),
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Flat {
            name: String,
            #[serde(flatten)]
            origin: Option<Origin>,
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Origin {
            from: IpAddr,
        }
        let from = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(reread(from), Some(from));
        assert_eq!(reread::<String>(from).as_deref(), Some("127.0.0.1"));
        assert_eq!(reread(Tagged::SignedIn { from }), Some(Tagged::SignedIn { from }));
        assert_eq!(reread(Untagged::Address(from)), Some(Untagged::Address(from)));
        let flat = || Flat { name: "desk".to_owned(), origin: Some(Origin { from }) };
        assert_eq!(reread(flat()), Some(flat()));
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
        assert_eq!(read::<Nest>(&deep, true), Err(expected));
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
