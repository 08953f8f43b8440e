//! A store of every kind on the servers that the tests of a process share.

use std::{
    any::Any,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::{Client, Pool},
    interfaces::ClientLike,
    types::config::Config,
};
use redis::{aio::ConnectionManager, cluster::ClusterClientBuilder};
use ruts::store::{
    SharedCache, Store,
    layered::LayeredStore,
    memory::{MemoryCache, MemoryStore},
    postgres::{PostgresStore, PostgresStoreBuilder},
    redis::{RedisClient, RedisCluster, RedisStore},
};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    Crowd,
    servers::{Cluster, Flavour, PgBouncer, Postgres, Prefix, Redis},
};

/// The same sessions through two stores, each with connections of its own.
pub struct Pair<S> {
    stores: [Arc<S>; 2],
    next: AtomicUsize,
    /// The part of the server that is theirs.
    room: Box<dyn Any + Send + Sync>,
}

impl<S> Pair<S> {
    fn new(stores: [S; 2], room: impl Any + Send + Sync) -> Self {
        Self { stores: stores.map(Arc::new), next: AtomicUsize::new(0), room: Box::new(room) }
    }

    /// One and the other, in turn.
    pub fn next(&self) -> Arc<S> {
        Arc::clone(&self.stores[self.next.fetch_add(1, Ordering::Relaxed) % 2])
    }
}

/// A client of fred without any settings of its own.
pub async fn fred_client(url: &str) -> Client {
    let client = Client::new(Config::from_url(url).unwrap(), None, None, None);
    client.init().await.unwrap();
    client
}

/// Several connections of fred without any settings of their own.
pub async fn fred_pool(url: &str) -> Pool {
    let pool = Pool::new(Config::from_url(url).unwrap(), None, None, None, 3).unwrap();
    pool.init().await.unwrap();
    pool
}

/// A connection of redis-rs that reconnects.
pub async fn manager(url: &str) -> ConnectionManager {
    redis::Client::open(url).unwrap().get_connection_manager().await.unwrap()
}

/// A cluster client of redis-rs.
pub async fn redis_cluster(cluster: &Cluster) -> RedisCluster {
    let builder = ClusterClientBuilder::new(cluster.urls());
    RedisCluster::connect(builder, Duration::from_secs(2)).await.unwrap()
}

/// A cluster client of fred.
pub async fn fred_cluster(cluster: &Cluster) -> Client {
    fred_client(&cluster.urls()[0].replace("redis://", "redis-cluster://")).await
}

/// A store with a prefix of its own.
pub fn redis_store<C: RedisClient>(client: C, prefix: &Prefix) -> RedisStore<C> {
    RedisStore::new(Arc::new(client)).with_prefix(prefix.name())
}

fn redis_pair<C: RedisClient>(prefix: Prefix, clients: [C; 2]) -> Pair<RedisStore<C>> {
    Pair::new(clients.map(|client| redis_store(client, &prefix)), prefix)
}

/// In memory.
pub async fn memory() -> Pair<MemoryStore> {
    let store = MemoryStore::new();
    Pair::new([store.clone(), store], ())
}

/// Redis through a pool of fred.
pub async fn redis_through_fred() -> Pair<RedisStore<Pool>> {
    let server = Redis::shared(Flavour::Redis);
    redis_pair(server.prefix(), [fred_pool(server.url()).await, fred_pool(server.url()).await])
}

/// Redis through redis-rs.
pub async fn redis_through_redis_rs() -> Pair<RedisStore<ConnectionManager>> {
    let server = Redis::shared(Flavour::Redis);
    redis_pair(server.prefix(), [manager(server.url()).await, manager(server.url()).await])
}

/// Valkey through a client of fred.
pub async fn valkey_through_fred() -> Pair<RedisStore<Client>> {
    let server = Redis::shared(Flavour::Valkey);
    redis_pair(server.prefix(), [fred_client(server.url()).await, fred_client(server.url()).await])
}

/// Redis through a pool of fred, where every operation has others beside it.
pub async fn crowded_redis() -> Pair<Crowd<RedisStore<Pool>>> {
    crowded(redis_through_fred().await, |store| store.with_in_flight(1)).await
}

/// Valkey through redis-rs, likewise.
pub async fn crowded_valkey() -> Pair<Crowd<RedisStore<ConnectionManager>>> {
    let server = Redis::shared(Flavour::Valkey);
    let clients = [manager(server.url()).await, manager(server.url()).await];
    crowded(redis_pair(server.prefix(), clients), |store| store.with_in_flight(1)).await
}

/// PostgreSQL, likewise: with so few connections, one read and one write are under way at a time.
pub async fn crowded_postgres() -> Pair<Crowd<PostgresStore>> {
    crowded(postgres_pair(|| Postgres::shared().pool(3)).await, |store| store).await
}

async fn crowded<S: Store + Clone>(pair: Pair<S>, one_by_one: impl Fn(S) -> S) -> Pair<Crowd<S>> {
    let [first, second] = pair.stores.each_ref().map(|store| one_by_one(S::clone(store)));
    Pair::new([Crowd::around(first).await, Crowd::around(second).await], pair.room)
}

/// A cluster through a client of fred.
pub async fn cluster_through_fred() -> Pair<RedisStore<Client>> {
    let cluster = Cluster::shared();
    redis_pair(Prefix::unique(), [fred_cluster(cluster).await, fred_cluster(cluster).await])
}

/// A cluster through redis-rs.
pub async fn cluster_through_redis_rs() -> Pair<RedisStore<RedisCluster>> {
    let cluster = Cluster::shared();
    redis_pair(Prefix::unique(), [redis_cluster(cluster).await, redis_cluster(cluster).await])
}

async fn postgres_pair(pool: impl Fn() -> PgPool) -> Pair<PostgresStore> {
    let schema = Postgres::shared().schema();
    let store = async || {
        let builder = PostgresStoreBuilder::new(pool(), true).schema_name(schema.name());
        builder.cleanup_interval(None).build().await.unwrap()
    };
    Pair::new([store().await, store().await], schema)
}

/// PostgreSQL.
pub async fn postgres() -> Pair<PostgresStore> {
    postgres_pair(|| Postgres::shared().pool(5)).await
}

/// PostgreSQL behind a pooler in transaction mode, with fewer connections than its clients.
pub async fn postgres_through_a_pooler() -> Pair<PostgresStore> {
    static POOLER: OnceLock<PgBouncer> = OnceLock::new();
    let pooler = POOLER.get_or_init(|| PgBouncer::start(Postgres::shared(), 4));
    let options = || PgPoolOptions::new().max_connections(8);
    postgres_pair(|| options().connect_lazy(pooler.url()).unwrap()).await
}

/// Redis as a cache, through a pool of fred, over PostgreSQL.
pub async fn redis_over_postgres() -> Pair<LayeredStore<RedisStore<Pool>, PostgresStore>> {
    layered(redis_through_fred().await, postgres().await)
}

/// Valkey as a cache, through redis-rs, over PostgreSQL.
pub async fn valkey_over_postgres()
-> Pair<LayeredStore<RedisStore<ConnectionManager>, PostgresStore>> {
    let server = Redis::shared(Flavour::Valkey);
    let clients = [manager(server.url()).await, manager(server.url()).await];
    layered(redis_pair(server.prefix(), clients), postgres().await)
}

/// A cluster as a cache over Redis.
pub async fn cluster_over_redis()
-> Pair<LayeredStore<RedisStore<RedisCluster>, RedisStore<ConnectionManager>>> {
    layered(cluster_through_redis_rs().await, redis_through_redis_rs().await)
}

/// Redis over PostgreSQL, where every operation has others beside it.
pub async fn crowded_redis_over_postgres()
-> Pair<Crowd<LayeredStore<RedisStore<Pool>, PostgresStore>>> {
    let Pair { stores, room, .. } = redis_through_fred().await;
    let hot = Pair::new(stores.map(|store| (*store).clone().with_in_flight(1)), room);
    crowded(layered(hot, postgres().await), |store| store).await
}

fn layered<H: SharedCache + Clone, C: Store + Clone>(
    hot: Pair<H>,
    cold: Pair<C>,
) -> Pair<LayeredStore<H, C>> {
    let store = |index: usize| {
        let tiers = ((*hot.stores[index]).clone(), (*cold.stores[index]).clone());
        // For a busy machine.
        LayeredStore::new(tiers.0, tiers.1).with_hot_timeout(Duration::from_secs(10))
    };
    let stores = [store(0), store(1)];
    Pair::new(stores, (hot.room, cold.room))
}

/// A cache in this process over PostgreSQL.
pub async fn memory_over_postgres() -> Pair<LayeredStore<MemoryCache, PostgresStore>> {
    let cold = postgres().await;
    let store = LayeredStore::in_one_process(MemoryCache::new(1000), (*cold.stores[0]).clone());
    Pair::new([store.clone(), store], cold.room)
}

/// Waits until a connection is back in the pool, which tests it on the way.
pub async fn idle(pool: &PgPool) {
    while pool.num_idle() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
