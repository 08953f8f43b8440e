//! The systems under test: a store on its servers, and the faults that it has to survive.

use std::{sync::Arc, time::Duration};

use fred::clients::{Client, Pool};
use ruts::store::{
    Store,
    layered::LayeredStore,
    mysql::MySqlStore,
    postgres::PostgresStore,
    redis::{RedisClient, RedisCluster, RedisStore},
    sqlite::SqliteStore,
};
use ruts_tests_stores::{
    backends::{RedisRsClient, fred_client, fred_pool, redis_cluster_with, redis_rs_client},
    servers::Flavour,
};

use crate::{
    cluster_servers::ClusterServers,
    fault::{ClusterFault, Fault, MySqlFault, PostgresFault, RedisFault, SqliteFault},
    mysql_server::{MySqlServer, TABLES},
    postgres_server::PostgresServer,
    redis_servers::RedisServers,
    sqlite_file::SqliteFile,
};

/// Timeout of a command of the cluster client. It equals the timeout of a store.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(2);

/// A store and its servers.
pub trait System: Send + Sync + 'static {
    /// Type of the store.
    type Store: Store;

    /// Returns the store.
    fn store(&self) -> Arc<Self::Store>;

    /// Returns the faults that it has to survive.
    fn faults(&self) -> Vec<Fault>;

    /// Causes a fault, ends it, and returns when the servers can be used again.
    fn strike(&self, fault: Fault, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// Redis or Valkey as the only tier.
pub struct RedisSystem<C: RedisClient> {
    servers: RedisServers,
    store: Arc<RedisStore<C>>,
    faults: Vec<RedisFault>,
}

impl<C: RedisClient> RedisSystem<C> {
    fn new(servers: RedisServers, client: C) -> Self {
        let store = Arc::new(RedisStore::builder(Arc::new(client)).build());
        Self { servers, store, faults: RedisFault::OF_STORE.to_vec() }
    }
}

/// Starts Redis, and a store on it through a fred pool.
pub async fn redis_through_fred() -> RedisSystem<Pool> {
    let servers = RedisServers::start(Flavour::Redis).await;
    let client = fred_pool(&servers.url()).await;
    RedisSystem::new(servers, client)
}

/// Starts Redis, and a store on it through redis-rs.
pub async fn redis_through_redis_rs() -> RedisSystem<RedisRsClient> {
    let servers = RedisServers::start(Flavour::Redis).await;
    let client = redis_rs_client(&servers.url()).await;
    RedisSystem::new(servers, client)
}

/// Starts Valkey, and a store that uses it through fred.
pub async fn valkey_through_fred() -> RedisSystem<Client> {
    let servers = RedisServers::start(Flavour::Valkey).await;
    let client = fred_client(&servers.url()).await;
    let mut system = RedisSystem::new(servers, client);
    system.faults.extend(RedisFault::OF_CLOCK);
    // The server reads the clock in its signal handler, where the library that changes the clock
    // may wait for ever.
    system.faults.retain(|fault| *fault != RedisFault::Restart);
    system
}

impl<C: RedisClient> System for RedisSystem<C> {
    type Store = RedisStore<C>;

    fn store(&self) -> Arc<RedisStore<C>> {
        Arc::clone(&self.store)
    }

    fn faults(&self) -> Vec<Fault> {
        self.faults.iter().copied().map(Fault::Redis).collect()
    }

    async fn strike(&self, fault: Fault, duration: Duration) {
        if let Fault::Redis(fault) = fault {
            self.servers.strike(fault, duration).await;
        }
    }
}

/// A Redis cluster as the only tier.
pub struct ClusterSystem {
    servers: ClusterServers,
    store: Arc<RedisStore<RedisCluster>>,
}

/// Starts a cluster, and a store on it through redis-rs.
pub async fn cluster_through_redis_rs() -> ClusterSystem {
    let servers = ClusterServers::start();
    let client = redis_cluster_with(servers.cluster(), CLUSTER_TIMEOUT);
    let store = RedisStore::builder(Arc::new(client)).build();
    ClusterSystem { servers, store: Arc::new(store) }
}

impl System for ClusterSystem {
    type Store = RedisStore<RedisCluster>;

    fn store(&self) -> Arc<Self::Store> {
        Arc::clone(&self.store)
    }

    fn faults(&self) -> Vec<Fault> {
        ClusterFault::ALL.iter().copied().map(Fault::Cluster).collect()
    }

    async fn strike(&self, fault: Fault, duration: Duration) {
        if let Fault::Cluster(fault) = fault {
            self.servers.strike(fault, duration).await;
        }
    }
}

/// PostgreSQL as the only tier.
pub struct PostgresSystem {
    server: PostgresServer,
    store: Arc<PostgresStore>,
}

async fn postgres_store(server: &PostgresServer) -> PostgresStore {
    let builder = PostgresStore::builder(server.pool()).create_tables(true);
    builder.build().await.expect("the store should connect to a server that was just started")
}

/// Starts PostgreSQL, and a store on it.
pub async fn postgres() -> PostgresSystem {
    let server = PostgresServer::start().await;
    let store = Arc::new(postgres_store(&server).await);
    PostgresSystem { server, store }
}

impl System for PostgresSystem {
    type Store = PostgresStore;

    fn store(&self) -> Arc<PostgresStore> {
        Arc::clone(&self.store)
    }

    fn faults(&self) -> Vec<Fault> {
        PostgresFault::ALL.iter().copied().map(Fault::Postgres).collect()
    }

    async fn strike(&self, fault: Fault, duration: Duration) {
        if let Fault::Postgres(fault) = fault {
            self.server.strike(fault, duration).await;
        }
    }
}

/// MariaDB, or MySQL.
pub struct MySqlSystem {
    server: MySqlServer,
    store: Arc<MySqlStore>,
}

/// Starts MariaDB or MySQL, and a store on it.
pub async fn mysql() -> MySqlSystem {
    let server = MySqlServer::start().await;
    let builder = MySqlStore::builder(server.options()).max_connections(6).table_name(TABLES);
    let store = builder
        .create_tables(true)
        .build()
        .await
        .expect("the store should connect to a server that was just started");
    MySqlSystem { server, store: Arc::new(store) }
}

impl System for MySqlSystem {
    type Store = MySqlStore;

    fn store(&self) -> Arc<MySqlStore> {
        Arc::clone(&self.store)
    }

    fn faults(&self) -> Vec<Fault> {
        MySqlFault::ALL.iter().copied().map(Fault::MySql).collect()
    }

    async fn strike(&self, fault: Fault, duration: Duration) {
        if let Fault::MySql(fault) = fault {
            self.server.strike(fault, duration).await;
        }
    }
}

/// SQLite.
pub struct SqliteSystem {
    file: SqliteFile,
    store: Arc<SqliteStore>,
}

/// Creates a SQLite file, and a store on it.
pub async fn sqlite() -> SqliteSystem {
    let file = SqliteFile::new();
    let store =
        SqliteStore::builder(file.path()).build().await.expect("the store should open a new file");
    SqliteSystem { file, store: Arc::new(store) }
}

impl System for SqliteSystem {
    type Store = SqliteStore;

    fn store(&self) -> Arc<SqliteStore> {
        Arc::clone(&self.store)
    }

    fn faults(&self) -> Vec<Fault> {
        SqliteFault::ALL.iter().copied().map(Fault::Sqlite).collect()
    }

    async fn strike(&self, fault: Fault, duration: Duration) {
        if let Fault::Sqlite(fault) = fault {
            self.file.strike(fault, duration).await;
        }
    }
}

/// Redis as a cache over PostgreSQL.
pub struct LayeredSystem {
    cache: RedisServers,
    origin: PostgresServer,
    store: Arc<LayeredStore<RedisStore<Client>, PostgresStore>>,
}

/// Starts Redis and PostgreSQL, and a layered store on them.
pub async fn layered() -> LayeredSystem {
    let cache = RedisServers::start(Flavour::Redis).await;
    let origin = PostgresServer::start().await;
    let client = fred_client(&cache.url()).await;
    let cache_store = RedisStore::builder(Arc::new(client)).build();
    let store = LayeredStore::builder(cache_store, postgres_store(&origin).await).build();
    LayeredSystem { cache, origin, store: Arc::new(store) }
}

impl System for LayeredSystem {
    type Store = LayeredStore<RedisStore<Client>, PostgresStore>;

    fn store(&self) -> Arc<Self::Store> {
        Arc::clone(&self.store)
    }

    fn faults(&self) -> Vec<Fault> {
        let cache = RedisFault::OF_STORE.iter().chain(RedisFault::OF_CACHE);
        let origin = PostgresFault::ALL.iter().copied().map(Fault::Postgres);
        cache.copied().map(Fault::Redis).chain(origin).collect()
    }

    async fn strike(&self, fault: Fault, duration: Duration) {
        match fault {
            Fault::Redis(fault) => self.cache.strike(fault, duration).await,
            Fault::Postgres(fault) => self.origin.strike(fault, duration).await,
            Fault::Cluster(_) | Fault::MySql(_) | Fault::Sqlite(_) => {}
        }
    }
}
