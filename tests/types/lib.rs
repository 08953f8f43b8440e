//! Value types that change between two releases on one store.
//!
//! `changes` lists the changes. `matrix` lets each release read values of the other one, with both
//! codecs. `preserve` lets the previous release update values of the new one. `lock` compares the
//! releases without running both.
#![cfg(test)]

mod change;
mod changes;
mod lock;
mod matrix;
mod order_id;
mod partly_known;
mod preserve;
