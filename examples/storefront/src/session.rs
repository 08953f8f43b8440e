//! What a visitor's session holds. A misspelt field of it does not compile.

use std::collections::BTreeMap;

use ruts::session;
use serde::{Deserialize, Serialize};

/// How many of each item.
pub(crate) type Cart = BTreeMap<String, u32>;

/// A visitor of the shop.
#[session(prefix = "shop")]
pub(crate) struct Shop {
    /// Who is signed in. Signing in replaces the token, and lists the session among the user's.
    #[field(ttl = "30d", hot = "1h", principal)]
    user: String,
    /// A guest's cart stays when they sign in.
    #[field(ttl = "7d", hot = "10m", default)]
    cart: Cart,
    /// A message for the next page: of two tabs that ask, one gets it.
    #[field(ttl = "10m", once)]
    flash: String,
    /// An order that was begun. Only the checkout reads it, and nobody who reads the database does.
    #[field(ttl = "1d", lazy, encrypt, codec = "messagepack", default)]
    draft: Draft,
    #[field(default)]
    theme: Theme,
    /// What the user knows this device by.
    #[field(default)]
    device: String,
}

/// MessagePack writes it as a map, so fields can be added while sessions live.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) street: String,
    pub(crate) city: String,
    #[serde(default)]
    pub(crate) delivery: Option<Delivery>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Delivery {
    Bicycle,
    Post,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Theme {
    #[default]
    Light,
    Dark,
}
