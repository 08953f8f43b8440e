//! Values that get a wrapper, or lose one.

use std::sync::Arc;

use super::change;
use crate::change::Change;

pub(super) fn changes() -> Vec<Change> {
    vec![
        change!("T to Option<T>": u32 => Option<u32>, |n| Some(Some(n)), |n| n),
        change!("Option<T> to T": Option<u32> => u32, |n| n, |n| Some(Some(n))),
        change!("T to a newtype" {
            struct Old { id: u32 }
            struct Id(u32);
            struct New { id: Id }
        }
        |Old { id }| Some(New { id: Id(id) }),
        |New { id: Id(id) }| Some(Old { id })),
        change!("T to a struct of one field" {
            struct Old { id: u32 }
            struct Id { number: u32 }
            struct New { id: Id }
        }
        |Old { id }| Some(New { id: Id { number: id } }),
        |New { id: Id { number } }| Some(Old { id: number })),
        change!("T to a transparent struct" {
            struct Old { id: u32 }
            #[serde(transparent)]
            struct Id { number: u32 }
            struct New { id: Id }
        }
        |Old { id }| Some(New { id: Id { number: id } }),
        |New { id: Id { number } }| Some(Old { id: number })),
        change!("String to Arc<str>, T to Box<T>" {
            struct Old { name: String, total: u32 }
            struct New { name: Arc<str>, total: Box<u32> }
        }
        |Old { name, total }| Some(New { name: name.into(), total: total.into() }),
        |New { name, total }| Some(Old { name: (*name).into(), total: *total })),
        change!("T to Vec<T>": u32 => Vec<u32>, |n| Some(vec![n]), |list| match list[..] {
            [n] => Some(n),
            _ => None,
        }),
        change!("remove a unit field" {
            struct Old { total: u32, nothing: (), note: String }
            struct New { total: u32, note: String }
        }
        |Old { total, note, .. }| Some(New { total, note }),
        |New { total, note }| Some(Old { total, nothing: (), note })),
    ]
}
