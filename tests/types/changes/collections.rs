//! Changes of lists, maps and tuples.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use arbitrary::Unstructured;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use super::change;
use crate::change::Change;

/// A map whose keys are the field names of a struct.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Prices(BTreeMap<String, u32>);

impl<'a> arbitrary::Arbitrary<'a> for Prices {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let prices = ["gross", "net"].map(|name| Ok((name.to_owned(), bytes.arbitrary()?)));
        prices.into_iter().collect::<arbitrary::Result<_>>().map(Self)
    }
}

/// Bytes that are written as bytes, not as a list of numbers.
#[derive(Debug, Clone, PartialEq, arbitrary::Arbitrary)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Blob, E> {
                Ok(Blob(text.into()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// A value with two forms: hexadecimal text in a readable format, and bytes in others.
#[derive(Debug, Clone, PartialEq, arbitrary::Arbitrary)]
struct Digest([u8; 4]);

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_str(&format!("{:08x}", u32::from_be_bytes(self.0))),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let number = u32::from_str_radix(&text, 16).map_err(D::Error::custom)?;
            return Ok(Self(number.to_be_bytes()));
        }
        let Blob(bytes) = Blob::deserialize(deserializer)?;
        bytes.try_into().map(Self).map_err(|_| D::Error::custom("a digest has four bytes"))
    }
}

pub(super) fn changes() -> Vec<Change> {
    vec![
        change!("two forms to bytes": Digest => Blob,
            |digest| Some(Blob(digest.0.into())),
            |blob| blob.0.try_into().ok().map(Digest)),
        change!("IpAddr to String": IpAddr => String,
            |address| Some(address.to_string()),
            |text| text.parse().ok()),
        change!("Vec to BTreeSet": Vec<u32> => BTreeSet<u32>,
            |list| Some(list.into_iter().collect()),
            |set| Some(set.into_iter().collect())),
        change!("[T; 3] to Vec<T>": [u32; 3] => Vec<u32>,
            |list| Some(list.into()),
            |list| list.try_into().ok()),
        change!("HashMap to BTreeMap": HashMap<String, u32> => BTreeMap<String, u32>,
            |map| Some(map.into_iter().collect()),
            |map| Some(map.into_iter().collect())),
        change!("BTreeMap<String, T> to a struct" {
            struct Old { prices: Prices }
            struct Pair { gross: u32, net: u32 }
            struct New { prices: Pair }
        }
        |Old { prices: Prices(map) }| {
            Some(New { prices: Pair { gross: map["gross"], net: map["net"] } })
        },
        |New { prices: Pair { gross, net } }| {
            let map = BTreeMap::from([("gross".to_owned(), gross), ("net".to_owned(), net)]);
            Some(Old { prices: Prices(map) })
        }),
        change!("a tuple to a struct" {
            struct Old { price: (u32, String) }
            struct Price { total: u32, currency: String }
            struct New { price: Price }
        }
        |Old { price: (total, currency) }| Some(New { price: Price { total, currency } }),
        |New { price: Price { total, currency } }| Some(Old { price: (total, currency) })),
        change!("Vec<u8> to serialize_bytes": Vec<u8> => Blob,
            |list| Some(Blob(list)),
            |Blob(list)| Some(list)),
        change!("Vec<(K, V)> to BTreeMap<K, V>": Vec<(u8, u32)> => BTreeMap<u8, u32>,
            |list| Some(list.into_iter().collect()),
            |map| Some(map.into_iter().collect())),
    ]
}
