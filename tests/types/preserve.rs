//! During a deployment, an update by the previous release keeps the fields that only the new one
//! knows.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicU32, Ordering},
};

use ruts::{
    codec::Codec,
    field::{Field, FieldSpec, FieldValue, OrDefault},
};
use ruts_tests_support::seeds;
use serde::{Deserialize, Serialize};

use crate::{
    change::{COUNTED_SEED, Run, new_session},
    changes::changes,
    order_id::OrderId,
};

/// Changes under which the previous release reads every value of the new one, without some of its
/// fields.
const ADDITIVE: [&str; 6] = [
    "add a field at the end",
    "add a field at the end, serde(default)",
    "add a field in front, serde(default)",
    "add an Option field at the end",
    "add an Option field in the middle",
    "a struct variant gets a field, serde(default)",
];

#[tokio::test]
async fn an_update_by_the_old_release_keeps_what_it_does_not_know() {
    let session = new_session().await;
    let mut seeds = seeds(1);
    println!("RUTS_SEED={}", seeds[0]);
    seeds.push(COUNTED_SEED);
    for seed in seeds {
        let run =
            Run { session: &session, codec: Codec::MessagePack, seed, values: 60, has_lock: false };
        for change in &changes() {
            let updated = change.update(&run).await;
            assert_eq!(updated.harmed, 0, "{}: {updated:?}", change.name);
            if ADDITIVE.contains(&change.name) {
                assert_eq!(updated.cut, 0, "{}: {updated:?}", change.name);
                assert!(updated.whole > 0 || seed != COUNTED_SEED, "{}: {updated:?}", change.name);
            }
        }
    }
}

/// Declares a cart in two releases.
macro_rules! carts {
    ($($release:ident { $($field:tt)* } { $($note:tt)* })+) => {
        $(mod $release {
            use super::*;

            #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
            pub(super) struct Item { pub(super) sku: String, $($field)* }

            #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
            pub(super) struct Cart {
                pub(super) items: Vec<Item>,
                pub(super) by_name: BTreeMap<String, Item>,
                pub(super) set: HashSet<Item>,
                $($note)*
            }
        })+
    };
}

carts! {
    before {} {}
    after
    { #[serde(default)] pub(super) gift: bool }
    { pub(super) note: Option<String> }
}

const SPEC: FieldSpec = FieldSpec::new("cart").with_codec(Codec::MessagePack);
const OLD: Field<before::Cart, OrDefault<before::Cart>> = Field::new(&SPEC).or(Default::default);
const NEW: Field<after::Cart, OrDefault<after::Cart>> = Field::new(&SPEC).or(Default::default);

fn gift(sku: &str) -> after::Item {
    after::Item { sku: sku.to_owned(), gift: true }
}

fn plain(sku: &str) -> after::Item {
    after::Item { sku: sku.to_owned(), gift: false }
}

fn old(sku: &str) -> before::Item {
    before::Item { sku: sku.to_owned() }
}

/// Returns a cart with a gift, another item, and a note.
fn cart() -> after::Cart {
    after::Cart {
        items: vec![gift("tea"), plain("cup")],
        by_name: BTreeMap::from([("a".to_owned(), gift("tea")), ("b".to_owned(), gift("cup"))]),
        set: HashSet::new(),
        note: Some("ring twice".to_owned()),
    }
}

/// Lets the previous release change a cart of the new one, and returns what the new one finds.
async fn update(cart: after::Cart, changes: &[fn(&mut before::Cart)]) -> after::Cart {
    let session = new_session().await;
    session.entry(NEW).set(&cart).await.unwrap();
    for change in changes {
        session.entry(OLD).update(change).await.unwrap();
    }
    session.entry(NEW).get().await.unwrap()
}

#[tokio::test]
async fn a_gift_stays_a_gift_wherever_it_moves() {
    let items = async |change: fn(&mut before::Cart)| {
        let after = update(cart(), &[change]).await;
        assert_eq!(after.note, cart().note);
        after.items
    };
    let push = items(|cart| cart.items.push(old("jam"))).await;
    assert_eq!(push, [gift("tea"), plain("cup"), plain("jam")]);
    let swap = items(|cart| cart.items.swap(0, 1)).await;
    assert_eq!(swap, [plain("cup"), gift("tea")]);
    let remove = items(|cart| drop(cart.items.remove(0))).await;
    assert_eq!(remove, [plain("cup")]);
    let change = items(|cart| cart.items[0].sku.push('!')).await;
    assert_eq!(change, [gift("tea!"), plain("cup")]);
    let clear = items(|cart| cart.items.clear()).await;
    assert_eq!(clear, []);
}

#[tokio::test]
async fn entries_of_a_map_keep_what_belongs_to_them() {
    let after = update(
        cart(),
        &[|cart| {
            cart.by_name.remove("a");
            cart.by_name.insert("c".to_owned(), old("jam"));
        }],
    )
    .await;
    let expected = [("b".to_owned(), gift("cup")), ("c".to_owned(), plain("jam"))];
    assert_eq!(after.by_name, BTreeMap::from(expected));
}

/// The first update writes a value that mixes both types. The second one must not take it for a
/// value of the old type.
#[tokio::test]
async fn a_second_update_keeps_it_too() {
    let push: fn(&mut before::Cart) = |cart| cart.items.push(old("jam"));
    let after = update(cart(), &[push, push]).await;
    assert_eq!(after.items, [gift("tea"), plain("cup"), plain("jam"), plain("jam")]);
    assert_eq!(after.note, cart().note);
}

/// The list of what a user has seen last: a new element pushes the oldest one out.
#[tokio::test]
async fn an_element_that_moves_keeps_what_belongs_to_it() {
    let seen = after::Cart { items: vec![gift("a"), plain("b"), gift("c")], ..cart() };
    let next = update(
        seen.clone(),
        &[|cart| {
            cart.items.insert(0, old("x"));
            cart.items.truncate(3);
        }],
    )
    .await;
    assert_eq!(next.items, [plain("x"), gift("a"), plain("b")]);
    let next = update(
        seen,
        &[|cart| {
            cart.items.remove(0);
            cart.items.push(old("x"));
        }],
    )
    .await;
    assert_eq!(next.items, [plain("b"), gift("c"), plain("x")]);
}

/// The fingerprint does not show the structure of this part, because the part needs a
/// self-describing format.
#[tokio::test]
async fn an_update_keeps_unknown_fields_of_an_enum_with_a_tag() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Old {
        Card { number: u32 },
        Cash {},
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum New {
        Card {
            number: u32,
            #[serde(default)]
            fee: u32,
        },
        Cash {
            #[serde(default)]
            fee: u32,
        },
    }
    const SPEC: FieldSpec = FieldSpec::new("pay").with_codec(Codec::MessagePack);
    const OLD: Field<Vec<Old>, OrDefault<Vec<Old>>> = Field::new(&SPEC).or(Default::default);
    const NEW: Field<Vec<New>> = Field::new(&SPEC);
    let session = new_session().await;
    let update = async |change: fn(&mut Vec<Old>)| {
        session.entry(NEW).set(&vec![New::Card { number: 1, fee: 7 }]).await.unwrap();
        session.entry(OLD).update(change).await.unwrap();
        session.entry(NEW).get().await.unwrap().unwrap()
    };
    let edited = update(|pays| pays[0] = Old::Card { number: 2 }).await;
    assert_eq!(edited, [New::Card { number: 2, fee: 7 }]);
    let pushed = update(|pays| pays.push(Old::Cash {})).await;
    assert_eq!(pushed, [New::Card { number: 1, fee: 7 }, New::Cash { fee: 0 }]);
    let replaced = update(|pays| pays[0] = Old::Cash {}).await;
    assert_eq!(replaced, [New::Cash { fee: 0 }], "the fee of the card should not be kept");
}

/// Sets and bytes inside an element may be written in a different form each time.
#[tokio::test]
async fn a_set_inside_an_element_loses_nothing_beside_it() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Old {
        sku: String,
        tags: HashSet<String>,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct New {
        sku: String,
        tags: HashSet<String>,
        #[serde(default)]
        gift: bool,
    }
    const SPEC: FieldSpec = FieldSpec::new("tagged").with_codec(Codec::MessagePack);
    const OLD: Field<Vec<Old>, OrDefault<Vec<Old>>> = Field::new(&SPEC).or(Default::default);
    const NEW: Field<Vec<New>> = Field::new(&SPEC);
    let session = new_session().await;
    let tags: HashSet<String> = (0..9).map(|at| at.to_string()).collect();
    let new = |sku: &str| New { sku: sku.to_owned(), tags: tags.clone(), gift: true };
    session.entry(NEW).set(&vec![new("a"), new("b")]).await.unwrap();
    session.entry(OLD).update(|items| items[1].sku = "c".to_owned()).await.unwrap();
    assert_eq!(session.entry(NEW).get().await.unwrap(), Some(vec![new("a"), new("c")]));
}

/// A set has no order, so its elements cannot be matched after an update. No element gets the gift
/// of another element.
#[tokio::test]
async fn an_element_of_a_set_never_gets_the_field_of_another() {
    let names: Vec<String> = (0..9).map(|at| at.to_string()).collect();
    let set: HashSet<_> = names.iter().map(|name| gift(name)).chain([plain("plain")]).collect();
    for _ in 0..20 {
        let cart = after::Cart { set: set.clone(), ..cart() };
        let after = update(cart, &[|cart| cart.items.clear()]).await;
        assert!(after.set.contains(&plain("plain")), "{after:?}");
    }
}

/// A session field in two releases: the later one has renamed a field, and has one more variant.
mod visit {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    pub(super) enum OldPay {
        #[default]
        Cash,
        #[serde(other)]
        Other,
    }

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    pub(super) enum NewPay {
        #[default]
        Cash,
        Voucher,
    }

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    pub(super) struct Old {
        pub(super) visits: u32,
        #[serde(default)]
        pub(super) note: Option<String>,
        pub(super) pay: OldPay,
    }

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    pub(super) struct New {
        pub(super) visits: u32,
        #[serde(default, alias = "note")]
        pub(super) remark: Option<String>,
        pub(super) pay: NewPay,
    }
}

/// The previous release reads the renamed field as absent and the new variant as a different
/// variant. An update or a `settle` by the previous release leaves both unchanged.
#[tokio::test]
async fn an_update_changes_no_part_that_its_caller_has_not_changed() {
    use visit::{New, NewPay, Old, OldPay};
    const SPEC: FieldSpec = FieldSpec::new("visit").with_codec(Codec::MessagePack);
    const OLD: Field<Old, OrDefault<Old>> = Field::new(&SPEC).or(Default::default);
    const NEW: Field<New, OrDefault<New>> = Field::new(&SPEC).or(Default::default);
    let session = new_session().await;
    let written = New { visits: 1, remark: Some("ring".to_owned()), pay: NewPay::Voucher };
    session.entry(NEW).set(&written).await.unwrap();
    session.entry(OLD).settle().await.unwrap();
    assert_eq!(session.entry(NEW).get().await.unwrap(), written);
    assert!(
        !session.entry(OLD).settle().await.unwrap(),
        "`settle` should not rewrite a value for the order of its fields"
    );
    session.entry(OLD).update(|old| old.visits += 1).await.unwrap();
    assert_eq!(session.entry(NEW).get().await.unwrap(), New { visits: 2, ..written.clone() });
    session.entry(OLD).update(|old| old.pay = OldPay::Cash).await.unwrap();
    let paid = New { visits: 2, pay: NewPay::Cash, ..written };
    assert_eq!(session.entry(NEW).get().await.unwrap(), paid);
}

/// A list may have an element that the previous release knows only as `#[serde(other)]`. A change
/// of another element does not replace it.
#[tokio::test]
async fn an_unknown_variant_in_a_list_stays() {
    use visit::{NewPay, OldPay};
    const SPEC: FieldSpec = FieldSpec::new("payments").with_codec(Codec::MessagePack);
    const OLD: Field<Vec<OldPay>, OrDefault<Vec<OldPay>>> = Field::new(&SPEC).or(Default::default);
    const NEW: Field<Vec<NewPay>> = Field::new(&SPEC);
    let session = new_session().await;
    let update = async |change: fn(&mut Vec<OldPay>)| {
        session.entry(NEW).set(&vec![NewPay::Cash, NewPay::Voucher]).await.unwrap();
        session.entry(OLD).update(change).await.unwrap();
        session.entry(NEW).get().await.unwrap().unwrap()
    };
    let push = update(|pays| pays.push(OldPay::Cash)).await;
    assert_eq!(push, [NewPay::Cash, NewPay::Voucher, NewPay::Cash]);
    assert_eq!(update(|pays| pays.truncate(1)).await, [NewPay::Cash]);
    assert_eq!(update(|pays| pays.reverse()).await, [NewPay::Voucher, NewPay::Cash]);
    assert_eq!(update(|pays| pays[1] = OldPay::Cash).await, [NewPay::Cash, NewPay::Cash]);
}

/// A default that is different each time is written. `settle` writes a field that the stored value
/// lacks.
#[tokio::test]
async fn a_default_is_written_if_it_matters() {
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Before {
        a: u32,
        legacy: u32,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct After {
        a: u32,
        #[serde(default = "next")]
        id: u32,
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Longer {
        a: u32,
        legacy: u32,
        #[serde(default)]
        more: u32,
    }
    fn next() -> u32 {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
    const SPEC: FieldSpec = FieldSpec::new("default").with_codec(Codec::MessagePack);
    const BEFORE: Field<Before, OrDefault<Before>> = Field::new(&SPEC).or(Default::default);
    const AFTER: Field<After> = Field::new(&SPEC);
    const LONGER: Field<Longer, OrDefault<Longer>> = Field::new(&SPEC).or(Default::default);
    let session = new_session().await;
    session.entry(BEFORE).set(&Before { a: 1, legacy: 5 }).await.unwrap();
    assert!(session.entry(LONGER).settle().await.unwrap(), "`settle` should write the new field");
    assert!(!session.entry(LONGER).settle().await.unwrap());
    session.entry(BEFORE).set(&Before { a: 1, legacy: 5 }).await.unwrap();
    session.entry(AFTER).update(|after| after.as_mut().unwrap().a = 2).await.unwrap();
    let id = session.entry(AFTER).get().await.unwrap().unwrap().id;
    assert_eq!(
        session.entry(AFTER).get().await.unwrap(),
        Some(After { a: 2, id }),
        "the default of the new field should be stored"
    );
    assert_eq!(session.entry(BEFORE).get().await.unwrap(), Before { a: 2, legacy: 5 });
}

/// The previous release changes a value of the new one, and returns what the new one finds.
async fn updated<O: FieldValue + Default, N: FieldValue>(
    new: N,
    change: impl FnMut(&mut O) + Send,
) -> N {
    const SPEC: FieldSpec = FieldSpec::new("value").with_codec(Codec::MessagePack);
    let session = new_session().await;
    session.entry(Field::<N>::new(&SPEC)).set(&new).await.unwrap();
    session.entry(Field::<O>::new(&SPEC).or(Default::default)).update(change).await.unwrap();
    session.entry(Field::<N>::new(&SPEC)).get().await.unwrap().unwrap()
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct OldItem {
    sku: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct NewItem {
    sku: String,
    #[serde(default)]
    gift: u32,
}

fn old_item(sku: &str) -> OldItem {
    OldItem { sku: sku.to_owned() }
}

fn item(sku: &str, gift: u32) -> NewItem {
    NewItem { sku: sku.to_owned(), gift }
}

#[tokio::test]
async fn elements_of_a_long_list_keep_what_belongs_to_them() {
    let items: Vec<NewItem> = (0..3000).map(|at| item(&format!("sku {at}"), at)).collect();
    let next = updated(items.clone(), |items: &mut Vec<OldItem>| {
        items.remove(0);
        items.push(OldItem { sku: "new".to_owned() });
    });
    assert_eq!(next.await, [&items[1..], &[item("new", 0)]].concat());
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum OldPay {
    Card { number: u32 },
    Wire { number: u32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum NewPay {
    Card {
        number: u32,
        #[serde(default)]
        fee: u32,
    },
    Wire {
        number: u32,
        #[serde(default)]
        fee: u32,
    },
}

impl Default for OldPay {
    fn default() -> Self {
        Self::Card { number: 0 }
    }
}

/// The tag comes after a part that ruts does not reach, after other fields, or next to the content.
#[tokio::test]
async fn another_variant_never_gets_the_unknown_fields() {
    let order = OrderId("ord_7".to_owned());
    let next = updated(
        vec![(order.clone(), NewPay::Card { number: 1, fee: 7 })],
        |pays: &mut Vec<(OrderId, OldPay)>| pays[0].1 = OldPay::Wire { number: 2 },
    );
    assert_eq!(next.await, [(order, NewPay::Wire { number: 2, fee: 0 })]);

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Old {
        name: String,
        #[serde(flatten)]
        pay: OldPay,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct New {
        name: String,
        #[serde(flatten)]
        pay: NewPay,
    }
    let new = |pay| New { name: "a".to_owned(), pay };
    let card = || new(NewPay::Card { number: 1, fee: 7 });
    let next =
        updated(vec![card()], |olds: &mut Vec<Old>| olds[0].pay = OldPay::Wire { number: 2 });
    assert_eq!(next.await, [new(NewPay::Wire { number: 2, fee: 0 })]);
    let next =
        updated(vec![card()], |olds: &mut Vec<Old>| olds[0].pay = OldPay::Card { number: 2 });
    assert_eq!(next.await, [new(NewPay::Card { number: 2, fee: 7 })]);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "item")]
    enum OldPart {
        Sold(OldItem),
        Lent(OldItem),
    }
    impl Default for OldPart {
        fn default() -> Self {
            Self::Sold(OldItem::default())
        }
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "item")]
    enum NewPart {
        Sold(NewItem),
        Lent(NewItem),
    }
    let lend: fn(&mut OldPart) = |part| *part = OldPart::Lent(OldItem { sku: "tea".to_owned() });
    assert_eq!(updated(NewPart::Sold(item("tea", 7)), lend).await, NewPart::Lent(item("tea", 0)));

    // serde reads the tag of an enum with struct variants in a different way.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "item")]
    enum OldPaid {
        Card { number: u32 },
        Wire { number: u32 },
    }
    impl Default for OldPaid {
        fn default() -> Self {
            Self::Card { number: 0 }
        }
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "item")]
    enum NewPaid {
        Card {
            number: u32,
            #[serde(default)]
            fee: u32,
        },
        Wire {
            number: u32,
            #[serde(default)]
            fee: u32,
        },
    }
    let wire: fn(&mut OldPaid) = |paid| *paid = OldPaid::Wire { number: 1 };
    let next = updated(NewPaid::Card { number: 1, fee: 7 }, wire);
    assert_eq!(next.await, NewPaid::Wire { number: 1, fee: 0 });
    let card: fn(&mut OldPaid) = |paid| *paid = OldPaid::Card { number: 2 };
    let next = updated(NewPaid::Card { number: 1, fee: 7 }, card);
    assert_eq!(next.await, NewPaid::Card { number: 2, fee: 7 });
}

/// A user replaces the only article in a cart. The engraving of the former article belongs to that
/// article.
#[tokio::test]
async fn another_element_never_gets_the_unknown_fields() {
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Old {
        sku: String,
        units: u32,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct New {
        sku: String,
        units: u32,
        #[serde(default)]
        engraving: Option<String>,
    }
    let new = |sku: &str, units, engraving: Option<&str>| New {
        sku: sku.to_owned(),
        units,
        engraving: engraving.map(str::to_owned),
    };
    let ring = || vec![new("ring", 1, Some("Anna"))];
    let replace: fn(&mut Vec<Old>) = |cart| *cart = vec![Old { sku: "drill".to_owned(), units: 1 }];
    assert_eq!(updated(ring(), replace).await, [new("drill", 1, None)]);
    let add: fn(&mut Vec<Old>) = |cart| cart[0].units = 2;
    assert_eq!(updated(ring(), add).await, [new("ring", 2, Some("Anna"))]);
}

/// The renamed field has its default in the previous release, next to a field whose default differs
/// each time.
#[tokio::test]
async fn a_field_is_never_stored_under_two_names() {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    fn next() -> u32 {
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Old {
        number: u32,
        parts: Vec<OldPart>,
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct OldPart {
        #[serde(default)]
        note: String,
        #[serde(default = "next")]
        id: u32,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct New {
        number: u32,
        parts: Vec<NewPart>,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct NewPart {
        #[serde(default, alias = "note")]
        remark: String,
    }
    let new = |number| New { number, parts: vec![NewPart { remark: "gift".to_owned() }] };
    let count: fn(&mut Old) = |old| old.number = 2;
    assert_eq!(updated(new(1), count).await, new(2));
    let number: fn(&mut Old) = |old| old.parts[0].id = 1_000_000;
    assert_eq!(updated(new(1), number).await, new(1));
}

/// The tag is inside a variant of a second enum, or next to a string that is not a tag.
#[tokio::test]
async fn a_tag_is_told_from_other_strings() {
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    #[serde(tag = "state")]
    enum OldOrder {
        #[default]
        Open,
        Paid(OldPaid),
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "state")]
    enum NewOrder {
        Open,
        Paid(NewPaid),
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct OldPaid {
        name: String,
        #[serde(flatten)]
        pay: OldPay,
        address: OldAddress,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct NewPaid {
        name: String,
        #[serde(flatten)]
        pay: NewPay,
        address: NewAddress,
        #[serde(default)]
        points: u32,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct OldAddress {
        street: String,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct NewAddress {
        street: String,
        #[serde(default)]
        floor: u32,
    }
    fn paid(name: &str, pay: NewPay, street: &str, [floor, points]: [u32; 2]) -> NewOrder {
        let address = NewAddress { street: street.to_owned(), floor };
        NewOrder::Paid(NewPaid { name: name.to_owned(), pay, address, points })
    }
    fn edit(change: impl Fn(&mut OldPaid)) -> impl Fn(&mut OldOrder) {
        move |order| match order {
            OldOrder::Paid(paid) => change(paid),
            OldOrder::Open => panic!("the order was read as `Open`"),
        }
    }
    let card = || NewPay::Card { number: 1, fee: 7 };
    let stored = || paid("Ann", card(), "High Street", [3, 5]);

    let renamed = edit(|paid| paid.name = "Bob".to_owned());
    assert_eq!(updated(stored(), renamed).await, paid("Bob", card(), "High Street", [3, 5]));
    let moved = edit(|paid| paid.address.street = "Low Street".to_owned());
    assert_eq!(updated(stored(), moved).await, paid("Ann", card(), "Low Street", [3, 5]));
    let wired = edit(|paid| paid.pay = OldPay::Wire { number: 2 });
    let wire = NewPay::Wire { number: 2, fee: 0 };
    assert_eq!(updated(stored(), wired).await, paid("Ann", wire, "High Street", [0, 0]));
}

/// A value that contains a tag or any JSON takes nothing from the parts next to it.
#[tokio::test]
async fn unknown_fields_beside_a_value_of_any_kind_are_kept() {
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Old {
        name: String,
        by_name: BTreeMap<String, OldItem>,
        filter: serde_json::Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct New {
        name: String,
        by_name: BTreeMap<String, NewItem>,
        filter: serde_json::Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        #[serde(default)]
        gift: u32,
    }
    let by_name = BTreeMap::from([("x".to_owned(), item("x", 7))]);
    let new = New { name: "a".to_owned(), by_name, gift: 8, ..New::default() };
    let changes: [fn(&mut Old); 4] = [
        |old| old.name = "b".to_owned(),
        |old| drop(old.by_name.insert("y".to_owned(), OldItem::default())),
        |old| old.filter = "x".into(),
        |old| old.note = Some("ring".to_owned()),
    ];
    for change in changes {
        let next = updated(new.clone(), change).await;
        assert_eq!((next.gift, next.by_name["x"].gift), (8, 7), "{next:?}");
    }
}

/// A part that cannot be merged does not remove unknown fields of other parts.
#[tokio::test]
async fn a_part_in_another_form_costs_nothing_elsewhere() {
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct OldReply {
        n: u32,
        replies: Vec<OldReply>,
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct NewReply {
        n: u32,
        replies: Vec<NewReply>,
        #[serde(default)]
        gift: u32,
    }
    let deep = (0..500).fold(NewReply::default(), |inner, n| NewReply {
        n,
        replies: vec![inner],
        gift: 7,
    });
    let next = updated(deep, |reply: &mut OldReply| reply.n = 999).await;
    assert_eq!((next.n, next.gift, next.replies[0].replies[0].gift), (999, 7, 7));

    // A field that was read under a different name.
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Old {
        #[serde(default, alias = "remark")]
        note: String,
        #[serde(default, alias = "amount")]
        total: u32,
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct New {
        #[serde(default, alias = "note")]
        remark: String,
        #[serde(default, alias = "total")]
        amount: u32,
        #[serde(default)]
        gift: u32,
    }
    let new = New { remark: "r".to_owned(), amount: 1, gift: 7 };
    let next = updated(new.clone(), |old: &mut Old| old.note = "z".to_owned()).await;
    assert_eq!(next, New { remark: "z".to_owned(), ..new.clone() });
    let next = updated(new.clone(), |old: &mut Old| (old.total, old.note) = (2, "z".to_owned()));
    assert_eq!(next.await, New { remark: "z".to_owned(), amount: 2, gift: 7 });

    // The previous release reads a number other than zero as `Other`, and would write it as 255.
    #[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
    #[serde(from = "u8", into = "u8")]
    enum Kind {
        #[default]
        Cash,
        Other,
    }
    impl From<u8> for Kind {
        fn from(number: u8) -> Self {
            if number == 0 { Self::Cash } else { Self::Other }
        }
    }
    impl From<Kind> for u8 {
        fn from(kind: Kind) -> Self {
            if kind == Kind::Cash { 0 } else { 255 }
        }
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct OldPaid {
        kind: Kind,
        total: u32,
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct NewPaid {
        kind: u8,
        total: u32,
        #[serde(default)]
        gift: u32,
    }
    let paid = |kind, total, gift| NewPaid { kind, total, gift };
    let next =
        updated(vec![paid(3, 1, 7), paid(0, 2, 8)], |all: &mut Vec<OldPaid>| all[1].total = 9);
    assert_eq!(next.await, [paid(3, 1, 7), paid(0, 9, 8)]);
}

/// Aliases hide which part of a type a field or variant is.
#[tokio::test]
async fn a_type_with_aliases_is_merged_like_one_without() {
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Plain {
        kind: String,
        number: u32,
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    enum OldOrder {
        #[default]
        #[serde(alias = "None")]
        Empty,
        Paid(OldPay),
        Plain(Plain),
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum NewOrder {
        Empty,
        Paid(NewPay),
        Plain(Plain),
    }
    let stored = NewOrder::Paid(NewPay::Card { number: 1, fee: 7 });
    let wire: fn(&mut OldOrder) = |order| *order = OldOrder::Paid(OldPay::Wire { number: 2 });
    let wired = NewOrder::Paid(NewPay::Wire { number: 2, fee: 0 });
    assert_eq!(updated(stored, wire).await, wired, "the fee of the card should not be kept");

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    enum OldPlace {
        #[default]
        #[serde(alias = "Nowhere")]
        Unknown,
        Shelf(OldItem),
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum NewPlace {
        Unknown,
        Shelf(NewItem),
    }
    let change: fn(&mut OldPlace) = |place| *place = OldPlace::Shelf(old_item("b"));
    let next = updated(NewPlace::Shelf(item("a", 7)), change).await;
    assert_eq!(next, NewPlace::Shelf(item("b", 7)));

    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Old {
        #[serde(alias = "n")]
        count: u32,
        first: OldItem,
        /// The new release has a different name for this field.
        #[serde(default, alias = "end")]
        last: OldItem,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct New {
        count: u32,
        first: NewItem,
        #[serde(default, alias = "last")]
        end: NewItem,
    }
    let next =
        updated(New { count: 1, first: item("a", 7), end: item("z", 8) }, |old: &mut Old| {
            (old.first, old.last) = (old_item("b"), old_item("y"))
        });
    assert_eq!(next.await, New { count: 1, first: item("b", 7), end: item("y", 8) });
}

/// The previous release loses data when it reads one part of the value, and changes another part.
#[tokio::test]
async fn a_part_that_the_caller_has_not_changed_is_kept_as_it_is_stored() {
    use std::collections::BTreeSet;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    enum OldKind {
        Card,
        #[serde(other)]
        Other,
    }
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    enum NewKind {
        Card,
        Voucher,
        Gift,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Price {
        Plain(u64),
        Full { amount: u64, currency: String },
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    #[serde(from = "Price", into = "u64")]
    struct Amount(u64);
    impl From<Price> for Amount {
        fn from(price: Price) -> Self {
            match price {
                Price::Plain(amount) | Price::Full { amount, .. } => Self(amount),
            }
        }
    }
    impl From<Amount> for u64 {
        fn from(amount: Amount) -> Self {
            amount.0
        }
    }
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    struct OldRank {
        sku: String,
    }
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    struct NewRank {
        rank: u32,
        sku: String,
    }
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Old {
        visits: u32,
        price: Amount,
        by_kind: BTreeMap<OldKind, u32>,
        ranks: BTreeSet<OldRank>,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct New {
        visits: u32,
        price: Price,
        by_kind: BTreeMap<NewKind, u32>,
        ranks: BTreeSet<NewRank>,
    }
    let rank = |rank, sku: &str| NewRank { rank, sku: sku.to_owned() };
    let new = |visits| New {
        visits,
        price: Price::Full { amount: 5, currency: "EUR".to_owned() },
        by_kind: BTreeMap::from([(NewKind::Card, 1), (NewKind::Voucher, 10), (NewKind::Gift, 2)]),
        ranks: BTreeSet::from([rank(1, "b"), rank(2, "a")]),
    };
    assert_eq!(updated(new(1), |old: &mut Old| old.visits = 2).await, new(2));
}
