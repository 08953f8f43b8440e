//! [`fingerprint_of`]: the fingerprint of a type, computed once per process and type.
//!
//! Called by typed keys, and by `stored` and `target`. Calls `tracer`. Knows nothing about headers.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use serde::de::DeserializeOwned;

use super::tracer::trace;
use crate::codec::fingerprint::Fingerprint;

/// Returns the fingerprint of a type. The first call for a type computes the fingerprint, and the
/// process keeps it.
pub(crate) fn fingerprint_of<T: DeserializeOwned + 'static>() -> Fingerprint {
    static KNOWN: RwLock<Option<HashMap<TypeId, Fingerprint>>> = RwLock::new(None);
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
    fn assert_distinct(fingerprints: &[Fingerprint]) {
        for (at, one) in fingerprints.iter().enumerate() {
            assert!(!fingerprints[at + 1..].contains(one), "{at}");
        }
    }

    #[test]
    fn a_changed_type_has_another_fingerprint() {
        assert_ne!(
            fingerprint_of::<before::Price>(),
            fingerprint_of::<after::Price>(),
            "reordered fields"
        );
        assert_ne!(
            fingerprint_of::<before::Role>(),
            fingerprint_of::<after::Role>(),
            "reordered variants"
        );
        assert_ne!(
            fingerprint_of::<before::Size>(),
            fingerprint_of::<after::Size>(),
            "a wider variant"
        );
        assert_ne!(
            fingerprint_of::<before::Tree>(),
            fingerprint_of::<after::Tree>(),
            "a wider number"
        );
        assert_ne!(
            fingerprint_of::<before::Cart>(),
            fingerprint_of::<after::Cart>(),
            "deep inside"
        );
        let numbers = [
            fingerprint_of::<u8>(),
            fingerprint_of::<i8>(),
            fingerprint_of::<bool>(),
            fingerprint_of::<char>(),
            fingerprint_of::<u64>(),
            fingerprint_of::<i64>(),
            fingerprint_of::<Option<u64>>(),
            fingerprint_of::<Vec<u64>>(),
            fingerprint_of::<[u64; 1]>(),
            fingerprint_of::<String>(),
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
        assert_eq!(fingerprint_of::<before::Price>(), fingerprint_of::<Renamed>());
        assert_eq!(fingerprint_of::<before::Price>(), fingerprint_of::<Wrapper>());
        assert_eq!(fingerprint_of::<before::Price>(), fingerprint_of::<Box<before::Price>>());
        assert_eq!(fingerprint_of::<String>(), fingerprint_of::<Box<str>>());
        assert_eq!(fingerprint_of::<String>(), fingerprint_of::<Cow<'static, str>>());
        assert_eq!(fingerprint_of::<Vec<u8>>(), fingerprint_of::<BTreeSet<u8>>());
        assert_eq!(fingerprint_of::<HashMap<u8, u8>>(), fingerprint_of::<BTreeMap<u8, u8>>());
    }

    /// Types whose `Deserialize` checks values, or is not derived.
    #[test]
    fn types_of_other_crates_have_fingerprints() {
        let fingerprints = [
            fingerprint_of::<NonZeroU32>(),
            fingerprint_of::<IpAddr>(),
            fingerprint_of::<Duration>(),
            fingerprint_of::<SystemTime>(),
            fingerprint_of::<serde_json::Value>(),
            fingerprint_of::<std::ops::Range<u8>>(),
            fingerprint_of::<Result<u8, String>>(),
            fingerprint_of::<crate::token::SessionId>(),
        ];
        assert_distinct(&fingerprints);
    }

    /// The tracer cannot guess a valid value of some types. The fingerprint still covers the parts
    /// next to such a type.
    #[test]
    fn a_part_that_accepts_no_value_hides_no_other_part() {
        /// Begins with `ord_`.
        #[derive(Deserialize)]
        #[serde(try_from = "String")]
        struct OrderId;
        impl TryFrom<String> for OrderId {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                if text.starts_with("ord_") { Ok(Self) } else { Err("not an order") }
            }
        }
        /// From 1024 on.
        #[derive(Deserialize)]
        #[serde(try_from = "u16")]
        struct Port;
        impl TryFrom<u16> for Port {
            type Error = &'static str;

            fn try_from(number: u16) -> Result<Self, Self::Error> {
                if number >= 1024 { Ok(Self) } else { Err("reserved") }
            }
        }
        /// Has two elements or more.
        #[derive(Deserialize)]
        #[serde(try_from = "Vec<u8>")]
        struct Pair;
        impl TryFrom<Vec<u8>> for Pair {
            type Error = &'static str;

            fn try_from(list: Vec<u8>) -> Result<Self, Self::Error> {
                if list.len() >= 2 { Ok(Self) } else { Err("too short") }
            }
        }
        /// Declares a struct that has parts which accept no value, among parts whose types are
        /// given.
        macro_rules! around {
            ($name:ident, $role:ty, $count:ty) => {
                #[derive(Deserialize)]
                #[allow(dead_code)]
                struct $name {
                    id: OrderId,
                    role: $role,
                    ports: Vec<Port>,
                    by_name: BTreeMap<String, OrderId>,
                    port: Option<Port>,
                    inner: Inner<$count>,
                    pair: Pair,
                    choice: Choice<$count>,
                    last: $count,
                }
            };
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Inner<T> {
            port: Port,
            role: before::Role,
            size: before::Size,
            value: T,
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        enum Choice<T> {
            Closed { order: OrderId, value: T },
            Open(T),
        }
        around!(First, before::Role, u32);
        around!(OtherRole, after::Role, u32);
        around!(OtherCount, before::Role, i32);
        let fingerprints = [
            fingerprint_of::<First>(),
            fingerprint_of::<OtherRole>(),
            fingerprint_of::<OtherCount>(),
        ];
        assert_distinct(&fingerprints);
        let inner = [
            fingerprint_of::<Inner<u8>>(),
            fingerprint_of::<Inner<i8>>(),
            fingerprint_of::<Choice<u8>>(),
            fingerprint_of::<Choice<i8>>(),
            fingerprint_of::<(OrderId, u8)>(),
            fingerprint_of::<(OrderId, u8, u8)>(),
            fingerprint_of::<(u8, OrderId)>(),
        ];
        assert_distinct(&inner);

        /// The alias is not a part.
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Aliased<T> {
            #[serde(alias = "z")]
            a: u8,
            n: T,
            id: OrderId,
        }
        /// Contains itself, after a part that accepts no value and before another part.
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Comment<T> {
            id: OrderId,
            replies: Vec<Comment<T>>,
            answer: Option<Box<Comment<T>>>,
            tags: Vec<T>,
            kind: Choice<T>,
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        enum Closed {
            One(OrderId),
            Two { port: Port },
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct AfterClosed<T> {
            closed: Closed,
            last: T,
        }
        let others = [
            fingerprint_of::<Aliased<u64>>(),
            fingerprint_of::<Aliased<i64>>(),
            fingerprint_of::<Comment<u8>>(),
            fingerprint_of::<Comment<u16>>(),
            fingerprint_of::<AfterClosed<u8>>(),
            fingerprint_of::<AfterClosed<u16>>(),
        ];
        assert_distinct(&others);

        /// Checks that a part changes the fingerprint, whether it stands before or after a part
        /// that accepts no value.
        macro_rules! beside {
            ($($name:ident { $($field:ident: $type:ty),+ })+) => {
                $(#[derive(Deserialize)]
                #[allow(dead_code)]
                struct $name { $($field: $type),+ })+
                let fingerprints = [$(fingerprint_of::<$name>()),+];
                assert_distinct(&fingerprints);
            };
        }
        beside! {
            Before { count: u32, id: OrderId }
            BeforeOther { count: i32, id: OrderId }
            After { id: OrderId, count: u32 }
            AfterOther { id: OrderId, count: i32 }
            List { ports: Vec<Port>, total: u32 }
            ListOther { ports: Vec<Port>, total: i32 }
            Long { pair: Pair, total: u64 }
            LongOther { pair: Pair, total: Option<u8> }
            Two { id: OrderId, port: Port, total: u64 }
            TwoOther { id: OrderId, port: Port, total: u32 }
        }
    }

    /// A type can contain itself without a struct with named fields, and without passing its name
    /// to the deserializer.
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
            fingerprint_of::<List>(),
            fingerprint_of::<Folder>(),
            fingerprint_of::<Chain>(),
            fingerprint_of::<Named>(),
            fingerprint_of::<Pair>(),
            fingerprint_of::<Left>(),
            fingerprint_of::<Right>(),
            fingerprint_of::<Lists>(),
            fingerprint_of::<ByHand>(),
        ];
        assert_distinct(&fingerprints);
        assert_eq!(fingerprint_of::<Transparent>(), fingerprint_of::<List>());
    }

    /// Lists of mutually recursive types show which type contains itself, whatever the list around
    /// them is.
    #[test]
    fn a_recursion_through_lists_shows_its_target() {
        use std::collections::VecDeque;

        /// Declares two structs. The lists of the second one have the given element.
        macro_rules! thread {
            ($module:ident { $($post:tt)* } { $($reply:tt)* }) => {
                #[allow(dead_code)]
                mod $module {
                    use super::*;
                    #[derive(Deserialize)]
                    pub(super) struct Post $($post)*
                    #[derive(Deserialize)]
                    pub(super) struct Reply $($reply)*
                }
            };
        }
        thread!(posts { { id: u32, replies: Vec<Reply> } } { { likes: i32, quotes: Vec<Post> } });
        thread!(replies { { id: u32, replies: Vec<Reply> } } { { likes: i32, quotes: Vec<Reply> } });
        thread!(tuple_posts { (u32, Vec<Reply>); } { (i32, Vec<Post>); });
        thread!(tuple_replies { (u32, Vec<Reply>); } { (i32, Vec<Reply>); });
        thread!(boxed_posts { (u32, Option<Box<Reply>>); } { (i32, Option<Box<Post>>); });
        thread!(boxed_replies { (u32, Option<Box<Reply>>); } { (i32, Option<Box<Reply>>); });
        let fingerprints = [
            fingerprint_of::<Vec<posts::Post>>(),
            fingerprint_of::<Vec<replies::Post>>(),
            fingerprint_of::<Vec<tuple_posts::Post>>(),
            fingerprint_of::<Vec<tuple_replies::Post>>(),
            fingerprint_of::<Option<Box<boxed_posts::Post>>>(),
            fingerprint_of::<Option<Box<boxed_replies::Post>>>(),
            fingerprint_of::<posts::Post>(),
            fingerprint_of::<replies::Post>(),
        ];
        assert_distinct(&fingerprints);
        let of_list = fingerprint_of::<Vec<posts::Post>>();
        assert_eq!(fingerprint_of::<VecDeque<posts::Post>>(), of_list);
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Wrapper(posts::Post);
        assert_eq!(fingerprint_of::<Vec<Wrapper>>(), of_list);
    }

    /// Fingerprints are part of stored headers, so they must be the same in every release.
    #[test]
    fn fingerprints_are_the_same_in_every_release() {
        let fingerprints = [
            fingerprint_of::<u64>(),
            fingerprint_of::<String>(),
            fingerprint_of::<Vec<String>>(),
            fingerprint_of::<before::Price>(),
            fingerprint_of::<before::Role>(),
            fingerprint_of::<before::Size>(),
            fingerprint_of::<before::Tree>(),
            fingerprint_of::<before::Cart>(),
        ];
        let expected = [
            0xf599_48d0,
            0xb292_03c8,
            0x78aa_2b08,
            0xc24a_718c,
            0x912b_c36c,
            0x19ad_3fb8,
            0x3dbf_3e0c,
            0x17d3_e490,
        ];
        assert_eq!(fingerprints, expected.map(Fingerprint::from_bits));
    }
}
