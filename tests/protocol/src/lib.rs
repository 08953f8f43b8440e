//! A model of the protocol by which `ruts::store::layered::LayeredStore` keeps its cache consistent
//! with its origin.
//!
//! It models one session with two fields, an origin that keeps every commit, and a cache that may
//! lose anything. [`search`] visits every interleaving of writers, readers and a deletion. Commands
//! may fail, arrive late or run twice. Processes may die. The cache may lose its data, or restart
//! with older data.
//!
//! The tests show that the protocol holds. They also show that the search finds violations. It
//! finds them in each of the common alternatives, and in the protocol if any part is missing.

mod cache;
mod search;
mod state;

pub use self::{
    cache::{BOTH, Mask, ONE, Protocol},
    search::{Outcome, search},
    state::{Event, Scenario, Setting, Violation},
};
