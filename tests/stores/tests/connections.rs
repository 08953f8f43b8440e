//! Connections to Redis and Valkey that are closed while idle, stop responding, or lead to a server
//! that is no longer the leader. All clients have to continue with new connections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fred::{
    clients::Client,
    types::config::{Config, ReconnectPolicy},
};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use ruts::store::{
    StoreErrorKind,
    redis::{RedisClient, RedisSentinel, RedisStore},
};
use ruts_tests_stores::{
    Proxy,
    backends::{
        fred_client, fred_cluster, fred_pool, redis_builder, redis_cluster, redis_rs_client,
        redis_store,
    },
    error_kind,
    servers::{Cluster, Flavour, Prefix, Redis, Sentinel},
    through_each_client,
};
use ruts_tests_support::{APPLIED, TestSession, wait_until};

/// Timeout of operations that get no answer.
const SHORT: Duration = Duration::from_millis(500);

/// Time in which a client notices that an idle connection has closed. A write before that has an
/// unknown outcome.
const NOTICED: Duration = Duration::from_millis(500);

/// Returns a fred client with a policy of its own, which reconnects only after a minute.
async fn reconnecting_fred(url: &str) -> Client {
    let policy = ReconnectPolicy::new_constant(0, 60_000);
    Client::new(Config::from_url(url).unwrap(), None, None, Some(policy))
}

through_each_client! {
    { fred_by_default: fred_client, fred_with_a_policy: reconnecting_fred,
      a_pool_of_fred: fred_pool, redis_rs: redis_rs_client, }
    {
        a_closed_idle_connection_costs_no_operation,
        a_restart_costs_no_operation,
        a_silent_connection_fails_no_read,
        a_silent_connection_fails_one_write,
        an_address_that_moves_from_an_unresponsive_server_is_followed,
        a_connection_is_given_up_whose_callers_give_up_first,
        a_leader_that_became_a_replica_is_left,
    }
}

fn store<C: RedisClient>(client: C) -> Arc<RedisStore<C>> {
    Arc::new(redis_store(client, &Prefix::unique()))
}

fn close_connections(server: &Redis) {
    server.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
}

async fn a_closed_idle_connection_costs_no_operation<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Redis, &[]);
    let session = TestSession::begin(&store(connect(server.url().to_owned()).await)).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    for round in 0..10 {
        close_connections(&server);
        // The client may not have noticed yet that the connection has closed, so the read is
        // repeated.
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1", "{round}");
    }
    for round in 0..2 {
        close_connections(&server);
        tokio::time::sleep(NOTICED).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED, "{round}");
    }
}

async fn a_restart_costs_no_operation<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let server = Redis::start(Flavour::Valkey, &["--appendonly", "yes"]);
    let session = TestSession::begin(&store(connect(server.url().to_owned()).await)).await;
    server.stop();
    server.restart();
    tokio::time::sleep(NOTICED).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
}

/// Longer than the idle time after which a connection is tested.
const IDLE: Duration = Duration::from_millis(10_200);

/// Age at which a silent connection is replaced.
const OLD: Duration = Duration::from_millis(1100);

/// A session behind a proxy, over connections that are all open and [`OLD`].
async fn behind_proxy<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) -> (Redis, Proxy, TestSession<RedisStore<C>>) {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let client = connect(format!("redis://{}", proxy.address())).await;
    // The timeout is the default of the store.
    let store = redis_builder(client, &Prefix::unique()).timeout(Duration::from_secs(2)).build();
    let session = TestSession::begin(&Arc::new(store)).await;
    for _ in 0..3 {
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    }
    tokio::time::sleep(OLD).await;
    (server, proxy, session)
}

/// The open connections stop responding, but new ones would work. Reads are repeated on a new
/// connection.
async fn a_silent_connection_fails_no_read<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let (_server, proxy, session) = behind_proxy(connect).await;
    proxy.silence_present();
    let reads = (0..20).map(|_| {
        let session = session.clone();
        tokio::spawn(async move { session.get("a").await })
    });
    for read in reads.collect::<Vec<_>>() {
        assert_eq!(read.await.unwrap().unwrap().unwrap(), "1");
    }
    for _ in 0..3 {
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
    }
}

/// Once a connection has become silent, the others are tested before their next use.
async fn a_silent_connection_fails_one_write<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let (_server, proxy, session) = behind_proxy(connect).await;
    proxy.silence_present();
    assert_eq!(error_kind(session.set("a", "2").await), StoreErrorKind::OutcomeUnknown);
    for _ in 0..3 {
        assert_eq!(session.set("a", "3").await.unwrap(), APPLIED);
    }
}

/// A router may forget an idle connection without closing it.
#[tokio::test]
async fn an_idle_connection_is_tested_before_a_write() {
    // In one test, because most of its time is waiting.
    tokio::join!(
        idle_connections_are_tested(async |url: String| fred_client(&url).await),
        idle_connections_are_tested(async |url: String| fred_pool(&url).await),
        idle_connections_are_tested(async |url: String| redis_rs_client(&url).await),
        idle_connections_to_a_cluster_are_used(fred_cluster(Cluster::shared()).await),
        idle_connections_to_a_cluster_are_used(redis_cluster(Cluster::shared()).await),
    );
}

/// The test goes to the node of the key.
async fn idle_connections_to_a_cluster_are_used<C: RedisClient>(client: C) {
    let store = store(client);
    let sessions = [(); 6].map(|()| TestSession::new(&store));
    for session in &sessions {
        session.create(None).await.unwrap();
    }
    tokio::time::sleep(IDLE).await;
    for session in &sessions {
        assert_eq!(session.set("a", "2").await.unwrap(), APPLIED);
    }
}

async fn idle_connections_are_tested<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let (_server, proxy, session) = behind_proxy(connect).await;
    proxy.silence_present();
    tokio::time::sleep(IDLE).await;
    for _ in 0..3 {
        assert_eq!(session.set("a", "2").await.unwrap(), APPLIED);
    }
}

/// A layered store may wait for its cache for a shorter time than the timeout of the cache.
async fn a_connection_is_given_up_whose_callers_give_up_first<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    for patience in [SHORT, Duration::from_millis(40)] {
        let (_server, proxy, session) = behind_proxy(&connect).await;
        proxy.silence_present();
        let mut given_up = 0;
        while tokio::time::timeout(patience, session.take("a")).await.is_err() {
            given_up += 1;
            assert!(given_up < 100, "{patience:?}: the connection should be replaced");
        }
        assert!(given_up >= 1);
    }
}

/// The server hangs. Then the address leads to another server, while attempts to connect to the
/// first one are in progress.
async fn an_address_that_moves_from_an_unresponsive_server_is_followed<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let (server, proxy, session) = behind_proxy(connect).await;
    let next = Redis::start(Flavour::Redis, &[]);
    follow(&next, &server);
    wait_for_replica(&next).await;
    server.pause();
    for _ in 0..2 {
        assert!(session.get("a").await.is_err(), "the server should not answer");
    }
    next.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    proxy.lead_to(&next.address());
    let moved = Instant::now();
    wait_until("the store answers", async || session.get("a").await.is_ok()).await;
    assert!(moved.elapsed() < Duration::from_secs(4), "{:?}", moved.elapsed());
    server.resume();
}

/// Waits until `replica` has all data of its leader.
async fn wait_for_replica(replica: &Redis) {
    let connected = Some(redis::Value::BulkString("connected".into()));
    // A server that is about to become a replica still has the role of a leader. When it becomes a
    // replica, it closes connections.
    let is_connected = async || {
        let role = replica.try_command::<Vec<redis::Value>>(&["ROLE"]);
        role.is_ok_and(|role| role.get(3) == connected.as_ref())
    };
    wait_until("the replica has synchronised", is_connected).await;
}

fn follow(server: &Redis, leader: &Redis) {
    let address = leader.address();
    let (host, port) = address.split_once(':').unwrap();
    server.command::<()>(&["REPLICAOF", host, port]);
}

async fn a_leader_that_became_a_replica_is_left<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let [first, second] = [(); 2].map(|()| Redis::start(Flavour::Redis, &[]));
    let proxy = Proxy::before(&first.address()).await;
    let session =
        TestSession::begin(&store(connect(format!("redis://{}", proxy.address())).await)).await;
    follow(&second, &first);
    wait_for_replica(&second).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    first.command::<u64>(&["WAIT", "1", "0"]);

    second.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    follow(&first, &second);
    proxy.lead_to(&second.address());
    for _ in 0..5 {
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_fred_without_a_policy_survives_400_breaks() {
    let server = Redis::start(Flavour::Redis, &[]);
    let session = TestSession::begin(&store(fred_client(server.url()).await)).await;
    for round in 0..400 {
        close_connections(&server);
        assert_eq!(session.get("a").await.unwrap(), None, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_idle_connection_to_a_cluster_costs_no_operation() {
    let cluster = Cluster::start(&[]);
    closed_connections_to_a_cluster(&cluster, redis_cluster(&cluster).await).await;
    closed_connections_to_a_cluster(&cluster, fred_cluster(&cluster).await).await;
}

async fn closed_connections_to_a_cluster<C: RedisClient>(cluster: &Cluster, client: C) {
    let store = store(client);
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(TestSession::begin(&store).await);
    }
    for url in cluster.urls() {
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).exec(&mut connection).unwrap();
    }
    tokio::time::sleep(NOTICED).await;
    for session in &sessions {
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    }
}

/// The operation fails before its timeout if the server stays a replica.
#[tokio::test]
async fn a_replica_that_stays_one_is_reported_soon() {
    let leader = Redis::start(Flavour::Redis, &[]);
    let replica = Redis::start(Flavour::Redis, &[]);
    follow(&replica, &leader);
    wait_for_replica(&replica).await;
    let session = TestSession::new(&store(fred_client(replica.url()).await));
    let connections = || {
        let stats: String = replica.command(&["INFO", "stats"]);
        let line = stats.lines().find(|line| line.starts_with("total_connections_received"));
        line.and_then(|line| line.split(':').nth(1)).unwrap().trim().parse::<u64>().unwrap()
    };
    let before = connections();
    for _ in 0..5 {
        assert_eq!(error_kind(session.load().await), StoreErrorKind::Unavailable);
    }
    assert!(connections() - before < 50, "the client should connect fewer than 50 times");
}

async fn sentinel_through_fred(sentinel: &Sentinel) -> Client {
    fred_client(&sentinel.fred_url()).await
}

async fn sentinel_through_redis_rs(sentinel: &Sentinel) -> RedisSentinel {
    let (address, name) = sentinel.address();
    let client = SentinelClientBuilder::new([address], name, SentinelServerType::Master);
    RedisSentinel::new(client.unwrap().build().unwrap())
}

/// Once Sentinel names the new leader, an operation reaches it within the timeout of the operation.
async fn failovers_of_sentinel_are_followed<C: RedisClient>(connect: impl AsyncFn(&Sentinel) -> C) {
    let sentinel = Sentinel::start(Duration::from_millis(500));
    let [first, second] = &sentinel.servers;
    wait_for_replica(second).await;
    let store = Arc::new(redis_builder(connect(&sentinel).await, &Prefix::unique()).build());
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    first.command::<u64>(&["WAIT", "1", "0"]);

    // The old leader keeps running as a replica. Until it learns of its new role, it accepts writes
    // that are then lost.
    tokio::task::block_in_place(|| {
        sentinel.fail_over();
        sentinel.wait_until_leading(second);
    });
    wait_for_replica(first).await;
    assert_eq!(session.set("a", "2").await.unwrap(), APPLIED);
    assert_eq!(session.get("a").await.unwrap().unwrap(), "2");
    second.command::<u64>(&["WAIT", "1", "0"]);

    // The old leader is killed.
    tokio::task::block_in_place(|| {
        second.kill();
        sentinel.wait_until_leading(first);
    });
    assert_eq!(session.get("a").await.unwrap().unwrap(), "2");
    assert_eq!(session.set("a", "3").await.unwrap(), APPLIED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_of_sentinel_are_followed_through_fred() {
    failovers_of_sentinel_are_followed(sentinel_through_fred).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_of_sentinel_are_followed_through_redis_rs() {
    failovers_of_sentinel_are_followed(sentinel_through_redis_rs).await;
}
