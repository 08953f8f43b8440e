//! The fields of a visitor's session. A misspelt field does not compile.

use std::collections::BTreeMap;

use ruts::session;

/// Number of each item.
pub(crate) type Cart = BTreeMap<String, u32>;

/// A visitor of the shop.
#[session]
pub(crate) struct Shop {
    /// The signed-in user. Writing or removing it issues a new token, against session fixation.
    #[field(ttl = "30d", hot = "1h", principal)]
    user: String,
    /// The cart. It survives a sign-in.
    #[field(ttl = "7d", hot = "10m", default)]
    cart: Cart,
    /// A message for the next page, shown once.
    #[field(ttl = "10m", once)]
    flash: String,
    /// Number of pages seen.
    #[field(default)]
    visits: u64,
}
