//! Sessions in the memory of this process: the embedded default, and a cache of the same kind.

#[cfg(feature = "layered-store")]
mod cache;
mod clock;
mod store;

#[cfg(feature = "layered-store")]
pub use self::cache::{MemoryCache, MemoryCacheBuilder};
pub use self::{
    clock::{Clock, ManualClock, SystemClock},
    store::{MemoryStore, MemoryStoreBuilder},
};
