//! The handlers, one file for each part of the shop.

pub(crate) mod account;
pub(crate) mod cart;
pub(crate) mod catalogue;
pub(crate) mod checkout;
pub(crate) mod devices;
pub(crate) mod live;
pub(crate) mod theme;
