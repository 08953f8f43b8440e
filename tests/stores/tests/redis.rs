//! Tests of Redis and Valkey only: faults of the server and the network, expiry, rights, evictions,
//! and foreign data under the store's keys.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fred::{
    clients::Client,
    types::{
        RespVersion,
        config::{Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy},
    },
};
use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, Change, FieldWrite, NewSignIn, PageRequest, Projection, Refused, RevokeTarget,
        Store, StoreError, StoreErrorKind, Update, Updated, Written,
        redis::{RedisClient, RedisStore},
    },
    token::SecretHash,
};
use ruts_tests_stores::{
    Proxy, Traffic, assert_replaceable,
    backends::{
        fred_client, fred_cluster, fred_pool, redis_builder, redis_cluster, redis_rs_client,
        redis_store,
    },
    error_chain, error_kind,
    servers::{Cluster, Flavour, Prefix, Redis},
    through_each_client,
};
use ruts_tests_support::{APPLIED, DELETED, LONG_TIMEOUT, Log, TestSession, random, taken};

/// Timeout of operations that get no answer.
const SHORT: Duration = Duration::from_secs(1);

fn store<C: RedisClient>(client: C) -> Arc<RedisStore<C>> {
    Arc::new(redis_store(client, &Prefix::unique()))
}

/// Returns two stores with the same sessions: one with a long and one with a short timeout.
async fn patient_and_impatient<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
    url: String,
) -> [Arc<RedisStore<C>>; 2] {
    let prefix = Prefix::unique();
    let patient = redis_store(connect(url.clone()).await, &prefix);
    let impatient = redis_builder(connect(url).await, &prefix).timeout(SHORT).build();
    [Arc::new(patient), Arc::new(impatient)]
}

/// Returns a fred client that is configured to retry every command.
async fn retrying_fred(url: &str) -> Client {
    let performance = PerformanceConfig {
        default_command_timeout: Duration::from_secs(60),
        ..PerformanceConfig::default()
    };
    let connection = ConnectionConfig {
        max_command_attempts: 5,
        max_redirections: 5,
        ..ConnectionConfig::default()
    };
    let policy = ReconnectPolicy::new_constant(0, 50);
    let config = Config { fail_fast: false, ..Config::from_url(url).unwrap() };
    Client::new(config, Some(performance), Some(connection), Some(policy))
}

through_each_client! {
    { fred_by_default: fred_client, fred_with_retries: retrying_fred,
      a_pool_of_fred: fred_pool, redis_rs: redis_rs_client, }
    {
        a_dead_server_fails_operations_until_it_is_back,
        a_write_to_a_paused_server_is_unknown,
        a_write_whose_answer_is_cut_off_is_carried_out_once,
        a_write_that_was_not_sent_is_not_carried_out,
        a_script_that_the_server_forgot_is_sent_again,
        a_replica_refuses_every_operation,
        a_full_server_reads_and_deletes,
        a_server_without_field_expiry_is_refused,
        foreign_data_is_an_error,
        a_value_of_5_megabytes_is_kept,
    }
}

async fn a_dead_server_fails_operations_until_it_is_back<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Redis, &["--appendonly", "yes", "--appendfsync", "always"]);
    let [patient, impatient] = patient_and_impatient(connect, server.url().to_owned()).await;
    let session = TestSession::begin(&patient).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    server.kill();
    let impatient = session.through(&impatient);
    for _ in 0..3 {
        assert_out_of_reach(impatient.set("b", "2").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.restart();
    wait_for_value(&session, "1").await;
    assert_eq!(session.get("b").await.unwrap(), None, "a failed write should not be carried out");
}

async fn a_write_to_a_paused_server_is_unknown<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let server = Redis::start(Flavour::Redis, &[]);
    let [patient, impatient] = patient_and_impatient(connect, server.url().to_owned()).await;
    let session = TestSession::begin(&patient).await;
    let impatient = session.through(&impatient);
    assert_eq!(impatient.set("a", "1").await.unwrap(), APPLIED);
    let calls = server.calls("evalsha");
    server.pause();
    assert_eq!(error_kind(impatient.set("a", "2").await), StoreErrorKind::OutcomeUnknown);
    server.resume();
    while server.calls("evalsha") == calls {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.calls("evalsha") - calls, 1, "the write should be sent once");
    wait_for_value(&session, "2").await;
}

/// Waits until the store answers a read, and checks the value.
async fn wait_for_value<S: Store>(session: &TestSession<S>, value: &str) {
    let start = Instant::now();
    let found = loop {
        match session.get("a").await {
            Ok(found) => break found,
            Err(error) => assert!(start.elapsed() < LONG_TIMEOUT, "{}", error_chain(&error)),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(found.unwrap(), value);
}

async fn a_write_whose_answer_is_cut_off_is_carried_out_once<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let store = store(connect(format!("redis://{}", proxy.address())).await);
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    for (bytes, value) in [(0, "2"), (1, "3"), (3, "4")] {
        wait_for_value(&session, &(value.parse::<u8>().unwrap() - 1).to_string()).await;
        let calls = server.calls("hset");
        proxy.set(Traffic::CutAnswersAfter(bytes));
        let kind = error_kind(session.set("a", value).await);
        assert_eq!(kind, StoreErrorKind::OutcomeUnknown, "after {bytes} bytes");
        proxy.set(Traffic::Forward);
        wait_for_value(&session, value).await;
        assert_eq!(server.calls("hset") - calls, 1, "the write should be sent once");
    }
}

async fn a_write_that_was_not_sent_is_not_carried_out<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let [patient, impatient] = patient_and_impatient(connect, url).await;
    let session = TestSession::begin(&patient).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    let impatient = session.through(&impatient);
    proxy.set(Traffic::Disconnect);
    for _ in 0..3 {
        assert_out_of_reach(impatient.set("a", "2").await);
        assert_out_of_reach(impatient.delete().await);
    }
    proxy.set(Traffic::Forward);
    wait_for_value(&session, "1").await;
}

/// Checks that an operation failed. redis-rs does not always know whether the command was sent.
fn assert_out_of_reach<T: Debug>(answer: Result<T, StoreError>) {
    let kind = error_kind(answer);
    assert!(
        matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::OutcomeUnknown),
        "{kind:?}"
    );
}

#[tokio::test]
async fn fred_reports_at_once_that_nothing_was_sent() {
    let server = Redis::start(Flavour::Redis, &[]);
    let timeout = Duration::from_secs(5);
    for client in [fred_client(server.url()).await, retrying_fred(server.url()).await] {
        let store = redis_builder(client, &Prefix::unique()).timeout(timeout).build();
        let session = TestSession::begin(&Arc::new(store)).await;
        server.kill();
        // Until the client notices that the server is gone, it reports a command as sent.
        while error_kind(session.set("a", "2").await) == StoreErrorKind::OutcomeUnknown {}
        for _ in 0..10 {
            let start = Instant::now();
            assert_eq!(error_kind(session.set("a", "2").await), StoreErrorKind::Unavailable);
            assert!(start.elapsed() < timeout / 2, "the operation should not wait for the timeout");
        }
        server.restart();
    }
}

async fn a_script_that_the_server_forgot_is_sent_again<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Valkey, &[]);
    let session = TestSession::begin(&store(connect(server.url().to_owned()).await)).await;
    for value in ["1", "2"] {
        server.command::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(session.set("a", value).await.unwrap(), APPLIED);
        server.command::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(session.get("a").await.unwrap().unwrap(), value);
    }
}

async fn a_replica_refuses_every_operation<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let primary = Redis::start(Flavour::Redis, &[]);
    let address = primary.address();
    let (host, port) = address.split_once(':').unwrap();
    let replica = Redis::start(Flavour::Redis, &["--replicaof", host, port]);
    let connected = redis::Value::BulkString("connected".into());
    while replica.command::<Vec<redis::Value>>(&["ROLE"])[3] != connected {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let prefix = Prefix::unique();
    let at_primary = Arc::new(redis_store(connect(primary.url().to_owned()).await, &prefix));
    let existing = TestSession::begin(&at_primary).await;
    assert_eq!(existing.set("a", "1").await.unwrap(), APPLIED);
    while replica.command::<u64>(&["DBSIZE"]) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = Arc::new(redis_store(connect(replica.url().to_owned()).await, &prefix));
    let session = TestSession::new(&store);
    let error = session.create(None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error_chain(&error).contains("read only"), "{}", error_chain(&error));
    assert_eq!(error_kind(session.load().await), StoreErrorKind::Unavailable);
    let existing = existing.through(&store);
    assert_eq!(error_kind(existing.load().await), StoreErrorKind::Unavailable);
    assert_eq!(error_kind(existing.get("a").await), StoreErrorKind::Unavailable);
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    session.create(None).await.unwrap();
}

async fn a_full_server_reads_and_deletes<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::start(flavour, &["--maxmemory-policy", "noeviction"]);
        let store = store(connect(server.url().to_owned()).await);
        let session = TestSession::begin(&store).await;
        for name in ["a", "b", "c"] {
            assert_eq!(session.set(name, "old").await.unwrap(), APPLIED);
        }
        server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_eq!(error_kind(session.set("a", "new").await), StoreErrorKind::Full);
        let new = Bytes::from_static(b"new");
        let mixed = [Change::Remove("a"), Change::Set(FieldWrite::new("n", &new))];
        assert_eq!(error_kind(session.change(&mixed).await), StoreErrorKind::Full);
        assert_eq!(error_kind(TestSession::new(&store).create(None).await), StoreErrorKind::Full);
        let value = session.get("a").await.unwrap().unwrap();
        assert_eq!(value, "old", "a refused write should not be carried out");

        let removed = session.change(&[Change::Remove("a")]).await.unwrap();
        assert_eq!(removed, Ok(Written::new(Updated::Applied { found: 1 })));
        let value = Some(Bytes::from_static(b"old"));
        assert_eq!(session.take("b").await.unwrap(), taken(value));
        assert!(session.load_and_touch().await.unwrap().is_ok());
        let new_secret = SecretHash::from_bytes(random());
        let sign_out = Update::new(&[]).rotate(&new_secret).auth_change(AuthChange::Out);
        assert_eq!(session.update(sign_out).await.unwrap(), APPLIED);
        let session = session.with_secret(new_secret);
        assert_eq!(session.delete().await.unwrap(), DELETED);
        assert!(matches!(session.load().await.unwrap(), Err(Refused::Deleted { .. })));

        server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "new").await.unwrap(), APPLIED);
    }
}

async fn a_server_without_field_expiry_is_refused<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Redis, &["--rename-command", "HPTTL", ""]);
    let store = store(connect(server.url().to_owned()).await);
    for error in [store.check().await, TestSession::new(&store).create(None).await] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
        let text = error_chain(&error);
        assert!(text.contains("Redis 7.4") && text.contains("Valkey 9"), "{text}");
    }
    assert_eq!(server.command::<u64>(&["DBSIZE"]), 0);
}

async fn foreign_data_is_an_error<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let client = connect(server.url().to_owned()).await;
    let store = Arc::new(redis_store(client, &prefix));
    let key = |session: &TestSession<_>| {
        let id = session.id.to_string();
        format!("{}:{{{}}}{}", prefix.name(), &id[..2], &id[2..])
    };

    // A malformed record.
    for (field, value) in [("~", "soon"), ("~", &*"\u{1}".repeat(64))] {
        let session = TestSession::begin(&store).await;
        server.command::<()>(&["HSET", &key(&session), field, value]);
        let case = format!("{field} = {value}");
        assert_eq!(error_kind(session.load().await), StoreErrorKind::Corrupt, "{case}");
        assert_eq!(error_kind(session.set("a", "1").await), StoreErrorKind::Corrupt, "{case}");
        assert_eq!(error_kind(session.take("a").await), StoreErrorKind::Corrupt, "{case}");
        assert_eq!(error_kind(session.delete().await), StoreErrorKind::Corrupt, "{case}");
        assert_eq!(error_kind(session.create(None).await), StoreErrorKind::Corrupt, "{case}");
        assert_eq!(server.command::<u64>(&["HLEN", &key(&session)]), 1, "{case}");
    }

    // A malformed field.
    let session = TestSession::begin(&store).await;
    server.command::<()>(&["HSET", &key(&session), "a", "no digit", "b", "02"]);
    assert_replaceable(&session).await;

    // A key with a value of a different Redis type.
    let session = TestSession::new(&store);
    server.command::<()>(&["SET", &key(&session), "a string"]);
    assert_eq!(error_kind(session.load().await), StoreErrorKind::Corrupt);
    assert_eq!(error_kind(session.create(None).await), StoreErrorKind::Corrupt);

    // If the name of a field is not UTF-8, reads of all fields fail, but writes succeed.
    let session = TestSession::begin(&store).await;
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let command = redis::cmd("HSET").arg(key(&session)).arg(b"\xff\xfe").arg(b"0x").to_owned();
    command.exec(&mut connection).unwrap();
    assert_eq!(error_kind(session.load().await), StoreErrorKind::Corrupt);
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
}

async fn a_value_of_5_megabytes_is_kept<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let client = connect(server.url().to_owned()).await;
    let session = TestSession::begin(&Arc::new(redis_store(client, &prefix))).await;
    let value = Bytes::from_iter((0..5 << 20).map(|index: u32| (index % 251) as u8));
    let changes = [Change::Set(FieldWrite::new("a", &value))];
    assert_eq!(session.change(&changes).await.unwrap(), APPLIED);
    assert!(session.get("a").await.unwrap().unwrap() == value);
    assert!(session.take("a").await.unwrap() == taken(Some(value)));
}

/// Returns servers that remove no expired data in the background, so that operations find this
/// data.
fn servers_without_active_expiry() -> impl Iterator<Item = Redis> {
    [Flavour::Redis, Flavour::Valkey].into_iter().map(|flavour| {
        let server = Redis::start(flavour, &[]);
        server.command::<()>(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        server
    })
}

const MOMENT: Duration = Duration::from_millis(20);

/// Returns a session on such a server. Its field `a` has expired, but was not removed.
async fn with_an_expired_field(server: &Redis) -> TestSession<RedisStore<Client>> {
    let session = TestSession::begin(&store(fred_client(server.url()).await)).await;
    assert_eq!(session.set("b", "1").await.unwrap(), APPLIED);
    assert_eq!(session.set_with_ttl("a", "1", Some(MOMENT)).await.unwrap(), APPLIED);
    let keys: Vec<String> = server.command(&["KEYS", "*"]);
    let key = keys.iter().find(|key| key.ends_with(&session.id.to_string()[2..])).unwrap();
    while server.command::<Vec<i64>>(&["HPTTL", key, "FIELDS", "1", "a"]) != [-2] {
        tokio::time::sleep(MOMENT / 4).await;
    }
    assert_eq!(
        server.command::<u64>(&["HLEN", key]),
        3,
        "the server should not have removed the expired field"
    );
    session
}

#[tokio::test]
async fn an_expired_field_is_not_revived() {
    for server in servers_without_active_expiry() {
        let session = with_an_expired_field(&server).await;
        let hour = Ttl::from_secs(3600);
        assert_eq!(session.change(&[Change::Expire("a", hour)]).await.unwrap(), APPLIED);
        assert_eq!(session.get("a").await.unwrap(), None);
        assert!(session.load_and_touch().await.unwrap().is_ok());
        assert_eq!(session.get("a").await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_expired_field_counts_as_absent() {
    for server in servers_without_active_expiry() {
        let session = with_an_expired_field(&server).await;
        assert_eq!(session.change(&[Change::Remove("a")]).await.unwrap(), APPLIED);
        let session = with_an_expired_field(&server).await;
        assert_eq!(session.take("a").await.unwrap(), taken(None));
        let session = with_an_expired_field(&server).await;
        assert_eq!(session.set_if("a", None, &"2".into()).await.unwrap(), APPLIED);
        assert_eq!(session.get("a").await.unwrap().unwrap(), "2");
    }
}

#[tokio::test]
async fn a_write_over_an_expired_field_is_kept() {
    for server in servers_without_active_expiry() {
        for ttl in [None, Some(Duration::from_secs(3600))] {
            let session = with_an_expired_field(&server).await;
            assert_eq!(session.set_with_ttl("a", "2", ttl).await.unwrap(), APPLIED);
            let loaded = session.load().await.unwrap().unwrap();
            let field = loaded.fields.iter().find(|field| field.name == "a").unwrap();
            assert_eq!(field.value, "2");
            assert_eq!(
                field.ttl.is_some(),
                ttl.is_some(),
                "the field should have the TTL of the write"
            );
        }
    }
}

#[tokio::test]
async fn an_expired_session_is_not_revived() {
    for server in servers_without_active_expiry() {
        let store = store(fred_client(server.url()).await);
        let session = TestSession::new(&store);
        let value = Bytes::from_static(b"old");
        let fields = [FieldWrite::new("old", &value)];
        let create = session.creation().idle(Ttl::from_duration(MOMENT)).fields(&fields);
        store.create(create).await.unwrap();
        while session.load().await.unwrap() != Err(Refused::NotFound) {
            tokio::time::sleep(MOMENT / 4).await;
        }
        assert_eq!(session.load_and_touch().await.unwrap(), Err(Refused::NotFound));
        assert_eq!(session.set("a", "1").await.unwrap(), Err(Refused::NotFound));
        assert_eq!(session.take("old").await.unwrap(), Err(Refused::NotFound));
        assert_eq!(session.delete().await.unwrap(), Err(Refused::NotFound));
        session.create(None).await.unwrap();
        assert_eq!(
            session.get("old").await.unwrap(),
            None,
            "the new session should have no fields"
        );
    }
}

/// Creates a session on each node.
async fn on_each_node<C: RedisClient>(
    store: &Arc<RedisStore<C>>,
    cluster: &Cluster,
) -> Vec<TestSession<RedisStore<C>>> {
    let mut sessions = Vec::new();
    while sessions.len() < cluster.urls().len() {
        let session = TestSession::begin(store).await;
        if cluster.node_of(&session.id.to_string()[..2]) == sessions.len() {
            assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
            sessions.push(session);
        }
    }
    sessions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_a_dead_shard_serves_the_others() {
    let (cluster, prefix) = (Cluster::start(&[]), Prefix::unique());
    let patient = Arc::new(redis_store(redis_cluster(&cluster).await, &prefix));
    let builder = redis_builder(redis_cluster(&cluster).await, &prefix).timeout(SHORT);
    let impatient = Arc::new(builder.build());
    let sessions = on_each_node(&patient, &cluster).await;
    cluster.kill(1);
    for _ in 0..5 {
        for (node, session) in sessions.iter().enumerate() {
            if node == 1 {
                assert_out_of_reach(session.through(&impatient).get("a").await);
            } else {
                assert_eq!(session.get("a").await.unwrap().unwrap(), "1", "node {node}");
                assert_eq!(session.set("a", "1").await.unwrap(), APPLIED, "node {node}");
            }
        }
    }
    cluster.restart(1);
    let start = Instant::now();
    while let Err(error) = sessions[1].load().await {
        assert!(start.elapsed() < LONG_TIMEOUT, "{}", error_chain(&error));
    }
    // The node keeps nothing on disk.
    assert_eq!(sessions[1].load().await.unwrap(), Err(Refused::NotFound));
    on_each_node(&patient, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_rs_follows_a_session_to_another_node() {
    let cluster = Cluster::start(&[]);
    let store = store(redis_cluster(&cluster).await);
    let sessions = on_each_node(&store, &cluster).await;
    let tag = sessions[0].id.to_string()[..2].to_owned();
    let from = cluster.begin_move(&tag, 1);
    for session in &sessions {
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        assert_eq!(session.set("a", "2").await.unwrap(), APPLIED);
    }
    cluster.end_move(&tag, from, 1);
    for session in &sessions {
        assert_eq!(session.get("a").await.unwrap().unwrap(), "2");
        assert_eq!(session.set("a", "3").await.unwrap(), APPLIED);
    }
}

/// While a session moves, fred repeats each command at the old node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fred_fails_while_a_session_moves_and_finds_it_afterwards() {
    let (cluster, prefix) = (Cluster::start(&[]), Prefix::unique());
    let patient = Arc::new(redis_store(fred_cluster(&cluster).await, &prefix));
    let builder = redis_builder(fred_cluster(&cluster).await, &prefix).timeout(SHORT);
    let impatient = Arc::new(builder.build());
    let sessions = on_each_node(&patient, &cluster).await;
    let tag = sessions[0].id.to_string()[..2].to_owned();
    let from = cluster.begin_move(&tag, 1);
    for _ in 0..3 {
        // The timeout may cut off the last attempt, whose outcome is then unknown.
        assert_out_of_reach(sessions[0].through(&impatient).set("a", "2").await);
        for session in &sessions[1..] {
            assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        }
    }
    cluster.end_move(&tag, from, 1);
    for session in &sessions {
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        assert_eq!(session.set("a", "3").await.unwrap(), APPLIED);
    }
}

#[tokio::test]
async fn a_field_with_no_time_left_is_never_read() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::shared(flavour);
        let prefix = server.prefix();
        let store = Arc::new(redis_store(fred_client(server.url()).await, &prefix));
        let session = TestSession::begin(&store).await;
        for _ in 0..40 {
            let ttl = Some(Duration::from_millis(5));
            assert_eq!(session.set_with_ttl("a", "1", ttl).await.unwrap(), APPLIED);
            loop {
                let loaded = session.load().await.unwrap().unwrap();
                match loaded.fields.first() {
                    Some(field) => assert!(field.ttl.unwrap() > Duration::ZERO, "{flavour:?}"),
                    None => break,
                }
            }
        }
    }
}

#[tokio::test]
async fn a_user_without_a_right_is_refused_before_anything_is_done() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::start(flavour, &[]);
        for (rights, words) in [
            (&["~*", "+@all", "-pexpireat"][..], "PEXPIREAT"),
            (&["~*", "+@all", "-hpexpireat"], "to run HPEXPIREAT in a script"),
            (&["~other*", "+@all"], "access a key"),
        ] {
            let mut user = vec!["ACL", "SETUSER", "app", "reset", "on", ">word"];
            user.extend(rights);
            server.command::<()>(&user);
            server.command::<()>(&["SCRIPT", "FLUSH"]);
            let url = format!("redis://app:word@{}", server.address());
            let store = store(fred_client(&url).await);
            for error in [store.check().await, TestSession::new(&store).create(None).await] {
                let error = error.unwrap_err();
                let text = error_chain(&error);
                assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{text}");
                assert!(text.contains(words), "{text}");
            }
            assert_eq!(server.command::<u64>(&["DBSIZE"]), 0);
        }
    }
}

/// The server has none of the scripts when the operations begin.
#[tokio::test]
async fn a_user_with_rights_to_the_keys_of_the_store_alone_is_enough() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let (server, prefix) = (Redis::start(flavour, &[]), Prefix::unique());
        let keys = format!("~{}:*", prefix.name());
        let user = ["ACL", "SETUSER", "app", "reset", "on", ">word", &keys, "&*", "+@all"];
        server.command::<()>(&user);
        let client = fred_client(&format!("redis://app:word@{}", server.address())).await;
        let store = Arc::new(redis_store(client, &prefix));
        store.check().await.unwrap();
        server.command::<()>(&["SCRIPT", "FLUSH"]);
        let principal = PrincipalKey::from_bytes(random());
        let session = TestSession::new(&store);
        let who = NewSignIn::new(&principal, Assurance::Aal1);
        store.create(session.creation().sign_in(who)).await.unwrap();
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
        let (page, fields) = (PageRequest::new(None, 10), Projection::All);
        let listed = store.list_by_principal(&principal, page, fields).await.unwrap();
        assert_eq!(listed.sessions.len(), 1);
        let target = RevokeTarget::All { except: None };
        assert_eq!(store.revoke(&principal, target).await.unwrap().answer, [session.id]);
        store.revoke_everyone().await.unwrap();
    }
}

/// Without the right to run `GETEX`, reads run as scripts, as on a server without this command.
#[tokio::test]
async fn a_user_without_the_right_to_read_natively_reads_with_scripts() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::start(flavour, &[]);
        let user = ["ACL", "SETUSER", "app", "reset", "on", ">word", "~*", "&*", "+@all", "-getex"];
        server.command::<()>(&user);
        let url = format!("redis://app:word@{}", server.address());
        let session = TestSession::begin(&store(fred_client(&url).await)).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        let (scripts, fields) = (server.calls("evalsha"), server.calls("hmget"));
        for _ in 0..3 {
            assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        }
        assert_eq!(server.calls("evalsha") - scripts, 3);
        assert_eq!(server.calls("hmget") - fields, 3, "only the scripts should read fields");
    }
}

/// With RESP3, the server answers `HGETALL` with a map.
#[tokio::test]
async fn fred_reads_all_fields_with_resp3() {
    let server = Redis::start(Flavour::Redis, &[]);
    let config = Config { version: RespVersion::RESP3, ..Config::from_url(server.url()).unwrap() };
    let session = TestSession::begin(&store(Client::new(config, None, None, None))).await;
    for name in ["a", "b"] {
        assert_eq!(session.set(name, name).await.unwrap(), APPLIED);
    }
    let scripts = server.calls("evalsha");
    let mut fields = session.load().await.unwrap().unwrap().fields;
    fields.sort_by(|one, other| one.name.cmp(&other.name));
    let found: Vec<_> = fields.iter().map(|field| (&*field.name, &field.value[..])).collect();
    assert_eq!(found, [("a", &b"a"[..]), ("b", b"b")]);
    assert_eq!(server.calls("evalsha"), scripts);
}

/// A leader without replicas refuses writes, and so does a leader whose disk is full.
#[tokio::test]
async fn a_leader_that_refuses_writes_answers_reads() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::start(flavour, &[]);
        let replicas =
            |count| server.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", count]);
        a_leader_answers_reads(&server, || replicas("1"), || replicas("0")).await;
        a_leader_answers_reads(&server, || server.fill_disk(), || server.free_disk()).await;
    }
}

async fn a_leader_answers_reads(server: &Redis, refuse: impl Fn(), accept: impl Fn()) {
    let store = store(fred_client(server.url()).await);
    let principal = PrincipalKey::from_bytes(random());
    let who = NewSignIn::new(&principal, Assurance::Aal1);
    let sign_in = async |idle| {
        let session = TestSession::new(&store);
        store.create(session.creation().idle(Ttl::from_duration(idle)).sign_in(who)).await.unwrap();
        session
    };
    let session = sign_in(Duration::from_secs(3600)).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    // The list still contains this session. No write is needed to see that it has expired.
    let expired = sign_in(Duration::from_millis(1)).await;
    while expired.load().await.unwrap().is_ok() {}
    server.command::<()>(&["SCRIPT", "FLUSH"]);
    refuse();
    // A touch is due, but the server does not let the store write it.
    assert!(session.load_and_touch().await.unwrap().is_ok());
    assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
    assert_eq!(session.load().await.unwrap().unwrap().fields.len(), 1);
    let (page, fields) = (PageRequest::new(None, 10), Projection::Named(&[]));
    let listed = store.list_by_principal(&principal, page, fields).await.unwrap();
    assert_eq!(listed.sessions.len(), 1);
    // No write succeeds, so a sign-out fails, too.
    let target = RevokeTarget::All { except: None };
    let sign_out = Update::new(&[]).auth_change(AuthChange::Out);
    for kind in [
        error_kind(session.set("a", "2").await),
        error_kind(session.update(sign_out).await),
        error_kind(session.delete().await),
        error_kind(store.revoke(&principal, target).await),
        error_kind(store.revoke_everyone().await),
    ] {
        assert_eq!(kind, StoreErrorKind::Unavailable);
    }
    assert!(session.load().await.unwrap().is_ok());
    accept();
    assert_eq!(session.set("a", "2").await.unwrap(), APPLIED);
    assert_eq!(store.revoke(&principal, target).await.unwrap().answer, [session.id]);
}

#[tokio::test]
async fn a_server_that_may_lose_keys_is_reported() {
    let cases: [(&[&str], &[&str]); 3] = [
        (&["--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"], &["allkeys-lru"]),
        (&["--appendonly", "no"], &["appendonly no"]),
        (&["--appendonly", "yes"], &[]),
    ];
    for (settings, expected) in cases {
        let server = Redis::start(Flavour::Redis, settings);
        let store = store(fred_client(server.url()).await);
        let (log, guard) = Log::start();
        store.check().await.unwrap();
        drop(guard);
        let text = log.text();
        assert_eq!(text.matches("WARN").count(), expected.len(), "{settings:?}: {text}");
        assert!(expected.iter().all(|part| text.contains(part)), "{settings:?}: {text}");
    }
}

/// An evicted principal list contains no session, although one is live.
#[tokio::test]
async fn a_revocation_does_not_succeed_after_evictions() {
    let server = Redis::start(Flavour::Redis, &["--maxmemory-policy", "allkeys-lru"]);
    let store = store(fred_client(server.url()).await);
    let principal = PrincipalKey::from_bytes(random());
    let session = TestSession::new(&store);
    let who = NewSignIn::new(&principal, Assurance::Aal1);
    store.create(session.creation().sign_in(who)).await.unwrap();
    let target = RevokeTarget::All { except: Some(&session.id) };
    assert!(store.revoke(&principal, target).await.unwrap().answer.is_empty());

    server.command::<()>(&["SET", "junk", &"x".repeat(8 << 20)]);
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "6mb"]);
    // The server evicts before the next write.
    while server.command::<u64>(&["EXISTS", "junk"]) == 1 {
        server.command::<()>(&["SET", "more", "x"]);
    }
    let target = RevokeTarget::All { except: None };
    assert_eq!(error_kind(store.revoke(&principal, target).await), StoreErrorKind::Unsupported);
}

#[tokio::test]
async fn a_timeout_limits_an_operation_at_both_extremes() {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let client = fred_client(&format!("redis://{}", proxy.address())).await;
    let prefix = Prefix::unique();
    let builder = redis_builder(client.clone(), &prefix).timeout(Duration::ZERO);
    proxy.set(Traffic::Hold);
    // A timeout of zero is the shortest one, not an infinite one.
    let create = TestSession::new(&Arc::new(builder.build()));
    let answer = tokio::time::timeout(LONG_TIMEOUT, create.create(None)).await;
    assert_out_of_reach(answer.expect("the creation should end at its timeout"));

    let builder = redis_builder(client, &prefix).timeout(Duration::MAX);
    let session = TestSession::new(&Arc::new(builder.build()));
    proxy.set(Traffic::Forward);
    session.create(None).await.unwrap();
}
