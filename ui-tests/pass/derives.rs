//! Derives apply to the struct of all values. The session handle needs no derives.
#![deny(warnings)]

use ruts::session;
use serde::{Deserialize, Serialize};

/// Has none of the traits that other structs derive.
#[derive(Serialize, Deserialize)]
pub struct Plain(u8);

#[session(prefix = "plain")]
pub struct PlainShop {
    plain: Plain,
}

#[session(prefix = "shop")]
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
#[non_exhaustive]
pub struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default)]
    #[serde(rename = "basket")]
    cart: Vec<String>,
    #[field(once)]
    flash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_visit: Option<u64>,
}

fn is_copied_and_shown<T: Clone + std::fmt::Debug>() {}

fn main() {
    is_copied_and_shown::<PlainShop>();
    is_copied_and_shown::<Shop>();
    let values = ShopValues { cart: vec!["tea".to_owned()], ..ShopValues::default() };
    assert_eq!(values, values.clone());
    let shown = r#"ShopValues { user: None, cart: ["tea"], last_visit: None }"#;
    assert_eq!(format!("{values:?}"), shown);
}
