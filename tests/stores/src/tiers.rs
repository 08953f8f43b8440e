//! A cache and an origin on servers, and stores of several processes on them.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::clients::Client;
use ruts::{
    store::{
        Cache, CacheLookup, CachedField, CachedRecord, Credentials, Lease, Projection, SharedCache,
        StoreError, StoreErrorKind, Touch, WriteIntent,
        layered::{LayeredStore, LayeredStoreBuilder},
        postgres::{PostgresStore, PostgresStoreBuilder},
        redis::RedisStore,
    },
    token::SessionId,
};
use ruts_tests_support::{LONG_TIMEOUT, delegate_cache};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    Proxy,
    backends::{fred_client, redis_store},
    servers::{Flavour, Postgres, Prefix, Redis, Schema},
};

/// The cache of these tests.
pub type RedisCache = RedisStore<Client>;

/// The store of these tests.
pub type Layered<C = RedisCache> = LayeredStore<C, PostgresStore>;

/// The builder of a [`Layered`] store.
pub type LayeredBuilder<C = RedisCache> = LayeredStoreBuilder<C, PostgresStore>;

/// The servers of a cache and of an origin.
pub struct Tiers<P> {
    /// The server of the cache.
    pub redis: Redis,
    /// The server of the origin.
    pub postgres: P,
    prefix: Prefix,
    schema: Schema,
}

/// Addresses of both tiers.
pub struct Urls {
    /// URL of the cache.
    pub cache: String,
    /// URL of the origin.
    pub origin: String,
}

/// Proxies between the store of one process and both tiers.
pub struct Proxies {
    /// The proxy in front of the cache.
    pub cache: Proxy,
    /// The proxy in front of the origin.
    pub origin: Proxy,
    /// The connections to the origin.
    pub pool: PgPool,
}

impl Tiers<&'static Postgres> {
    /// Starts a server for the cache. The origin is the PostgreSQL server that tests share.
    pub fn start(flavour: Flavour) -> Self {
        Self::on(Redis::start(flavour, &[]), Postgres::shared())
    }
}

impl<P: Deref<Target = Postgres>> Tiers<P> {
    /// Uses these servers.
    pub fn on(redis: Redis, postgres: P) -> Self {
        let schema = postgres.schema();
        Self { redis, postgres, prefix: Prefix::unique(), schema }
    }

    /// Returns the key of the cache entry of a session.
    pub fn entry_key(&self, id: &SessionId) -> String {
        let id = id.to_string();
        format!("{}:{{{}}}{}:hot", self.prefix.name(), &id[..2], &id[2..])
    }

    /// Returns the prefix of the keys of the cache.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Returns the schema of the tables of the origin.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the addresses of the servers.
    pub fn urls(&self) -> Urls {
        Urls { cache: self.redis.url().to_owned(), origin: self.postgres.url().to_owned() }
    }

    /// Returns a cache with a connected client of its own.
    pub async fn cache(&self, urls: &Urls) -> RedisCache {
        let cache = redis_store(fred_client(&urls.cache).await, &self.prefix);
        Cache::check(&cache).await.unwrap();
        cache
    }

    /// Returns the builder of an origin with this pool.
    pub fn origin_builder(&self, pool: PgPool) -> PostgresStoreBuilder {
        let builder = PostgresStore::builder(pool).create_tables(true);
        builder.schema_name(self.schema.name()).timeout(LONG_TIMEOUT).cleanup_interval(None)
    }

    /// Returns an origin with a pool of its own, and that pool.
    pub async fn origin(&self, urls: &Urls) -> (PostgresStore, PgPool) {
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&urls.origin).unwrap();
        (self.origin_builder(pool.clone()).build().await.unwrap(), pool)
    }

    /// Returns the origin without a cache, for comparisons.
    pub async fn origin_alone(&self) -> Arc<PostgresStore> {
        Arc::new(self.origin(&self.urls()).await.0)
    }

    /// Returns the builder of a store with connections of its own, as another process would have.
    pub async fn builder(&self) -> LayeredBuilder {
        let urls = self.urls();
        let (origin, _) = self.origin(&urls).await;
        with_long_timeouts(LayeredStore::builder(self.cache(&urls).await, origin))
    }

    /// Returns a store with connections of its own, as another process would have.
    pub async fn store(&self) -> Arc<Layered> {
        Arc::new(self.builder().await.build())
    }

    /// Starts proxies in front of both tiers. Returns them and their addresses.
    async fn proxies(&self) -> (Proxy, Proxy, Urls) {
        let cache = Proxy::before(&self.redis.address()).await;
        let origin = Proxy::before(&self.postgres.address()).await;
        let urls = Urls {
            cache: format!("redis://{}", cache.address()),
            origin: self.postgres.url().replace(&self.postgres.address(), origin.address()),
        };
        (cache, origin, urls)
    }

    /// Starts proxies in front of both tiers, for a process that a test starts. Returns them and
    /// their addresses.
    pub async fn proxies_for_process(&self) -> (Proxies, Urls) {
        let (cache, origin, urls) = self.proxies().await;
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&urls.origin).unwrap();
        (Proxies { cache, origin, pool }, urls)
    }

    /// Returns the builder of a store behind proxies, with its cache wrapped by `wrap`.
    pub async fn proxied_builder<C: SharedCache>(
        &self,
        wrap: impl FnOnce(RedisCache) -> C,
    ) -> (LayeredBuilder<C>, Proxies) {
        let (cache, origin, urls) = self.proxies().await;
        let (store, pool) = self.origin(&urls).await;
        let builder = LayeredStore::builder(wrap(self.cache(&urls).await), store);
        (with_long_timeouts(builder), Proxies { cache, origin, pool })
    }

    /// Returns a store behind proxies, with its cache wrapped by `wrap`.
    pub async fn proxied_store<C: SharedCache>(
        &self,
        wrap: impl FnOnce(RedisCache) -> C,
    ) -> (Arc<Layered<C>>, Proxies) {
        let (builder, proxies) = self.proxied_builder(wrap).await;
        (Arc::new(builder.build()), proxies)
    }
}

fn with_long_timeouts<C: Cache>(builder: LayeredBuilder<C>) -> LayeredBuilder<C> {
    builder.cache_timeout(LONG_TIMEOUT).origin_timeout(LONG_TIMEOUT)
}

/// A cache that can fail, and that counts its hits.
#[derive(Clone)]
pub struct FaultyCache {
    cache: RedisCache,
    fault: CacheFault,
    hits: Arc<AtomicUsize>,
}

impl FaultyCache {
    /// Wraps a cache. Adds its hits to `hits`.
    pub fn new(cache: RedisCache, fault: CacheFault, hits: &Arc<AtomicUsize>) -> Self {
        Self { cache, fault, hits: Arc::clone(hits) }
    }
}

/// A fault of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheFault {
    /// No fault.
    None,
    /// A reader fills the cache after this time, even if the session was written to since the
    /// lookup. Most caches work like this.
    IgnoresLeases(Duration),
    /// `finish_write` always fails, and removes no write intent.
    NeverFinishesWrites,
}

#[deny(clippy::missing_trait_methods)]
impl Cache for FaultyCache {
    delegate_cache!(self.cache: begin_write evict clear check);

    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn lookup(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<CacheLookup, StoreError> {
        let lookup = self.cache.lookup(credentials, fields, touch).await;
        if let Ok(CacheLookup::Hit(_)) = lookup {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        lookup
    }

    async fn finish_write(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        fields: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        match self.fault {
            CacheFault::NeverFinishesWrites => {
                Err(StoreError::new("faulty", StoreErrorKind::Unavailable))
            }
            CacheFault::None | CacheFault::IgnoresLeases(_) => {
                self.cache.finish_write(id, intent, fields).await
            }
        }
    }

    async fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        fields: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let CacheFault::IgnoresLeases(delay) = self.fault else {
            return self.cache.fill(credentials, lease, record, fields).await;
        };
        tokio::time::sleep(delay).await;
        let unknown = Projection::Named(&["a field that never exists"]);
        match self.cache.lookup(credentials, unknown, None).await? {
            CacheLookup::Miss(Some(lease)) => {
                self.cache.fill(credentials, &lease, record, fields).await
            }
            _ => Ok(()),
        }
    }
}

impl SharedCache for FaultyCache {}
