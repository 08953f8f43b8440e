//! Encodes and decodes values: header, then payload.
//!
//! Called by the session, typed keys and `target`. Knows nothing about field names or encryption.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "bincode")]
use super::bincode;
#[cfg(feature = "messagepack")]
use super::messagepack;
use super::{
    buffer::Buffer,
    error::CodecError,
    fingerprint::Fingerprint,
    format::Codec,
    header::{Header, MAX_VALUE},
    stored::Stored,
};

/// Encodes a header, then `value`. `fingerprint` is the fingerprint of the field's type. It also
/// decides whether MessagePack takes the place of bincode.
#[cfg_attr(not(any(feature = "bincode", feature = "messagepack")), allow(unused_variables))]
pub(crate) fn encode<T: Serialize + ?Sized>(
    codec: Codec,
    version: u16,
    fingerprint: Fingerprint,
    value: &T,
) -> Result<Bytes, CodecError> {
    let codec = fingerprint.codec(codec)?;
    let mut stored = Buffer::new();
    stored.extend_from_slice(&Header { codec, version, fingerprint }.to_bytes());
    let written = match codec {
        #[cfg(feature = "bincode")]
        Codec::Bincode => bincode::write(value, &mut stored),
        #[cfg(feature = "messagepack")]
        Codec::MessagePack => messagepack::write(value, &mut stored),
        #[allow(unreachable_patterns, reason = "reachable when a codec is compiled out")]
        disabled => Err(CodecError::Disabled(disabled)),
    };
    written?;
    if stored.len() > MAX_VALUE {
        return Err(CodecError::TooLarge { bytes: stored.len() });
    }
    Ok(Bytes::from_owner(stored))
}

/// Decodes the value in `stored`, which must have the version of the field. `fingerprint` returns
/// the fingerprint of `T`.
pub(crate) fn decode<T: DeserializeOwned>(
    stored: &[u8],
    version: u16,
    fingerprint: impl Fn() -> Fingerprint,
) -> Result<T, CodecError> {
    let stored = Stored::split(stored)?;
    stored.check_known(version)?;
    if stored.version() < version {
        return Err(stored.former(version));
    }
    stored.read_as(fingerprint)
}

/// Returns whether two encodings may be of the same value. Two equal `HashMap`s may be written in
/// different orders, so the bytes are compared in sorted order.
pub(crate) fn may_be_equal(one: &[u8], other: &[u8]) -> bool {
    let sorted = |encoded: &[u8]| {
        let mut bytes = encoded.to_vec();
        bytes.sort_unstable();
        bytes
    };
    sorted(one) == sorted(other)
}

#[cfg(all(test, feature = "bincode", feature = "messagepack"))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{
        collection::{btree_map, vec},
        prelude::*,
    };
    use serde::Deserialize;

    use super::*;

    const CODECS: [Codec; 2] = [Codec::Bincode, Codec::MessagePack];

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Size {
        Small,
        Parcel { width: u32, depth: Option<f64> },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Item {
        name: String,
        count: i64,
        tags: Vec<String>,
        size: Size,
        notes: BTreeMap<String, Vec<u8>>,
        nothing: (),
    }

    prop_compose! {
        fn item()(
            name in ".*",
            count: i64,
            tags in vec(".{0,8}", 0..4),
            size in prop_oneof![
                Just(Size::Small),
                (any::<u32>(), proptest::option::of(-1e9..1e9))
                    .prop_map(|(width, depth)| Size::Parcel { width, depth }),
            ],
            notes in btree_map(".{0,4}", vec(any::<u8>(), 0..9), 0..3),
        ) -> Item {
            Item { name, count, tags, size, notes, nothing: () }
        }
    }

    proptest! {
        #[test]
        fn values_round_trip(item in item(), version: u16) {
            for codec in CODECS {
                let stored = encode(codec, version, Fingerprint::UNKNOWN, &item).unwrap();
                prop_assert_eq!(decode::<Item>(&stored, version, || Fingerprint::UNKNOWN).unwrap(), item.clone());
            }
        }

        #[test]
        fn another_version_is_an_error(item in item(), one: u16, other: u16) {
            prop_assume!(one != other);
            let (former, later) = (one.min(other), one.max(other));
            for codec in CODECS {
                let stored = encode(codec, former, Fingerprint::UNKNOWN, &item).unwrap();
                let outdated = CodecError::Former { stored: former, known: later };
                prop_assert_eq!(decode::<Item>(&stored, later, || Fingerprint::UNKNOWN).err(), Some(outdated));
                let stored = encode(codec, later, Fingerprint::UNKNOWN, &item).unwrap();
                let newer = CodecError::Newer { stored: later, known: former };
                prop_assert_eq!(decode::<Item>(&stored, former, || Fingerprint::UNKNOWN).err(), Some(newer));
            }
        }

        #[test]
        fn cut_or_extended_values_are_errors(
            item in item(),
            cut: prop::sample::Index,
            extra in 0_u8..,
        ) {
            for codec in CODECS {
                let stored = encode(codec, 1, Fingerprint::UNKNOWN, &item).unwrap();
                let short = &stored[..cut.index(stored.len())];
                prop_assert!(decode::<Item>(short, 1, || Fingerprint::UNKNOWN).is_err());
                let long = [&stored[..], &[extra]].concat();
                let trailing = CodecError::TrailingBytes { left: 1 };
                prop_assert_eq!(decode::<Item>(&long, 1, || Fingerprint::UNKNOWN).err(), Some(trailing));
            }
        }

        #[test]
        fn hostile_payloads_never_panic(codec in 1_u8..3, payload in vec(any::<u8>(), 0..200)) {
            let stored = [&[0x10, codec, 0, 1, 0, 0, 0, 0][..], &payload].concat();
            let _ = decode::<Item>(&stored, 1, || Fingerprint::UNKNOWN);
            let _ = decode::<Vec<String>>(&stored, 1, || Fingerprint::UNKNOWN);
            let _ = decode::<BTreeMap<u8, Vec<u64>>>(&stored, 1, || Fingerprint::UNKNOWN);
            let _ = decode::<String>(&stored, 1, || Fingerprint::UNKNOWN);
        }

        #[test]
        fn hostile_bytes_never_panic(stored in vec(any::<u8>(), 0..64), version: u16) {
            let _ = decode::<Item>(&stored, version, || Fingerprint::UNKNOWN);
        }
    }

    #[test]
    fn a_false_length_reserves_no_memory() {
        let bincode = [&[0x10, 1, 0, 1, 0, 0, 0, 0][..], &[0xfd], &u64::MAX.to_le_bytes()].concat();
        let messagepack =
            [&[0x10, 2, 0, 1, 0, 0, 0, 0][..], &[0xdd, 0xff, 0xff, 0xff, 0xff]].concat();
        for stored in [bincode, messagepack] {
            assert!(matches!(
                decode::<Vec<u64>>(&stored, 1, || Fingerprint::UNKNOWN),
                Err(CodecError::Read { .. })
            ));
            assert!(matches!(
                decode::<String>(&stored, 1, || Fingerprint::UNKNOWN),
                Err(CodecError::Read { .. })
            ));
        }
    }

    #[test]
    fn messagepack_reads_a_struct_that_lost_a_field() {
        #[derive(Serialize)]
        struct Old {
            kept: u8,
            gone: String,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct New {
            kept: u8,
            #[serde(default)]
            added: u8,
        }
        let old = Old { kept: 7, gone: "x".into() };
        let stored = encode(Codec::MessagePack, 1, Fingerprint::UNKNOWN, &old).unwrap();
        assert_eq!(
            decode::<New>(&stored, 1, || Fingerprint::UNKNOWN).unwrap(),
            New { kept: 7, added: 0 }
        );
    }

    #[test]
    fn a_value_below_the_limit_is_readable() {
        let small = vec![1_u128; 2_000_000];
        let stored = encode(Codec::Bincode, 1, Fingerprint::UNKNOWN, &small).unwrap();
        assert!(stored.len() < MAX_VALUE / 8);
        assert_eq!(decode::<Vec<u128>>(&stored, 1, || Fingerprint::UNKNOWN).unwrap(), small);
    }

    #[test]
    fn errors_do_not_quote_the_value() {
        for codec in CODECS {
            let stored = encode(codec, 1, Fingerprint::UNKNOWN, "hunter2").unwrap();
            let error = decode::<Size>(&stored, 1, || Fingerprint::UNKNOWN).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_value_above_the_limit_is_refused() {
        let value = "x".repeat(MAX_VALUE);
        for codec in CODECS {
            assert!(matches!(
                encode(codec, 1, Fingerprint::UNKNOWN, &value),
                Err(CodecError::TooLarge { .. })
            ));
        }
    }

    /// bincode would misread the value. MessagePack reads by name.
    #[test]
    fn another_type_of_the_same_version_is_not_misread() {
        #[derive(Serialize)]
        struct Old {
            net: u32,
            gross: u32,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct New {
            gross: u32,
            net: u32,
        }
        let old = Old { net: 100, gross: 119 };
        let read = |codec| {
            let stored = encode(codec, 1, Fingerprint::new(0x10, 0), &old).unwrap();
            decode::<New>(&stored, 1, || Fingerprint::new(0x20, 0))
        };
        assert_eq!(read(Codec::Bincode), Err(CodecError::Shape));
        assert_eq!(read(Codec::MessagePack), Ok(New { gross: 119, net: 100 }));
    }
}
