//! [`OrderId`]: a type that accepts none of the values that ruts tries.

use serde::{Deserialize, Serialize};

/// Begins with `ord_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct OrderId(pub(crate) String);

impl TryFrom<String> for OrderId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.starts_with("ord_") { Ok(Self(text)) } else { Err("not an order") }
    }
}

impl From<OrderId> for String {
    fn from(OrderId(text): OrderId) -> Self {
        text
    }
}
