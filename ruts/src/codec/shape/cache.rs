//! [`fingerprint`]: the fingerprint of a type, computed once per process and type.
//!
//! Called by typed keys, and by `stored` and `target`. Knows `tracer`, and nothing of headers.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use serde::de::DeserializeOwned;

use super::tracer::trace;

/// Returns the fingerprint of a type, which is never 0. The first call for a type computes it, and
/// the process keeps it.
pub(crate) fn fingerprint<T: DeserializeOwned + 'static>() -> u32 {
    static KNOWN: RwLock<Option<HashMap<TypeId, u32>>> = RwLock::new(None);
    let id = TypeId::of::<T>();
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(fingerprint) = known.as_ref().and_then(|known| known.get(&id)) {
        return *fingerprint;
    }
    drop(known);
    let fingerprint = trace::<T>();
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    known.get_or_insert_default().insert(id, fingerprint);
    fingerprint
}

#[cfg(test)]
mod tests {
    use std::{
        borrow::Cow,
        collections::{BTreeMap, BTreeSet, HashMap},
        net::IpAddr,
        num::NonZeroU32,
        time::{Duration, SystemTime},
    };

    use serde::Deserialize;

    use super::*;

    /// Declares modules of types, each with a derived `Deserialize`.
    macro_rules! types {
        ($($module:ident { $($item:item)+ })+) => {
            $(#[allow(dead_code)] mod $module {
                use super::*;
                $(#[derive(Deserialize)] $item)+
            })+
        };
    }

    types! {
        before {
            pub(super) struct Price { pub(super) net: u32, pub(super) gross: u32 }
            pub(super) enum Role { Guest, User, Admin }
            pub(super) enum Size { Small, Parcel { width: u32, depth: Option<f64> }, Tube(u8) }
            pub(super) struct Tree { value: u32, left: Option<Box<Tree>>, right: Option<Box<Tree>> }
            pub(super) struct Cart { items: Vec<Price>, notes: BTreeMap<String, Size>, user: Tree }
        }
        after {
            pub(super) struct Price { gross: u32, net: u32 }
            pub(super) enum Role { Guest, Admin, User }
            pub(super) enum Size { Small, Parcel { width: u32, depth: Option<f64> }, Tube(u16) }
            pub(super) struct Tree { value: u64, left: Option<Box<Tree>>, right: Option<Box<Tree>> }
            pub(super) struct Cart { items: Vec<before::Price>, notes: BTreeMap<String, Size>, user: before::Tree }
        }
    }

    #[track_caller]
    fn assert_distinct(fingerprints: &[u32]) {
        for (at, one) in fingerprints.iter().enumerate() {
            assert!(!fingerprints[at + 1..].contains(one), "{at}");
        }
    }

    #[test]
    fn a_changed_type_has_another_fingerprint() {
        assert_ne!(
            fingerprint::<before::Price>(),
            fingerprint::<after::Price>(),
            "reordered fields"
        );
        assert_ne!(
            fingerprint::<before::Role>(),
            fingerprint::<after::Role>(),
            "reordered variants"
        );
        assert_ne!(fingerprint::<before::Size>(), fingerprint::<after::Size>(), "a wider variant");
        assert_ne!(fingerprint::<before::Tree>(), fingerprint::<after::Tree>(), "a wider number");
        assert_ne!(fingerprint::<before::Cart>(), fingerprint::<after::Cart>(), "deep inside");
        let numbers = [
            fingerprint::<u8>(),
            fingerprint::<i8>(),
            fingerprint::<bool>(),
            fingerprint::<char>(),
            fingerprint::<u64>(),
            fingerprint::<i64>(),
            fingerprint::<Option<u64>>(),
            fingerprint::<Vec<u64>>(),
            fingerprint::<[u64; 1]>(),
            fingerprint::<String>(),
        ];
        assert_distinct(&numbers);
    }

    #[test]
    fn a_change_without_effect_on_stored_bytes_keeps_the_fingerprint() {
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Renamed {
            net: u32,
            #[serde(rename = "gross")]
            total: u32,
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Wrapper(before::Price);
        assert_eq!(fingerprint::<before::Price>(), fingerprint::<Renamed>());
        assert_eq!(fingerprint::<before::Price>(), fingerprint::<Wrapper>());
        assert_eq!(fingerprint::<before::Price>(), fingerprint::<Box<before::Price>>());
        assert_eq!(fingerprint::<String>(), fingerprint::<Box<str>>());
        assert_eq!(fingerprint::<String>(), fingerprint::<Cow<'static, str>>());
        assert_eq!(fingerprint::<Vec<u8>>(), fingerprint::<BTreeSet<u8>>());
        assert_eq!(fingerprint::<HashMap<u8, u8>>(), fingerprint::<BTreeMap<u8, u8>>());
    }

    /// Types whose `Deserialize` checks values, or is not derived.
    #[test]
    fn types_of_other_crates_have_fingerprints() {
        let fingerprints = [
            fingerprint::<NonZeroU32>(),
            fingerprint::<IpAddr>(),
            fingerprint::<Duration>(),
            fingerprint::<SystemTime>(),
            fingerprint::<serde_json::Value>(),
            fingerprint::<std::ops::Range<u8>>(),
            fingerprint::<Result<u8, String>>(),
            fingerprint::<crate::token::SessionId>(),
        ];
        assert_distinct(&fingerprints);
    }

    /// If the tracer cannot guess a valid value, the parts of the type after it are missing from
    /// the fingerprint.
    #[test]
    fn a_type_that_accepts_no_value_has_a_fingerprint() {
        fn only_xyzzy<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
            let text = String::deserialize(from)?;
            if text == "xyzzy" { Ok(text) } else { Err(serde::de::Error::custom("no")) }
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Magic {
            before: u8,
            #[serde(deserialize_with = "only_xyzzy")]
            word: String,
            after: u8,
        }
        assert_ne!(fingerprint::<Magic>(), fingerprint::<before::Price>());
    }

    /// A type can contain itself without a struct with named fields in between, and without a type
    /// whose name serde passes on.
    #[test]
    fn a_type_that_contains_itself_has_a_fingerprint() {
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct List(Vec<List>);
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Folder(BTreeMap<String, Folder>);
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Chain(Option<Box<Chain>>);
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Named(String, Vec<Named>);
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Pair(u8, Option<Box<Pair>>, Option<Box<Pair>>);
        #[derive(Deserialize)]
        #[allow(dead_code)]
        #[serde(transparent)]
        struct Transparent {
            children: Vec<Transparent>,
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Left(Vec<Right>);
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Right(Option<Box<Left>>, bool);
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Lists(Vec<Vec<u8>>, Option<Option<u8>>);
        /// Requests a tuple whose parts are of its own type.
        struct ByHand;
        impl<'de> Deserialize<'de> for ByHand {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <(Vec<Self>, Vec<Self>)>::deserialize(from).map(|_| Self)
            }
        }
        let fingerprints = [
            fingerprint::<List>(),
            fingerprint::<Folder>(),
            fingerprint::<Chain>(),
            fingerprint::<Named>(),
            fingerprint::<Pair>(),
            fingerprint::<Left>(),
            fingerprint::<Right>(),
            fingerprint::<Lists>(),
            fingerprint::<ByHand>(),
        ];
        assert_distinct(&fingerprints);
        assert_eq!(fingerprint::<Transparent>(), fingerprint::<List>());
    }

    /// Fingerprints are part of stored headers, so they must be the same in every release.
    #[test]
    fn fingerprints_are_the_same_in_every_release() {
        let fingerprints = [
            fingerprint::<u64>(),
            fingerprint::<String>(),
            fingerprint::<Vec<String>>(),
            fingerprint::<before::Price>(),
            fingerprint::<before::Role>(),
            fingerprint::<before::Size>(),
            fingerprint::<before::Tree>(),
            fingerprint::<before::Cart>(),
        ];
        let expected = [
            0xf599_48d3,
            0xb292_03c9,
            0x78aa_2b09,
            0xc24a_718f,
            0x912b_c36d,
            0x19ad_3fbb,
            0x3dbf_3e0e,
            0x17d3_e490,
        ];
        assert_eq!(fingerprints, expected);
    }
}
