//! A crate that denies all warnings and more lints.
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, clippy::all)]

use ruts::session;

/// A shop.
#[session]
pub struct Shop {
    /// The cart.
    #[field(ttl = "1h", default)]
    pub cart: Vec<u8>,
    pub undocumented: u8,
    #[field(once)]
    pub flash: String,
}

/// A private session, which is never used.
#[session]
struct Unused {
    field: u8,
    #[field(once)]
    once: u8,
}

fn main() {}
