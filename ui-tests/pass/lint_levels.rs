//! The lint attributes of a field apply to all code that is generated from it. Those of the
//! struct apply to the struct.
#![deny(warnings)]

use ruts::session;

#[session]
#[derive(Debug, Clone, PartialEq)]
struct Shop {
    #[expect(non_snake_case, reason = "as the client calls it")]
    userName: u8,
    #[allow(non_snake_case)]
    #[field(once)]
    userToken: u8,
    #[expect(dead_code)]
    idle_for: u8,
    #[deprecated = "use `userName`"]
    #[field(default)]
    old: u8,
}

#[deprecated = "use `Shop`"]
#[session]
struct Basket {
    #[field(principal)]
    user: u8,
    #[field(index)]
    tenant: u8,
    #[field(default)]
    cart: u8,
}

fn main() {}
