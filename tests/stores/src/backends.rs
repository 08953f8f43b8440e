//! A store of every kind, on the servers that the tests of a process share.
//!
//! Most functions return two stores with the same sessions. Their timeouts are long, because no
//! test that uses them is about timeouts.

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
    types::config::Config,
};
pub use redis::Client as RedisRsClient;
use redis::cluster::ClusterClientBuilder;
use ruts::store::{
    SharedCache, Store,
    layered::LayeredStore,
    memory::{MemoryCache, MemoryStore},
    mysql::{MySqlStore, MySqlStoreBuilder},
    postgres::PostgresStore,
    redis::{RedisClient, RedisCluster, RedisStore, RedisStoreBuilder},
};
use ruts_tests_support::{LONG_TIMEOUT, wait_until};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    Batched,
    servers::{Cluster, Flavour, MySql, PgBouncer, Postgres, Prefix, Redis, Schema, unique_tables},
};

/// The same sessions through two stores, each with connections of its own.
pub struct Pair<S> {
    stores: [Arc<S>; 2],
    next: AtomicUsize,
    /// The part of the server that the stores use.
    namespace: Box<dyn Any + Send + Sync>,
}

impl<S> Pair<S> {
    fn new(stores: [S; 2], namespace: impl Any + Send + Sync) -> Self {
        let namespace = Box::new(namespace);
        Self { stores: stores.map(Arc::new), next: AtomicUsize::new(0), namespace }
    }

    /// Returns the two stores in turn.
    pub fn next(&self) -> Arc<S> {
        Arc::clone(&self.stores[self.next.fetch_add(1, Ordering::Relaxed) % 2])
    }
}

/// Returns a fred client with its default settings.
pub async fn fred_client(url: &str) -> Client {
    Client::new(Config::from_url(url).unwrap(), None, None, None)
}

/// Returns a fred pool with its default settings.
pub async fn fred_pool(url: &str) -> Pool {
    Pool::new(Config::from_url(url).unwrap(), None, None, None, 3).unwrap()
}

/// Returns a redis-rs client.
pub async fn redis_rs_client(url: &str) -> RedisRsClient {
    RedisRsClient::open(url).unwrap()
}

/// Returns a redis-rs cluster client, with a long timeout.
pub async fn redis_cluster(cluster: &Cluster) -> RedisCluster {
    redis_cluster_with(cluster, LONG_TIMEOUT)
}

/// Returns a redis-rs cluster client.
pub fn redis_cluster_with(cluster: &Cluster, timeout: Duration) -> RedisCluster {
    RedisCluster::new(ClusterClientBuilder::new(cluster.urls()), timeout).unwrap()
}

/// Returns a fred cluster client.
pub async fn fred_cluster(cluster: &Cluster) -> Client {
    fred_client(&cluster.urls()[0].replace("redis://", "redis-cluster://")).await
}

/// Returns the builder of a store with a prefix and a long timeout.
pub fn redis_builder<C: RedisClient>(client: C, prefix: &Prefix) -> RedisStoreBuilder<C> {
    RedisStore::builder(Arc::new(client)).prefix(prefix.name()).timeout(LONG_TIMEOUT)
}

/// Returns a store with a prefix and a long timeout.
pub fn redis_store<C: RedisClient>(client: C, prefix: &Prefix) -> RedisStore<C> {
    redis_builder(client, prefix).build()
}

/// Creates two stores with the default in-flight limit.
fn redis_pair<C: RedisClient>(prefix: Prefix, clients: [C; 2]) -> Pair<RedisStore<C>> {
    Pair::new(clients.map(|client| redis_store(client, &prefix)), prefix)
}

/// Creates two stores that send one command at a time, so that later operations form a batch.
fn one_in_flight<C: RedisClient>(prefix: Prefix, clients: [C; 2]) -> Pair<RedisStore<C>> {
    let store = |client| redis_builder(client, &prefix).max_in_flight(1).build();
    Pair::new(clients.map(store), prefix)
}

async fn fred_pools(server: &Redis) -> [Pool; 2] {
    [fred_pool(server.url()).await, fred_pool(server.url()).await]
}

async fn redis_rs_clients(server: &Redis) -> [RedisRsClient; 2] {
    [redis_rs_client(server.url()).await, redis_rs_client(server.url()).await]
}

/// A store in memory.
pub async fn memory() -> Pair<MemoryStore> {
    let store = MemoryStore::new();
    Pair::new([store.clone(), store], ())
}

/// Redis through a fred pool.
pub async fn redis_through_fred() -> Pair<RedisStore<Pool>> {
    let server = Redis::shared(Flavour::Redis);
    redis_pair(server.prefix(), fred_pools(server).await)
}

/// Redis through redis-rs.
pub async fn redis_through_redis_rs() -> Pair<RedisStore<RedisRsClient>> {
    let server = Redis::shared(Flavour::Redis);
    redis_pair(server.prefix(), redis_rs_clients(server).await)
}

/// Valkey through a fred client.
pub async fn valkey_through_fred() -> Pair<RedisStore<Client>> {
    let server = Redis::shared(Flavour::Valkey);
    let clients = [fred_client(server.url()).await, fred_client(server.url()).await];
    redis_pair(server.prefix(), clients)
}

/// Redis through a fred pool, with one command at a time.
pub async fn redis_one_in_flight() -> Pair<RedisStore<Pool>> {
    let server = Redis::shared(Flavour::Redis);
    one_in_flight(server.prefix(), fred_pools(server).await)
}

/// Valkey through redis-rs, with one command at a time.
pub async fn valkey_one_in_flight() -> Pair<RedisStore<RedisRsClient>> {
    let server = Redis::shared(Flavour::Valkey);
    one_in_flight(server.prefix(), redis_rs_clients(server).await)
}

/// Redis through a fred pool, with every operation in a batch.
pub async fn batched_redis() -> Pair<Batched<RedisStore<Pool>>> {
    batched(redis_one_in_flight().await).await
}

/// Valkey through redis-rs, with every operation in a batch.
pub async fn batched_valkey() -> Pair<Batched<RedisStore<RedisRsClient>>> {
    batched(valkey_one_in_flight().await).await
}

/// PostgreSQL, with every operation in a batch. With three connections, one read and one write can
/// be in flight.
pub async fn batched_postgres() -> Pair<Batched<PostgresStore>> {
    batched(postgres_pair(|| Postgres::shared().pool(3)).await).await
}

async fn batched<S: Store + Clone>(pair: Pair<S>) -> Pair<Batched<S>> {
    let [first, second] = pair.stores.each_ref().map(|store| S::clone(store));
    Pair::new([Batched::new(first).await, Batched::new(second).await], pair.namespace)
}

/// A cluster through a fred client.
pub async fn cluster_through_fred() -> Pair<RedisStore<Client>> {
    let cluster = Cluster::shared();
    redis_pair(Prefix::unique(), [fred_cluster(cluster).await, fred_cluster(cluster).await])
}

/// A cluster through redis-rs.
pub async fn cluster_through_redis_rs() -> Pair<RedisStore<RedisCluster>> {
    let cluster = Cluster::shared();
    redis_pair(Prefix::unique(), [redis_cluster(cluster).await, redis_cluster(cluster).await])
}

async fn postgres_store(pool: PgPool, schema: &Schema) -> PostgresStore {
    let builder = PostgresStore::builder(pool).create_tables(true).schema_name(schema.name());
    builder.cleanup_interval(None).timeout(LONG_TIMEOUT).build().await.unwrap()
}

async fn postgres_pair(pool: impl Fn() -> PgPool) -> Pair<PostgresStore> {
    let schema = Postgres::shared().schema();
    let stores = [postgres_store(pool(), &schema).await, postgres_store(pool(), &schema).await];
    Pair::new(stores, schema)
}

/// Returns a store in a schema of its own, its pool and its schema.
pub async fn postgres_on(server: &Postgres) -> (PostgresStore, PgPool, Schema) {
    let (pool, schema) = (server.pool(4), server.schema());
    (postgres_store(pool.clone(), &schema).await, pool, schema)
}

/// PostgreSQL.
pub async fn postgres() -> Pair<PostgresStore> {
    postgres_pair(|| Postgres::shared().pool(5)).await
}

/// PostgreSQL behind a pooler in transaction mode. The pooler has fewer connections to the server
/// than clients.
pub async fn postgres_through_a_pooler() -> Pair<PostgresStore> {
    static POOLER: OnceLock<PgBouncer> = OnceLock::new();
    let pooler = POOLER.get_or_init(|| PgBouncer::start(Postgres::shared(), 4, 100));
    let options = || PgPoolOptions::new().max_connections(8);
    postgres_pair(|| options().connect_lazy(pooler.url()).unwrap()).await
}

/// Returns the builder of a store with a long timeout, in the given tables.
pub fn mysql_builder(server: &MySql, tables: &str) -> MySqlStoreBuilder {
    let builder = MySqlStore::builder(server.options()).max_connections(5).table_name(tables);
    builder.create_tables(true).cleanup_interval(None).timeout(LONG_TIMEOUT)
}

/// MariaDB, or MySQL.
pub async fn mysql() -> Pair<MySqlStore> {
    let (server, tables) = (MySql::shared(), unique_tables());
    let store = async || mysql_builder(server, &tables).build().await.unwrap();
    Pair::new([store().await, store().await], ())
}

/// Redis as a cache, through a fred pool, over MariaDB.
pub async fn redis_over_mysql() -> Pair<LayeredStore<RedisStore<Pool>, MySqlStore>> {
    layered(redis_through_fred().await, mysql().await)
}

/// Redis as a cache, through a fred pool, over PostgreSQL.
pub async fn redis_over_postgres() -> Pair<LayeredStore<RedisStore<Pool>, PostgresStore>> {
    layered(redis_through_fred().await, postgres().await)
}

/// Valkey as a cache, through redis-rs, over PostgreSQL.
pub async fn valkey_over_postgres() -> Pair<LayeredStore<RedisStore<RedisRsClient>, PostgresStore>>
{
    let server = Redis::shared(Flavour::Valkey);
    layered(redis_pair(server.prefix(), redis_rs_clients(server).await), postgres().await)
}

/// A cluster as a cache over Redis.
pub async fn cluster_over_redis()
-> Pair<LayeredStore<RedisStore<RedisCluster>, RedisStore<RedisRsClient>>> {
    layered(cluster_through_redis_rs().await, redis_through_redis_rs().await)
}

/// Redis over PostgreSQL, with every operation in a batch.
pub async fn batched_redis_over_postgres()
-> Pair<Batched<LayeredStore<RedisStore<Pool>, PostgresStore>>> {
    batched(layered(redis_one_in_flight().await, postgres().await)).await
}

fn layered<C: SharedCache + Clone, O: Store + Clone>(
    cache: Pair<C>,
    origin: Pair<O>,
) -> Pair<LayeredStore<C, O>> {
    let store = |index: usize| {
        let (cache, origin) = (C::clone(&cache.stores[index]), O::clone(&origin.stores[index]));
        let builder = LayeredStore::builder(cache, origin);
        builder.cache_timeout(LONG_TIMEOUT).origin_timeout(LONG_TIMEOUT).build()
    };
    let stores = [store(0), store(1)];
    Pair::new(stores, (cache.namespace, origin.namespace))
}

/// A cache in this process over PostgreSQL.
pub async fn memory_over_postgres() -> Pair<LayeredStore<MemoryCache, PostgresStore>> {
    let origin = postgres().await;
    let builder = LayeredStore::builder(MemoryCache::new(1000), (*origin.stores[0]).clone());
    let store = builder.origin_timeout(LONG_TIMEOUT).build_for_one_process();
    Pair::new([store.clone(), store], origin.namespace)
}

/// Waits until a connection is idle, or until the pool has no connections. The pool tests each
/// returned connection, and drops a connection that the server has closed.
pub async fn wait_until_idle(pool: &PgPool) {
    // The pool updates its count of idle connections with a delay. The count is unsigned, so
    // it may wrap around below zero to a number above the size.
    let is_idle =
        async || pool.size() == 0 || (1..=pool.size() as usize).contains(&pool.num_idle());
    wait_until("a connection is idle", is_idle).await;
}
