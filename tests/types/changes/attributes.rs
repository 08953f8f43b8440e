//! serde attributes: types that stay as they are, and attributes that are added.

use std::net::IpAddr;

use arbitrary::Unstructured;
use serde_json::Value;

use super::{change, unchanged};
use crate::change::Change;

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn json(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Value> {
    Ok(match bytes.int_in_range(0..=4)? {
        0 => Value::Null,
        1 => Value::Bool(bytes.arbitrary()?),
        2 => Value::from(bytes.arbitrary::<i64>()?),
        3 => Value::String(bytes.arbitrary()?),
        _ => Value::Array(vec![Value::from(bytes.arbitrary::<u8>()?), Value::Null]),
    })
}

pub(super) fn changes() -> Vec<Change> {
    vec![
        unchanged!("no attribute" {
            struct Same { total: u32, note: Option<String>, list: Vec<(u8, i64)> }
        }),
        unchanged!("skip_serializing_if in the middle" {
            struct Same {
                total: u32,
                #[serde(skip_serializing_if = "Option::is_none")] note: Option<u8>,
                last: u8,
            }
        }),
        unchanged!("default, skip_serializing_if in the middle, then a String" {
            struct Same {
                total: u32,
                #[serde(default, skip_serializing_if = "Option::is_none")] note: Option<u8>,
                text: String,
            }
        }),
        unchanged!("default, skip_serializing_if at the end" {
            struct Same {
                total: u32,
                #[serde(default, skip_serializing_if = "Option::is_none")] note: Option<String>,
            }
        }),
        unchanged!("skip" {
            struct Same { total: u32, #[serde(skip)] #[arbitrary(default)] note: String, last: u8 }
        }),
        unchanged!("flatten" {
            struct Inner { street: String, number: u32 }
            struct Same { total: u32, #[serde(flatten)] inner: Inner }
        }),
        unchanged!("untagged" {
            #[serde(untagged)]
            enum Same { Number(u32), Text(String) }
        }),
        unchanged!("tag" {
            #[serde(tag = "kind")]
            enum Same { Cash, Card { number: u32 } }
        }),
        unchanged!("tag, content" {
            #[serde(tag = "kind", content = "value")]
            enum Same { Cash, Card(u32) }
        }),
        unchanged!("serde_json::Value" {
            struct Same { #[arbitrary(with = json)] json: Value }
        }),
        unchanged!("IpAddr" {
            struct Same { address: IpAddr, port: u16 }
        }),
        unchanged!("u128" {
            struct Same { large: u128, negative: i128 }
        }),
        change!("add skip_serializing_if" {
            struct Old { #[serde(default)] total: u32, note: String }
            struct New { #[serde(default, skip_serializing_if = "is_zero")] total: u32, note: String }
        }
        |Old { total, note }| Some(New { total, note }),
        |New { total, note }| Some(Old { total, note })),
        change!("add skip" {
            struct Old { net: u32, tax: u32, gross: u32 }
            struct New { net: u32, #[serde(skip)] #[arbitrary(default)] tax: u32, gross: u32 }
        }
        |Old { net, gross, .. }| Some(New { net, tax: 0, gross }),
        |_| None),
        change!("flatten a field into a nested struct" {
            struct Old { total: u32, street: String, city: String }
            struct Address { street: String, city: String }
            struct New { total: u32, #[serde(flatten)] address: Address }
        }
        |Old { total, street, city }| Some(New { total, address: Address { street, city } }),
        |New { total, address: Address { street, city } }| Some(Old { total, street, city })),
    ]
}
