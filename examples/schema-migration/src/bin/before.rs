//! The first release.

#[path = "../pages.rs"]
mod pages;

use std::process::ExitCode;

use ruts::session;
use schema_migration::{CartV1, CouponV1 as Coupon};

/// The session of the shop.
#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default)]
    cart: CartV1,
    #[field(once)]
    coupon: Coupon,
}

fn main() -> ExitCode {
    schema_migration::run(pages::app)
}
