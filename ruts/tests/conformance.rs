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
        Confirmed, Create, Credentials, Loaded, Lookup, PageRequest, Projection, RevokeTarget,
        Revoked, SessionPage, Store, StoreError, TakeField, Touch, Update, Updated,
        layered::LayeredStore, memory::MemoryCache,
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
            credentials: Credentials<'_>,
            fields: Projection<'_>,
            touch: Option<Touch>,
        ) -> Result<Lookup<Loaded>, StoreError> {
            self.0.load(credentials, fields, touch).await?;
            // The cache is filled by a task.
            tokio::task::yield_now().await;
            self.0.load(credentials, fields, touch).await
        }

        async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
            self.0.create(create).await
        }

        async fn update(
            &self,
            credentials: Credentials<'_>,
            update: Update<'_>,
        ) -> Result<Lookup<Updated>, StoreError> {
            self.0.update(credentials, update).await
        }

        async fn take(
            &self,
            credentials: Credentials<'_>,
            take: TakeField<'_>,
        ) -> Result<Lookup<Option<Bytes>>, StoreError> {
            self.0.take(credentials, take).await
        }

        async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
            self.0.delete(credentials).await
        }

        async fn inspect(
            &self,
            id: &ruts::SessionId,
        ) -> Result<Option<ruts::store::SessionMeta>, StoreError> {
            self.0.inspect(id).await
        }

        fn wait_for_change(
            &self,
            id: &ruts::SessionId,
        ) -> impl Future<Output = ()> + Send + 'static {
            self.0.wait_for_change(id)
        }

        async fn list_by_principal(
            &self,
            principal: &PrincipalKey,
            page: PageRequest<'_>,
            fields: Projection<'_>,
        ) -> Result<SessionPage, StoreError> {
            self.0.list_by_principal(principal, page, fields).await
        }

        async fn revoke(
            &self,
            principal: &PrincipalKey,
            target: RevokeTarget<'_>,
        ) -> Result<Revoked, StoreError> {
            self.0.revoke(principal, target).await
        }

        async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
            self.0.revoke_everyone().await
        }

        async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
            self.0.delete_expired(limit).await
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
