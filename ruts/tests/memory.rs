//! The conformance suite on the embedded store.
#![cfg(feature = "conformance")]

use std::{sync::Arc, time::Duration};

use ruts::{
    conformance::Subject,
    store::memory::{ManualClock, MemoryStore},
};

struct InMemory {
    clock: ManualClock,
    store: Arc<MemoryStore>,
}

impl Subject for InMemory {
    type Store = MemoryStore;

    async fn set_up() -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        Self { clock, store: Arc::new(store) }
    }

    fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.store)
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn rounds(&self) -> usize {
        500
    }
}

ruts::conformance_tests!(InMemory);
