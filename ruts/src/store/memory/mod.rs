//! [`MemoryStore`] and `MemoryCache`: sessions, or copies of them, in the memory of this process.
//!
//! Data is lost when the process ends.

// Used by applications and tests.

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
