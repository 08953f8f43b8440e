//! Sessions in a store of record, read through a cache that cannot serve what was deleted.

mod doubts;
mod hot;
mod plan;
mod policies;
mod store;

pub use self::store::LayeredStore;
