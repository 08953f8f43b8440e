//! The fields of a visitor's session. A misspelt field does not compile.

use std::collections::BTreeMap;

use ruts::session;
use serde::{Deserialize, Serialize};

/// Number of each item.
pub(crate) type Cart = BTreeMap<String, u32>;

/// A visitor of the shop.
#[session(prefix = "shop")]
pub(crate) struct Shop {
    /// The signed-in user. A sign-in replaces the token and adds the session to the user's list.
    #[field(ttl = "30d", hot = "1h", principal)]
    user: String,
    /// The cart. It survives a sign-in.
    #[field(ttl = "7d", hot = "10m", default)]
    cart: Cart,
    /// A message for the next page. If two tabs ask at the same moment, one of them gets it.
    #[field(ttl = "10m", once)]
    flash: String,
    /// An unfinished order. Only the checkout reads it. The database holds it encrypted.
    #[field(ttl = "1d", lazy, encrypt, codec = "messagepack", default)]
    draft: Draft,
    #[field(default)]
    theme: Theme,
    /// Name of this device in the list of devices.
    #[field(default)]
    device: String,
}

/// An unfinished order. MessagePack writes it as a map, so that a new version of the shop can add
/// fields while sessions are live.
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
