//! Sessions in this process's memory: the embedded default.

#[cfg(feature = "layered-store")]
mod cache;
mod clock;
mod record;
mod store;

#[cfg(feature = "layered-store")]
pub use self::cache::MemoryCache;
pub use self::{
    clock::{Clock, ManualClock, SystemClock},
    store::{MemoryStore, MemoryStoreBuilder},
};
