//! Runs the conformance suite on every store, on real servers.

use std::{sync::Arc, time::Duration};

use fred::clients::{Client, Pool};
use ruts::{
    conformance::Subject,
    store::{
        layered::LayeredStore,
        memory::MemoryCache,
        mysql::MySqlStore,
        postgres::PostgresStore,
        redis::{RedisCluster, RedisStore},
    },
};
use ruts_tests_stores::{
    Batched,
    backends::{self, Pair, RedisRsClient},
};

macro_rules! conformance {
    ($($backend:ident: $store:ty),+ $(,)?) => {
        $(mod $backend {
            use super::*;

            struct OnServers(Pair<$store>);

            impl Subject for OnServers {
                type Store = $store;

                async fn set_up() -> Self {
                    Self(backends::$backend().await)
                }

                fn store(&self) -> Arc<$store> {
                    self.0.next()
                }

                /// Long enough for many checks that share a few servers and perhaps only two cores.
                fn unit(&self) -> Duration {
                    Duration::from_secs(1)
                }

                /// A few rounds suffice, because other tests force the races that matter.
                fn rounds(&self) -> usize {
                    8
                }
            }

            ruts::conformance_tests!(OnServers);
        })+
    };
}

conformance! {
    redis_through_fred: RedisStore<Pool>,
    redis_through_redis_rs: RedisStore<RedisRsClient>,
    valkey_through_fred: RedisStore<Client>,
    batched_redis: Batched<RedisStore<Pool>>,
    batched_postgres: Batched<PostgresStore>,
    cluster_through_fred: RedisStore<Client>,
    cluster_through_redis_rs: RedisStore<RedisCluster>,
    postgres: PostgresStore,
    postgres_through_a_pooler: PostgresStore,
    mysql: MySqlStore,
    redis_over_postgres: LayeredStore<RedisStore<Pool>, PostgresStore>,
    valkey_over_postgres: LayeredStore<RedisStore<RedisRsClient>, PostgresStore>,
    batched_redis_over_postgres: Batched<LayeredStore<RedisStore<Pool>, PostgresStore>>,
    cluster_over_redis: LayeredStore<RedisStore<RedisCluster>, RedisStore<RedisRsClient>>,
    memory_over_postgres: LayeredStore<MemoryCache, PostgresStore>,
    redis_over_mysql: LayeredStore<RedisStore<Pool>, MySqlStore>,
}
