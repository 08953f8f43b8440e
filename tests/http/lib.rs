//! Tests of the public API of ruts that need neither a server nor a driver.
//!
//! Most tests send requests to an application through `ruts::testing::Client`. The conformance
//! suite runs on the stores in memory. All tests are one binary, so that a change in `ruts` is
//! tested in seconds: `cargo test -p ruts-tests-http`. To run only a part of the tests, add
//! `-- cookies::`.
#![cfg(test)]

mod broken_stores;
mod clients;
mod conformance;
mod cookie_jar;
mod cookies;
mod cross_site;
mod encryption;
mod events;
mod field_index;
mod guards;
mod identity;
mod jobs;
mod lifetimes;
mod lossy_browser;
mod lost_sign_ins;
mod misuse;
mod ordinary_life;
mod own_fields;
mod readme;
mod record_map;
mod record_store;
mod reference;
mod remember;
mod renewal;
mod revocations;
mod schema;
mod sign_in;
mod sign_in_model;
mod sources;
mod successors;
mod testing;
mod token_status;
mod typed;
mod unknown_outcome;
mod watch;
