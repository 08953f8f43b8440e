//! What a visitor's session holds. A misspelt field of it does not compile.

use std::collections::BTreeMap;

use ruts::session;

/// How many of each item.
pub(crate) type Cart = BTreeMap<String, u32>;

/// A visitor of the shop.
#[session]
pub(crate) struct Shop {
    /// Who is signed in. Writing or removing it starts a new token (no session fixation).
    #[field(ttl = "30d", hot = "1h", principal)]
    user: String,
    /// What was put aside; it is kept when signing in.
    #[field(ttl = "7d", hot = "10m", default)]
    cart: Cart,
    /// A message for the next page, shown once.
    #[field(ttl = "10m", once)]
    flash: String,
    /// Pages seen.
    #[field(default)]
    visits: u64,
}
