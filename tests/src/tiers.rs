//! Two tiers on real servers, and processes that use them, each with connections of its own.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::clients::Client;
use ruts::store::{
    Cache, CacheLookup, CachedField, CachedRecord, Credentials, InvalidationScope, Lease,
    Projection, SharedCache, StoreError, StoreErrorKind, Touch, WriteIntent,
    layered::LayeredStore,
    postgres::{PostgresStore, PostgresStoreBuilder},
    redis::RedisStore,
};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    Proxy,
    backends::{fred_client, redis_store},
    servers::{Flavour, Postgres, Prefix, Redis, Schema},
};

/// The cache of these tests.
pub type CachePolicy = RedisStore<Client>;

/// The store of these tests.
pub type Layered<H = CachePolicy> = LayeredStore<H, PostgresStore>;

/// A cache before a store of record.
pub struct Tiers<P> {
    /// The cache's server.
    pub redis: Redis,
    /// The server of record.
    pub postgres: P,
    prefix: Prefix,
    schema: Schema,
}

/// How to reach both tiers.
pub struct Route {
    /// The cache's URL.
    pub hot: String,
    /// That of the server of record.
    pub cold: String,
}

/// A process behind proxies of its own.
pub struct Held {
    /// Before the cache.
    pub hot: Proxy,
    /// Before the store of record.
    pub cold: Proxy,
    /// The connections to the store of record.
    pub pool: PgPool,
}

impl Tiers<&'static Postgres> {
    /// A cache of its own before the PostgreSQL that tests share.
    pub fn new(flavour: Flavour) -> Self {
        Self::of(Redis::start(flavour, &[]), Postgres::shared())
    }
}

impl<P: Deref<Target = Postgres>> Tiers<P> {
    /// These servers.
    pub fn of(redis: Redis, postgres: P) -> Self {
        let schema = postgres.schema();
        Self { redis, postgres, prefix: Prefix::unique(), schema }
    }

    /// The key of what the cache holds of a session.
    pub fn entry(&self, id: &ruts::SessionId) -> String {
        {
            let id = id.to_string();
            format!("{}:{{{}}}{}:hot", self.prefix.name(), &id[..2], &id[2..])
        }
    }

    /// The part of the cache's server that is theirs.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The part of the server of record that is theirs.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The way without a detour.
    pub fn route(&self) -> Route {
        Route { hot: self.redis.url().to_owned(), cold: self.postgres.url().to_owned() }
    }

    /// A cache, through a client of its own.
    pub async fn cache(&self, route: &Route) -> CachePolicy {
        redis_store(fred_client(&route.hot).await, &self.prefix).with_timeout(PATIENCE)
    }

    /// The store of record, through a pool of its own.
    pub async fn cold(&self, route: &Route) -> (PostgresStore, PgPool) {
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&route.cold).unwrap();
        let builder = PostgresStoreBuilder::new(pool.clone(), true)
            .schema_name(self.schema.name())
            .timeout(PATIENCE)
            .cleanup_interval(None);
        (builder.build().await.unwrap(), pool)
    }

    /// A process that waits long for both tiers.
    pub async fn process(&self) -> Arc<Layered> {
        let route = self.route();
        let (cold, _) = self.cold(&route).await;
        Arc::new(patient(LayeredStore::new(self.cache(&route).await, cold)))
    }

    /// Proxies before both tiers, and the way through them.
    pub async fn hold(&self) -> (Held, Route) {
        let hot = Proxy::before(&self.redis.address()).await;
        let cold = Proxy::before(&self.postgres.address()).await;
        let route = Route {
            hot: format!("redis://{}", hot.address()),
            cold: self.postgres.url().replace(&self.postgres.address(), cold.address()),
        };
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&route.cold).unwrap();
        (Held { hot, cold, pool }, route)
    }

    /// A process behind proxies, with this done to its cache.
    pub async fn held_process<H: SharedCache>(
        &self,
        wrap: impl FnOnce(CachePolicy) -> H,
    ) -> (Arc<Layered<H>>, Held) {
        let (mut held, route) = self.hold().await;
        let (cold, pool) = self.cold(&route).await;
        held.pool = pool;
        (Arc::new(patient(LayeredStore::new(wrap(self.cache(&route).await), cold))), held)
    }
}

/// Longer than anything takes that is held up on purpose.
const PATIENCE: Duration = Duration::from_secs(15);

fn patient<H: Cache>(store: Layered<H>) -> Layered<H> {
    store.with_hot_timeout(PATIENCE).with_cold_timeout(PATIENCE)
}

/// A cache with a fault, which counts its hits.
#[derive(Clone)]
pub struct Faulty {
    cache: CachePolicy,
    fault: Fault,
    hits: Arc<AtomicUsize>,
}

impl Faulty {
    /// A cache of which this is wrong. Its hits are added to others'.
    pub fn new(cache: CachePolicy, fault: Fault, hits: &Arc<AtomicUsize>) -> Self {
        Self { cache, fault, hits: Arc::clone(hits) }
    }
}

/// What a cache does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Sound,
    /// It is filled whatever happened since the reader came, as most caches are, and only after this
    /// time.
    Careless(Duration),
    /// It never finishes what was fenced.
    Unfinished,
}

impl Cache for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn lookup(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<CacheLookup, StoreError> {
        let look = self.cache.lookup(credentials, fields, touch).await;
        if let Ok(CacheLookup::Hit(_)) = look {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        look
    }

    async fn begin_write(
        &self,
        id: &ruts::SessionId,
        scope: InvalidationScope<'_>,
        life: Duration,
    ) -> Result<WriteIntent, StoreError> {
        self.cache.begin_write(id, scope, life).await
    }

    async fn finish_write(
        &self,
        id: &ruts::SessionId,
        intent: &WriteIntent,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        match self.fault {
            Fault::Unfinished => Err(StoreError::new("faulty", StoreErrorKind::Unavailable)),
            Fault::Sound | Fault::Careless(_) => self.cache.finish_write(id, intent, items).await,
        }
    }

    async fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let Fault::Careless(delay) = self.fault else {
            return self.cache.fill(credentials, lease, record, items).await;
        };
        tokio::time::sleep(delay).await;
        let nothing = Projection::Named(&["a field that is never there"]);
        match self.cache.lookup(credentials, nothing, None).await? {
            CacheLookup::Miss(Some(lease)) => {
                self.cache.fill(credentials, &lease, record, items).await
            }
            _ => Ok(()),
        }
    }

    async fn evict(&self, id: &ruts::SessionId) -> Result<(), StoreError> {
        self.cache.evict(id).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.cache.clear().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.cache.check().await
    }
}

impl SharedCache for Faulty {}

/// Waits until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
