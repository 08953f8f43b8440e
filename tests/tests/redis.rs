//! The conformance suite on Redis, Valkey and Redis Cluster, through every client.

use std::{sync::Arc, time::Duration};

use fred::{
    clients::{Client, Pool},
    interfaces::ClientLike,
    types::config::Config,
};
use redis::{aio::ConnectionManager, cluster::ClusterClientBuilder};
use ruts::{
    conformance::Subject,
    store::redis::{RedisClient, RedisCluster, RedisStore},
};
use ruts_tests::servers::{Cluster, Flavour, Prefix, Redis};

/// A store for one test, twice: each with connections of its own.
struct Stores<C> {
    prefix: Prefix,
    stores: [Arc<RedisStore<C>>; 2],
    next: std::sync::atomic::AtomicUsize,
}

impl<C: RedisClient> Stores<C> {
    fn new(prefix: Prefix, clients: [C; 2]) -> Self {
        let stores = clients
            .map(|client| Arc::new(RedisStore::new(Arc::new(client)).with_prefix(prefix.name())));
        Self { prefix, stores, next: Default::default() }
    }

    fn next(&self) -> Arc<RedisStore<C>> {
        let next = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(!self.prefix.name().is_empty());
        Arc::clone(&self.stores[next % 2])
    }
}

macro_rules! subject {
    ($name:ident, $client:ty, $prefix:expr, $connect:expr) => {
        struct $name(Stores<$client>);

        impl Subject for $name {
            type Store = RedisStore<$client>;

            async fn set_up() -> Self {
                Self(Stores::new($prefix, [$connect.await, $connect.await]))
            }

            fn store(&self) -> Arc<Self::Store> {
                self.0.next()
            }
        }
    };
}

async fn fred_client(url: &str) -> Client {
    let client = Client::new(Config::from_url(url).unwrap(), None, None, None);
    client.init().await.unwrap();
    client
}

async fn fred_pool(url: &str) -> Pool {
    let pool = Pool::new(Config::from_url(url).unwrap(), None, None, None, 3).unwrap();
    pool.init().await.unwrap();
    pool
}

async fn manager(url: &str) -> ConnectionManager {
    redis::Client::open(url).unwrap().get_connection_manager().await.unwrap()
}

fn fred_cluster_url(cluster: &Cluster) -> String {
    cluster.urls()[0].replace("redis://", "redis-cluster://")
}

async fn redis_rs_cluster(cluster: &Cluster) -> RedisCluster {
    let builder = ClusterClientBuilder::new(cluster.urls());
    RedisCluster::connect(builder, Duration::from_secs(2)).await.unwrap()
}

fn redis() -> &'static Redis {
    Redis::shared(Flavour::Redis)
}

fn valkey() -> &'static Redis {
    Redis::shared(Flavour::Valkey)
}

mod redis_through_fred {
    use super::*;
    subject!(It, Pool, redis().prefix(), fred_pool(redis().url()));
    ruts::conformance_tests!(It);
}

mod valkey_through_fred {
    use super::*;
    subject!(It, Client, valkey().prefix(), fred_client(valkey().url()));
    ruts::conformance_tests!(It);
}

mod redis_through_redis_rs {
    use super::*;
    subject!(It, ConnectionManager, redis().prefix(), manager(redis().url()));
    ruts::conformance_tests!(It);
}

mod cluster_through_fred {
    use super::*;
    subject!(It, Client, Prefix::unique(), fred_client(&fred_cluster_url(Cluster::shared())));
    ruts::conformance_tests!(It);
}

mod cluster_through_redis_rs {
    use super::*;
    subject!(It, RedisCluster, Prefix::unique(), redis_rs_cluster(Cluster::shared()));
    ruts::conformance_tests!(It);
}
