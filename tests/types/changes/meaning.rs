//! Changes of the meaning of a type.

use super::change;
use crate::change::Change;

pub(super) fn changes() -> Vec<Change> {
    vec![
        change!("Euros(u64) to Cents(u64)" {
            struct Old(u64);
            struct New(u64);
        }
        |Old(euros)| euros.checked_mul(100).map(New),
        |New(cents)| (cents % 100 == 0).then_some(Old(cents / 100))),
        change!("another type altogether, of two numbers" {
            struct Old { width: u32, height: u32 }
            struct New { user: u32, role: u32 }
        }
        |_| None,
        |_| None),
        change!("another type altogether: Cart to User" {
            struct Old { items: Vec<String>, total: u32 }
            struct New { name: String, id: u32 }
        }
        |_| None,
        |_| None),
    ]
}
