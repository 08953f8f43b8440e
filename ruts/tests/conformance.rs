//! The conformance suite on what is embedded: the store, and a cache before it.
#![cfg(feature = "conformance")]

use std::{sync::Arc, time::Duration};

use ruts::{
    conformance::Subject,
    store::memory::{ManualClock, MemoryStore},
};

mod store {
    use super::*;

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
}

#[cfg(feature = "layered-store")]
mod cached {
    use bytes::Bytes;
    use ruts::PrincipalKey;
    use ruts::store::{
        Access, Confirmed, Create, Fields, Listing, Loaded, Lookup, Page, Revoked, Store,
        StoreError, Take, Touch, Update, Updated, Whom, layered::LayeredStore, memory::MemoryCache,
    };

    use super::*;

    /// A store whose every read comes after another one that warmed the cache.
    struct Warm<S>(S);

    impl<S: Store> Store for Warm<S> {
        fn name(&self) -> &'static str {
            self.0.name()
        }

        async fn load(
            &self,
            access: Access<'_>,
            fields: Fields<'_>,
            touch: Option<Touch>,
        ) -> Result<Lookup<Loaded>, StoreError> {
            self.0.load(access, fields, touch).await?;
            // The cache is filled by a task.
            tokio::task::yield_now().await;
            self.0.load(access, fields, touch).await
        }

        async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
            self.0.create(create).await
        }

        async fn update(
            &self,
            access: Access<'_>,
            update: Update<'_>,
        ) -> Result<Lookup<Updated>, StoreError> {
            self.0.update(access, update).await
        }

        async fn take(
            &self,
            access: Access<'_>,
            take: Take<'_>,
        ) -> Result<Lookup<Option<Bytes>>, StoreError> {
            self.0.take(access, take).await
        }

        async fn delete(&self, access: Access<'_>) -> Result<Lookup<()>, StoreError> {
            self.0.delete(access).await
        }

        async fn peek(
            &self,
            handle: &ruts::Handle,
        ) -> Result<Option<ruts::store::Meta>, StoreError> {
            self.0.peek(handle).await
        }

        fn changed(&self, handle: &ruts::Handle) -> impl Future<Output = ()> + Send + 'static {
            self.0.changed(handle)
        }

        async fn find(
            &self,
            principal: &PrincipalKey,
            page: Page<'_>,
            fields: Fields<'_>,
        ) -> Result<Listing, StoreError> {
            self.0.find(principal, page, fields).await
        }

        async fn revoke(
            &self,
            principal: &PrincipalKey,
            whom: Whom<'_>,
        ) -> Result<Revoked, StoreError> {
            self.0.revoke(principal, whom).await
        }

        async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
            self.0.revoke_everyone().await
        }

        async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
            self.0.sweep(limit).await
        }
    }

    type Layered = Warm<LayeredStore<MemoryCache, MemoryStore>>;

    struct Cached {
        clock: ManualClock,
        store: Arc<Layered>,
    }

    impl Subject for Cached {
        type Store = Layered;

        async fn set_up() -> Self {
            let clock = ManualClock::new();
            let hot = MemoryCache::with_clock(100, clock.clone());
            let cold = MemoryStore::builder().clock(clock.clone()).build();
            let store = Arc::new(Warm(LayeredStore::in_one_process(hot, cold)));
            Self { clock, store }
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
