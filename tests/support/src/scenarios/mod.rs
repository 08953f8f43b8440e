//! Scenarios over HTTP that run on any store.
//!
//! `tests/http` runs them on the stores in memory, `tests/stores` on servers, `tests/sqlite` on
//! files.
#![allow(missing_docs, reason = "the fields of `#[session]` structs")]

pub mod encryption;
pub mod field_index;
pub mod lossy_browser;
pub mod races;
pub mod sign_in;
pub mod sign_in_model;
pub mod stored_values;
pub mod versions;
pub mod watch;
