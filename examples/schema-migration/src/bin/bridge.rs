//! The bridge release: reads both types of a field, and writes the former one. It can run alongside
//! the first and the last release.

#[path = "../pages.rs"]
mod pages;

use std::process::ExitCode;

use ruts::session;
use schema_migration::{Cart, CartV1, Coupon, CouponV1};

/// The session of the shop.
#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default, version = 2, migrate(1 => CartV1), writes = 1)]
    cart: Cart,
    #[field(once, version = 2, migrate(1 => CouponV1), writes = 1)]
    coupon: Coupon,
}

fn main() -> ExitCode {
    schema_migration::run(pages::app)
}
