//! Changes of enums.

use super::change;
use crate::change::Change;

pub(super) fn changes() -> Vec<Change> {
    vec![
        change!("add a variant at the end" {
            enum Old { Cash, Card(u32) }
            enum New { Cash, Card(u32), Crypto }
        }
        |old| Some(match old { Old::Cash => New::Cash, Old::Card(n) => New::Card(n) }),
        |new| match new {
            New::Cash => Some(Old::Cash),
            New::Card(n) => Some(Old::Card(n)),
            New::Crypto => None,
        }),
        change!("add a variant in the middle" {
            enum Old { Guest, User, Admin }
            enum New { Guest, Member, User, Admin }
        }
        |old| Some(match old { Old::Guest => New::Guest, Old::User => New::User, Old::Admin => New::Admin }),
        |new| match new {
            New::Guest => Some(Old::Guest),
            New::Member => None,
            New::User => Some(Old::User),
            New::Admin => Some(Old::Admin),
        }),
        change!("remove a variant" {
            enum Old { Guest, User, Admin }
            enum New { Guest, Admin }
        }
        |old| match old {
            Old::Guest => Some(New::Guest),
            Old::User => None,
            Old::Admin => Some(New::Admin),
        },
        |new| Some(match new { New::Guest => Old::Guest, New::Admin => Old::Admin })),
        change!("reorder variants" {
            enum Old { Guest, Admin }
            enum New { Admin, Guest }
        }
        |old| Some(match old { Old::Guest => New::Guest, Old::Admin => New::Admin }),
        |new| Some(match new { New::Guest => Old::Guest, New::Admin => Old::Admin })),
        change!("rename a variant" {
            enum Old { Guest, User }
            enum New { Guest, Member }
        }
        |old| Some(match old { Old::Guest => New::Guest, Old::User => New::Member }),
        |new| Some(match new { New::Guest => Old::Guest, New::Member => Old::User })),
        change!("rename a variant, alias = old name" {
            enum Old { Guest, User }
            enum New { Guest, #[serde(alias = "User")] Member }
        }
        |old| Some(match old { Old::Guest => New::Guest, Old::User => New::Member }),
        |new| Some(match new { New::Guest => Old::Guest, New::Member => Old::User })),
        change!("a unit variant gets a value" {
            enum Old { Cash, Card }
            enum New { Cash, Card(u8) }
        }
        |old| match old { Old::Cash => Some(New::Cash), Old::Card => None },
        |new| Some(match new { New::Cash => Old::Cash, New::Card(_) => Old::Card })),
        change!("a unit variant gets an optional value" {
            enum Old { Cash, Card }
            enum New { Cash, Card(Option<u8>) }
        }
        |old| Some(match old { Old::Cash => New::Cash, Old::Card => New::Card(None) }),
        |new| Some(match new { New::Cash => Old::Cash, New::Card(_) => Old::Card })),
        change!("a unit variant gets an optional field" {
            enum Old { Cash, Card }
            enum New { Cash, Card { #[serde(default)] code: u8 } }
        }
        |old| Some(match old { Old::Cash => New::Cash, Old::Card => New::Card { code: 0 } }),
        |new| Some(match new { New::Cash => Old::Cash, New::Card { .. } => Old::Card })),
        change!("a unit variant gets the value ()" {
            enum Old { Cash, Card }
            enum New { Cash, Card(()) }
        }
        |old| Some(match old { Old::Cash => New::Cash, Old::Card => New::Card(()) }),
        |new| Some(match new { New::Cash => Old::Cash, New::Card(()) => Old::Card })),
        change!("a newtype variant to a struct variant" {
            enum Old { Cash, Card(u32) }
            enum New { Cash, Card { number: u32 } }
        }
        |old| Some(match old { Old::Cash => New::Cash, Old::Card(number) => New::Card { number } }),
        |new| Some(match new { New::Cash => Old::Cash, New::Card { number } => Old::Card(number) })),
        change!("a struct variant gets a field, serde(default)" {
            enum Old { Cash, Card { number: u32 } }
            enum New { Cash, Card { number: u32, #[serde(default)] code: u8 } }
        }
        |old| Some(match old {
            Old::Cash => New::Cash,
            Old::Card { number } => New::Card { number, code: 0 },
        }),
        |new| Some(match new {
            New::Cash => Old::Cash,
            New::Card { number, .. } => Old::Card { number },
        })),
        change!("externally tagged to tag = \"kind\"" {
            enum Old { Cash, Card { number: u32 } }
            #[serde(tag = "kind")]
            enum New { Cash, Card { number: u32 } }
        }
        |old| Some(match old { Old::Cash => New::Cash, Old::Card { number } => New::Card { number } }),
        |new| Some(match new { New::Cash => Old::Cash, New::Card { number } => Old::Card { number } })),
        change!("String to an enum of units" {
            #[serde(transparent)]
            struct Old { #[arbitrary(with = word)] name: String }
            enum New { Guest, Admin }
        }
        |Old { name }| match &*name {
            "Guest" => Some(New::Guest),
            "Admin" => Some(New::Admin),
            _ => None,
        },
        |new| Some(Old { name: match new { New::Guest => "Guest", New::Admin => "Admin" }.to_owned() })),
        change!("bool to an enum of units" {
            struct Old { dark: bool }
            enum Theme { Light, Dark }
            struct New { dark: Theme }
        }
        |Old { dark }| Some(New { dark: if dark { Theme::Dark } else { Theme::Light } }),
        |New { dark }| Some(Old { dark: dark == Theme::Dark })),
        change!("add a variant where old has serde(other)" {
            enum Old { Guest, #[serde(other)] Other }
            enum New { Guest, Admin, #[serde(other)] Other }
        }
        |old| Some(match old { Old::Guest => New::Guest, Old::Other => New::Other }),
        |new| Some(match new { New::Guest => Old::Guest, New::Admin | New::Other => Old::Other })),
        change!("Option<T> to an enum" {
            struct Old { coupon: Option<u32> }
            enum Coupon { Without, With(u32), Lost }
            struct New { coupon: Coupon }
        }
        |Old { coupon }| Some(New { coupon: coupon.map_or(Coupon::Without, Coupon::With) }),
        |New { coupon }| match coupon {
            Coupon::Without => Some(Old { coupon: None }),
            Coupon::With(number) => Some(Old { coupon: Some(number) }),
            Coupon::Lost => None,
        }),
    ]
}

/// Returns one of the variants, as a string.
fn word(bytes: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<String> {
    Ok(bytes.choose(&["Guest", "Admin"]).copied().unwrap_or("Guest").to_owned())
}
