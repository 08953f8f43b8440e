//! Types with parts that ruts finds late or not at all. A part may accept none of the values that
//! ruts tries. A type may contain itself. The kind of a part may depend on another value. No change
//! of such a part is misread, although the field uses bincode.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    marker::PhantomData,
    net::IpAddr,
};

use ruts::{
    Session,
    codec::Codec,
    field::{Field, FieldSpec, FieldValue},
};
use serde::{
    Deserialize, Serialize,
    de::{Error as _, SeqAccess},
    ser::SerializeSeq as _,
};

use crate::{change::new_session, order_id::OrderId};

fn order() -> OrderId {
    OrderId("ord_7".to_owned())
}

mod before {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) enum Role {
        Guest,
        Admin,
    }
}

mod after {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) enum Role {
        Admin,
        Guest,
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair<T>(OrderId, T);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Choice<T> {
    Both(OrderId, T),
    Other,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inside<T> {
    orders: Vec<(OrderId, T)>,
    count: u32,
}

const SPEC: FieldSpec = FieldSpec::new("value").with_codec(Codec::Bincode);

/// Writes a value, and reads it as a different type and as its own type.
async fn reread<T: FieldValue + Debug + PartialEq, U: FieldValue>(
    session: &Session,
    value: T,
) -> Option<U> {
    session.entry(Field::<T>::new(&SPEC)).set(&value).await.unwrap();
    assert_eq!(session.entry(Field::<T>::new(&SPEC)).get().await.unwrap(), Some(value));
    session.entry(Field::<U>::new(&SPEC)).get().await.ok().flatten()
}

/// Checks each type that can hold a part after an order.
macro_rules! assert_never_misread {
    ($session:ident, $one:ty, $other:ty, $value:expr, $read:expr) => {
        let session = &$session;
        let read = reread::<_, (OrderId, $other)>(session, (order(), $value)).await;
        assert_eq!(read, Some((order(), $read)));
        let read = reread::<_, Pair<$other>>(session, Pair(order(), $value)).await;
        assert_eq!(read, Some(Pair(order(), $read)));
        let read = reread::<_, Choice<$other>>(session, Choice::Both(order(), $value)).await;
        assert_eq!(read, Some(Choice::Both(order(), $read)));
        let map = BTreeMap::from([(order(), $value)]);
        let read = reread::<_, BTreeMap<OrderId, $other>>(session, map).await;
        assert_eq!(read, Some(BTreeMap::from([(order(), $read)])));
        let inside = Inside { orders: vec![(order(), $value)], count: 3 };
        let read = reread::<_, Inside<$other>>(session, inside).await;
        assert_eq!(read, Some(Inside { orders: vec![(order(), $read)], count: 3 }));
    };
}

#[tokio::test]
async fn a_part_after_one_that_accepts_no_value_is_not_misread() {
    let session = new_session().await;
    assert_never_misread!(session, u32, i32, 8_u32, 8_i32);
    assert_never_misread!(session, i64, u64, 4_i64, 4_u64);
    assert_never_misread!(
        session,
        before::Role,
        after::Role,
        before::Role::Guest,
        after::Role::Guest
    );
    assert_never_misread!(session, u8, Option<u8>, 1_u8, Some(1_u8));
}

/// A visit by position does not show which name is an alias of which field.
#[tokio::test]
async fn an_alias_that_moves_is_not_misread() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Before {
        #[serde(alias = "b")]
        a: u8,
        c: u8,
        d: u8,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct After {
        a: u8,
        #[serde(default)]
        b: u8,
        #[serde(alias = "e")]
        c: u8,
        #[serde(default)]
        d: u8,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Shifted {
        a: u8,
        b: u8,
        #[serde(alias = "d")]
        c: u8,
    }
    let session = new_session().await;
    let read = reread::<_, Shifted>(&session, Before { a: 1, c: 2, d: 3 }).await;
    assert_eq!(read, None);
    let read = reread::<_, After>(&session, Before { a: 1, c: 2, d: 3 }).await;
    assert_eq!(read, Some(After { a: 1, b: 0, c: 2, d: 3 }));
}

/// A stored value already has the form in which `settle` would write it.
#[tokio::test]
async fn settle_rewrites_no_such_value() {
    let session = new_session().await;
    let field = Field::<(OrderId, u32)>::new(&SPEC);
    session.entry(field).set(&(order(), 8)).await.unwrap();
    assert!(!session.entry(field).settle().await.unwrap());
}

/// A struct that holds a large `u128`, such as a random id, may get a new field.
#[tokio::test]
async fn a_large_number_is_read_after_its_struct_has_changed() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Before {
        id: u128,
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct After {
        id: u128,
        #[serde(default)]
        count: u32,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Signed {
        id: i128,
    }
    const NAMED: FieldSpec = FieldSpec::new("value").with_codec(Codec::MessagePack);
    let session = new_session().await;
    let (old, new) = (Field::<Before>::new(&NAMED), Field::<After>::new(&NAMED));
    session.entry(old).set(&Before { id: u128::MAX }).await.unwrap();
    let read = session.entry(new).get().await.unwrap();
    assert_eq!(read, Some(After { id: u128::MAX, count: 0 }));

    // The previous release changes a value of the new release. The value then has fields of both.
    session.entry(new).set(&After { id: 1, count: 3 }).await.unwrap();
    session.entry(old.or(|| Before { id: 0 })).update(|value| value.id = u128::MAX).await.unwrap();
    let read = session.entry(new).get().await.unwrap();
    assert_eq!(read, Some(After { id: u128::MAX, count: 3 }));

    let error = session.entry(Field::<Signed>::new(&NAMED)).get().await.unwrap_err();
    assert!(matches!(error, ruts::Error::Decode { .. }), "{error}");
}

/// The bytes show the sign of a large number, also next to parts that ruts does not find.
#[tokio::test]
async fn a_large_number_keeps_its_sign_in_any_type() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Flat<T> {
        id: T,
        #[serde(flatten)]
        more: BTreeMap<String, u8>,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Account<T> {
        id: u128,
        balance: i128,
        orders: BTreeMap<OrderId, u8>,
        #[serde(default)]
        note: T,
    }
    let session = new_session().await;
    let flat = Flat { id: u128::MAX - 4, more: BTreeMap::new() };
    assert_eq!(reread::<_, Flat<i128>>(&session, flat).await, None);
    let flat = Flat { id: -5_i128, more: BTreeMap::new() };
    assert_eq!(reread::<_, Flat<u128>>(&session, flat).await, None);
    let account = Account { id: u128::MAX, balance: -7, orders: BTreeMap::new(), note: None };
    let read = reread::<Account<Option<u8>>, Account<Option<u32>>>(&session, account).await;
    assert_eq!(read.map(|account| (account.id, account.balance)), Some((u128::MAX, -7)));
}

/// The previous release does not know `count`.
#[tokio::test]
async fn an_update_keeps_unknown_fields_next_to_a_large_number() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Before {
        id: u128,
        #[serde(flatten)]
        more: Origin,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Origin {
        from: IpAddr,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct After {
        id: u128,
        count: Option<u32>,
        #[serde(flatten)]
        more: Origin,
    }
    const NAMED: FieldSpec = FieldSpec::new("value").with_codec(Codec::MessagePack);
    let session = new_session().await;
    let more = Origin { from: IpAddr::from([127, 0, 0, 1]) };
    let (old, new) = (Field::<Before>::new(&NAMED), Field::<After>::new(&NAMED));
    let written = After { id: u128::MAX, count: Some(3), more: more.clone() };
    session.entry(new).set(&written).await.unwrap();
    let change = |value: &mut Option<Before>| value.iter_mut().for_each(|value| value.id -= 1);
    session.entry(old).update(change).await.unwrap();
    let read = session.entry(new).get().await.unwrap();
    assert_eq!(read, Some(After { id: u128::MAX - 1, count: Some(3), more }));
}

/// serde cannot read a number of 128 bits in a flattened struct.
#[tokio::test]
async fn a_part_that_would_be_lost_is_refused() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Device {
        name: String,
        #[serde(flatten)]
        origin: Option<Origin>,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Origin {
        id: u128,
    }
    const NAMED: FieldSpec = FieldSpec::new("value").with_codec(Codec::MessagePack);
    let session = new_session().await;
    let device = Device { name: "desk".to_owned(), origin: Some(Origin { id: u128::MAX }) };
    let error = session.entry(Field::<Device>::new(&NAMED)).set(&device).await.unwrap_err();
    assert!(matches!(error, ruts::Error::Encode { .. }), "{error}");
}

/// A list that is first found inside a recursion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Rule<T> {
    Not(Box<Rule<T>>),
    AnyOf(Vec<T>),
    Named { roles: BTreeMap<u8, T>, first: Option<T> },
}

#[tokio::test]
async fn a_part_of_a_recursive_type_is_not_misread() {
    let session = new_session().await;
    for value in [
        Rule::AnyOf(vec![before::Role::Guest]),
        Rule::Named { roles: BTreeMap::new(), first: Some(before::Role::Guest) },
        Rule::Not(Box::new(Rule::Named {
            roles: BTreeMap::from([(1, before::Role::Guest)]),
            first: None,
        })),
    ] {
        assert_eq!(reread::<_, Rule<after::Role>>(&session, value).await, None);
    }
}

/// The first number determines the kind of the second part. No serde attribute writes such a type.
#[derive(Debug, Clone, PartialEq)]
enum Contact<T> {
    Number(T),
    Text(String),
}

impl<T: Serialize> Serialize for Contact<T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => (0_u8, number).serialize(to),
            Self::Text(text) => (1_u8, text).serialize(to),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Contact<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = Contact<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a contact")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Contact<T>, A::Error> {
                let short = || A::Error::invalid_length(0, &"2");
                let is_number = parts.next_element::<u8>()?.ok_or_else(short)? == 0;
                Ok(match is_number {
                    true => Contact::Number(parts.next_element()?.ok_or_else(short)?),
                    false => Contact::Text(parts.next_element()?.ok_or_else(short)?),
                })
            }
        }
        from.deserialize_tuple(2, Visitor(PhantomData))
    }
}

#[tokio::test]
async fn a_part_whose_kind_depends_on_another_is_not_misread() {
    let session = new_session().await;
    let read = reread::<_, Contact<i32>>(&session, Contact::Number(5_u32)).await;
    assert_eq!(read, Some(Contact::Number(5)));
    let read = reread::<_, Contact<i32>>(&session, Contact::<u32>::Text("x".to_owned())).await;
    assert_eq!(read, Some(Contact::Text("x".to_owned())));
}

/// Half of all random ids have the first bit set. serde cannot buffer numbers of 128 bits, so a
/// tagged value cannot contain one.
#[tokio::test]
async fn a_tag_does_not_make_a_large_number_unreadable() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Role {
        Staff { level: u8 },
        Guest,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Before {
        id: u128,
        role: Role,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct After {
        id: u128,
        #[serde(alias = "level")]
        role: Role,
        tenant: Option<u32>,
    }
    const NAMED: FieldSpec = FieldSpec::new("value").with_codec(Codec::MessagePack);
    let session = new_session().await;
    let (old, new) = (Field::<Before>::new(&NAMED), Field::<After>::new(&NAMED));
    let role = Role::Staff { level: 2 };
    session.entry(old).set(&Before { id: u128::MAX, role: role.clone() }).await.unwrap();
    let read = session.entry(new).get().await.unwrap();
    assert_eq!(read, Some(After { id: u128::MAX, role: role.clone(), tenant: None }));
    session
        .entry(new)
        .set(&After { id: u128::MAX, role: role.clone(), tenant: None })
        .await
        .unwrap();
    let read = session.entry(old).get().await.unwrap();
    assert_eq!(read, Some(Before { id: u128::MAX, role }));
}

/// An application may rely on the fact that it has never written such a value.
#[tokio::test]
async fn a_conversion_that_panics_on_other_values_does_no_harm() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(from = "String", into = "String")]
    struct Initial(char);
    impl From<String> for Initial {
        fn from(text: String) -> Self {
            Self(text.chars().next().expect("a name should not be empty"))
        }
    }
    impl From<Initial> for String {
        fn from(initial: Initial) -> Self {
            initial.0.into()
        }
    }
    let session = new_session().await;
    let read = reread::<_, Initial>(&session, Initial('x')).await;
    assert_eq!(read, Some(Initial('x')));
}

/// A list whose second element has a different type from the first. No serde attribute writes such
/// a type.
#[derive(Debug, Clone, PartialEq)]
struct Listed<T>(u32, T);

impl<T: Serialize> Serialize for Listed<T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(2))?;
        list.serialize_element(&self.0)?;
        list.serialize_element(&self.1)?;
        list.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = Listed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Listed<T>, A::Error> {
                let short = || A::Error::invalid_length(0, &"2");
                let first = parts.next_element()?.ok_or_else(short)?;
                Ok(Listed(first, parts.next_element()?.ok_or_else(short)?))
            }
        }
        from.deserialize_seq(Visitor(PhantomData))
    }
}

#[tokio::test]
async fn a_list_of_different_elements_is_not_misread() {
    let session = new_session().await;
    let read = reread::<_, Listed<i32>>(&session, Listed(1, 8_u32)).await;
    assert_eq!(read, Some(Listed(1, 8)));
    let read = reread::<_, Listed<after::Role>>(&session, Listed(1, before::Role::Guest)).await;
    assert_eq!(read, Some(Listed(1, after::Role::Guest)));
}
