//! Sessions in this process's memory: the embedded default.

mod clock;
mod record;
mod store;

pub use self::{
    clock::{Clock, ManualClock, SystemClock},
    store::{MemoryStore, MemoryStoreBuilder},
};
