//! Types of session values that change between two releases on one store.
//!
//! `changes` lists the changes. `matrix` lets each release read what the other one has written, with
//! both codecs. `preserve` lets the old release update what the new one has written.
//! `lock` compares the releases without running both.
#![cfg(test)]

mod change;
mod changes;
mod lock;
mod matrix;
mod preserve;
