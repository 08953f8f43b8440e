//! Runs the conformance suite on the stores in memory.

use std::{sync::Arc, time::Duration};

use ruts::{
    conformance::Subject,
    store::{
        Credentials, Loaded, Projection, Store, StoreResult, Touch,
        layered::LayeredStore,
        memory::{Clock, ManualClock, MemoryCache, MemoryStore},
    },
};
use ruts_tests_support::delegate_store;

mod memory {
    use super::*;

    struct Memory {
        clock: ManualClock,
        store: Arc<MemoryStore>,
    }

    impl Subject for Memory {
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

    ruts::conformance_tests!(Memory);
    ruts::record_store_tests!(Memory);
}

/// A clock of whole seconds is precise enough if the unit is longer.
mod whole_seconds {
    use super::*;

    #[derive(Clone, Default)]
    struct WholeSeconds(ManualClock);

    impl Clock for WholeSeconds {
        fn now(&self) -> Duration {
            Duration::from_secs(self.0.now().as_secs())
        }
    }

    struct Coarse {
        clock: ManualClock,
        store: Arc<MemoryStore>,
    }

    impl Subject for Coarse {
        type Store = MemoryStore;

        async fn set_up() -> Self {
            let clock = WholeSeconds::default();
            clock.0.advance(Duration::from_millis(300));
            let store = MemoryStore::builder().clock(clock.clone()).build();
            Self { clock: clock.0, store: Arc::new(store) }
        }

        fn store(&self) -> Arc<MemoryStore> {
            Arc::clone(&self.store)
        }

        async fn pass(&self, time: Duration) {
            self.clock.advance(time);
        }

        fn unit(&self) -> Duration {
            Duration::from_secs(4)
        }
    }

    ruts::conformance_tests!(Coarse);
}

mod cached {
    use super::*;

    /// A store that carries out each read twice, so that the cache can answer the second one.
    struct ReadTwice<S>(S);

    #[deny(clippy::missing_trait_methods)]
    impl<S: Store> Store for ReadTwice<S> {
        delegate_store!(self.0: name create update take delete inspect expiry
            wait_for_change list_by_principal revoke revoke_everyone hint_cache_policy delete_expired);

        async fn load(
            &self,
            credentials: Credentials<'_>,
            fields: Projection<'_>,
            touch: Option<Touch>,
        ) -> StoreResult<Loaded> {
            let _ = self.0.load(credentials, fields, touch).await?;
            // A separate task fills the cache.
            tokio::task::yield_now().await;
            self.0.load(credentials, fields, touch).await
        }
    }

    type Layered = ReadTwice<LayeredStore<MemoryCache, MemoryStore>>;

    struct Cached {
        clock: ManualClock,
        store: Arc<Layered>,
    }

    impl Subject for Cached {
        type Store = Layered;

        async fn set_up() -> Self {
            let clock = ManualClock::new();
            let cache = MemoryCache::builder(100).clock(clock.clone()).build();
            let origin = MemoryStore::builder().clock(clock.clone()).build();
            let store = ReadTwice(LayeredStore::builder(cache, origin).build_for_one_process());
            Self { clock, store: Arc::new(store) }
        }

        fn store(&self) -> Arc<Layered> {
            Arc::clone(&self.store)
        }

        async fn pass(&self, time: Duration) {
            self.clock.advance(time);
        }

        fn rounds(&self) -> usize {
            200
        }
    }

    ruts::conformance_tests!(Cached);
}
