//! Changes of structs.

use super::change;
use crate::change::Change;

pub(super) fn changes() -> Vec<Change> {
    vec![
        change!("() to a unit struct" {
            struct Old { seen: () }
            struct Seen;
            struct New { seen: Seen }
        }
        |Old { seen: () }| Some(New { seen: Seen }),
        |New { seen: Seen }| Some(Old { seen: () })),
        change!("rename the type" {
            struct Old { total: u32, note: String }
            struct New { total: u32, note: String }
        }
        |Old { total, note }| Some(New { total, note }),
        |New { total, note }| Some(Old { total, note })),
        change!("rename a field" {
            struct Old { total: u32, note: String }
            struct New { sum: u32, note: String }
        }
        |Old { total, note }| Some(New { sum: total, note }),
        |New { sum, note }| Some(Old { total: sum, note })),
        change!("rename a field, alias = old name" {
            struct Old { total: u32, note: String }
            struct New { #[serde(alias = "total")] sum: u32, note: String }
        }
        |Old { total, note }| Some(New { sum: total, note }),
        |New { sum, note }| Some(Old { total: sum, note })),
        change!("add a field at the end" {
            struct Old { total: u32, note: String }
            struct New { total: u32, note: String, gift: bool }
        }
        |_| None,
        |New { total, note, .. }| Some(Old { total, note })),
        change!("add a field at the end, serde(default)" {
            struct Old { total: u32, note: String }
            struct New { total: u32, note: String, #[serde(default)] gift: u8 }
        }
        |Old { total, note }| Some(New { total, note, gift: 0 }),
        |New { total, note, .. }| Some(Old { total, note })),
        change!("add a field in front, serde(default)" {
            struct Old { total: u32, note: String }
            struct New { #[serde(default)] gift: u8, total: u32, note: String }
        }
        |Old { total, note }| Some(New { gift: 0, total, note }),
        |New { total, note, .. }| Some(Old { total, note })),
        change!("add an Option field at the end" {
            struct Old { total: u32, note: String }
            struct New { total: u32, note: String, coupon: Option<String> }
        }
        |Old { total, note }| Some(New { total, note, coupon: None }),
        |New { total, note, .. }| Some(Old { total, note })),
        change!("add an Option field in the middle" {
            struct Old { total: u32, note: String }
            struct New { total: u32, coupon: Option<u8>, note: String }
        }
        |Old { total, note }| Some(New { total, coupon: None, note }),
        |New { total, note, .. }| Some(Old { total, note })),
        change!("remove the last field" {
            struct Old { total: u32, note: String, gift: u8 }
            struct New { total: u32, note: String }
        }
        |Old { total, note, .. }| Some(New { total, note }),
        |_| None),
        change!("remove a middle field of numbers" {
            struct Old { net: u32, tax: u32, gross: u32 }
            struct New { net: u32, gross: u32 }
        }
        |Old { net, gross, .. }| Some(New { net, gross }),
        |_| None),
        change!("remove a middle field that had a default" {
            struct Old { net: u32, #[serde(default)] tax: u32, gross: u32 }
            struct New { net: u32, gross: u32 }
        }
        |Old { net, gross, .. }| Some(New { net, gross }),
        |New { net, gross }| Some(Old { net, tax: 0, gross })),
        change!("reorder two numbers" {
            struct Old { net: u32, gross: u32 }
            struct New { gross: u32, net: u32 }
        }
        |Old { net, gross }| Some(New { gross, net }),
        |New { gross, net }| Some(Old { net, gross })),
        change!("reorder two strings" {
            struct Old { first: String, last: String }
            struct New { last: String, first: String }
        }
        |Old { first, last }| Some(New { last, first }),
        |New { last, first }| Some(Old { first, last })),
        change!("reorder a number and a string" {
            struct Old { total: u32, note: String }
            struct New { note: String, total: u32 }
        }
        |Old { total, note }| Some(New { note, total }),
        |New { note, total }| Some(Old { total, note })),
        change!("add rename_all = \"camelCase\"" {
            struct Old { unit_price: u32, item_name: String }
            #[serde(rename_all = "camelCase")]
            struct New { unit_price: u32, item_name: String }
        }
        |Old { unit_price, item_name }| Some(New { unit_price, item_name }),
        |New { unit_price, item_name }| Some(Old { unit_price, item_name })),
        change!("named fields to a tuple struct" {
            struct Old { total: u32, note: String }
            struct New(u32, String);
        }
        |Old { total, note }| Some(New(total, note)),
        |New(total, note)| Some(Old { total, note })),
        change!("a tuple struct to named fields" {
            struct Old(u32, String);
            struct New { total: u32, note: String }
        }
        |Old(total, note)| Some(New { total, note }),
        |New { total, note }| Some(Old(total, note))),
        change!("add an Option field, deny_unknown_fields" {
            #[serde(deny_unknown_fields)]
            struct Old { total: u32 }
            #[serde(deny_unknown_fields)]
            struct New { total: u32, coupon: Option<u8> }
        }
        |Old { total }| Some(New { total, coupon: None }),
        |New { total, .. }| Some(Old { total })),
        change!("move two fields into a nested struct" {
            struct Old { total: u32, street: String, city: String }
            struct Address { street: String, city: String }
            struct New { total: u32, address: Address }
        }
        |Old { total, street, city }| Some(New { total, address: Address { street, city } }),
        |New { total, address: Address { street, city } }| Some(Old { total, street, city })),
        change!("same name, another type: String to Vec<u8>" {
            struct Old { note: String }
            struct New { note: Vec<u8> }
        }
        |Old { note }| Some(New { note: note.into_bytes() }),
        |New { note }| String::from_utf8(note).ok().map(|note| Old { note })),
    ]
}
