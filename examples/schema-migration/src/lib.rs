//! Three releases of a shop, whose session changes its types while sessions are live.
//!
//! In an application, the releases are three states of one program. Here each is a program in
//! `src/bin`, with the pages of `src/pages.rs`, so that `tests/rolling.rs` can run instances of all
//! releases on one store. `docs/changing-types.md` lists which deploys each change needs.

mod cart;
mod coupon;
mod server;

pub use self::{
    cart::{Cart, CartV1},
    coupon::{Coupon, CouponV1},
    server::run,
};
