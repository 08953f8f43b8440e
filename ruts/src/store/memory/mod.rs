//! [`MemoryStore`] and `MemoryCache`: sessions, or copies of them, in the memory of this process.
//!
//! Used by applications and tests. Data is lost when the process ends.

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
