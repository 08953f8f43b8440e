//! What is particular to Redis and Valkey: faults of the server and the network, its traps, and what
//! is kept there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::config::{Config, PerformanceConfig, ReconnectPolicy},
};
use ruts::{
    CachePolicy, Ttl,
    store::{
        Change, Create, FieldWrite, Lookup, Store, StoreError, StoreErrorKind, Updated,
        redis::{RedisClient, RedisStore},
    },
};
use ruts_tests::{
    Proxy, Traffic, Visitor,
    backends::{fred_client, fred_cluster, fred_pool, manager, redis_cluster, redis_store},
    kind,
    servers::{Cluster, Flavour, Prefix, Redis},
    told,
};

const APPLIED: Lookup<Updated> = Lookup::Found(Updated::Applied { found: 0 });
/// For tests in which the answer does not come.
const SHORT: Duration = Duration::from_millis(300);

fn store<C: RedisClient>(client: C) -> Arc<RedisStore<C>> {
    Arc::new(redis_store(client, &Prefix::unique()))
}

fn impatient<C: RedisClient>(client: C) -> Arc<RedisStore<C>> {
    Arc::new(redis_store(client, &Prefix::unique()).with_timeout(SHORT))
}

/// A client of fred whose owner wants everything tried again and again.
async fn stubborn_fred(url: &str) -> Client {
    let performance = PerformanceConfig {
        default_command_timeout: Duration::from_secs(60),
        ..PerformanceConfig::default()
    };
    let connection = fred::types::config::ConnectionConfig {
        max_command_attempts: 5,
        max_redirections: 5,
        ..Default::default()
    };
    let policy = ReconnectPolicy::new_constant(0, 50);
    let config = Config { fail_fast: false, ..Config::from_url(url).unwrap() };
    let client = Client::new(config, Some(performance), Some(connection), Some(policy));
    client.init().await.unwrap();
    client
}

/// The same tests through both client libraries, whatever they are set to.
macro_rules! through {
    ($($test:ident),+ $(,)?) => {
        mod fred_as_it_is { through!(@ fred_client: $($test),+); }
        mod fred_set_to_insist { through!(@ stubborn_fred: $($test),+); }
        mod a_pool_of_fred { through!(@ fred_pool: $($test),+); }
        mod redis_rs { through!(@ manager: $($test),+); }
    };
    (@ $client:ident: $($test:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            super::$test(async |url: String| super::$client(&url).await).await;
        })+
    };
}

through! {
    a_dead_server_is_an_error_at_once_and_works_again_when_it_is_back,
    a_paused_server_leaves_a_write_unknown,
    a_write_whose_answer_is_cut_off_is_done_once,
    a_write_that_never_left_is_not_done,
    a_forgotten_script_is_sent_again,
    a_replica_answers_no_operation,
    a_full_server_frees_and_reads,
    a_server_without_field_expiry_is_refused,
    what_others_wrote_is_an_error,
    a_huge_value_survives,
}

async fn a_dead_server_is_an_error_at_once_and_works_again_when_it_is_back<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Redis, &["--appendonly", "yes", "--appendfsync", "always"]);
    let store = store(connect(server.url().to_owned()).await);
    let visitor = Visitor::begin(&store).await;
    assert_eq!(visitor.set("a", "1").await.unwrap(), APPLIED);
    server.kill();
    for _ in 0..3 {
        let asked = Instant::now();
        is_out_of_reach(visitor.set("b", "2").await);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.restart();
    let back = Instant::now();
    let found = loop {
        match visitor.get("a").await {
            Ok(found) => break found,
            Err(error) => assert!(back.elapsed() < Duration::from_secs(20), "{}", told(&error)),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(found, Some(Bytes::from_static(b"1")));
    assert_eq!(visitor.get("b").await.unwrap(), None, "a write that failed was done");
}

async fn a_paused_server_leaves_a_write_unknown<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Redis, &[]);
    let store = impatient(connect(server.url().to_owned()).await);
    let visitor = Visitor::begin(&store).await;
    visitor.set("a", "1").await.unwrap();
    let calls = server.calls("evalsha");
    server.pause();
    let asked = Instant::now();
    assert_eq!(kind(visitor.set("a", "2").await), StoreErrorKind::Unknown);
    assert!(asked.elapsed() < 5 * SHORT, "{:?}", asked.elapsed());
    server.resume();
    settled(&visitor, "2").await;
    assert_eq!(server.calls("evalsha") - calls, 2, "the write, and the read that found it");
}

/// Waits until the store answers again, without writing, and checks what it then holds.
async fn settled<S: Store>(visitor: &Visitor<S>, value: &str) {
    let begun = Instant::now();
    let held = loop {
        match visitor.get("a").await {
            Ok(held) => break held,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{}", told(&error)),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(held.unwrap(), value);
}

async fn a_write_whose_answer_is_cut_off_is_done_once<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let store = store(connect(format!("redis://{}", proxy.address())).await);
    let visitor = Visitor::begin(&store).await;
    visitor.set("a", "1").await.unwrap();
    for (cut, value) in [(0, "2"), (1, "3"), (3, "4")] {
        settled(&visitor, &(value.parse::<u8>().unwrap() - 1).to_string()).await;
        let calls = server.calls("hset");
        proxy.set(Traffic::CutsAnswersAfter(cut));
        assert_eq!(kind(visitor.set("a", value).await), StoreErrorKind::Unknown, "after {cut}");
        proxy.set(Traffic::Flows);
        settled(&visitor, value).await;
        assert_eq!(server.calls("hset") - calls, 1, "done once, and never sent again");
    }
}

async fn a_write_that_never_left_is_not_done<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let store = impatient(connect(format!("redis://{}", proxy.address())).await);
    let visitor = Visitor::begin(&store).await;
    visitor.set("a", "1").await.unwrap();
    proxy.set(Traffic::Stops);
    for _ in 0..3 {
        is_out_of_reach(visitor.set("a", "2").await);
        is_out_of_reach(visitor.delete().await);
    }
    proxy.set(Traffic::Flows);
    settled(&visitor, "1").await;
}

/// The operation failed; redis-rs does not say whether it was sent.
fn is_out_of_reach<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    let kind = kind(answer);
    assert!(matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown), "{kind:?}");
}

#[tokio::test]
async fn fred_says_at_once_that_nothing_was_sent() {
    let server = Redis::start(Flavour::Redis, &[]);
    for client in [fred_client(server.url()).await, stubborn_fred(server.url()).await] {
        let visitor = Visitor::begin(&store(client)).await;
        server.kill();
        // Until the client has noticed, it believes that it sent something.
        while kind(visitor.set("a", "2").await) == StoreErrorKind::Unknown {}
        for _ in 0..10 {
            let asked = Instant::now();
            assert_eq!(kind(visitor.set("a", "2").await), StoreErrorKind::Unavailable);
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        }
        server.restart();
    }
}

async fn a_forgotten_script_is_sent_again<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let server = Redis::start(Flavour::Valkey, &[]);
    let visitor = Visitor::begin(&store(connect(server.url().to_owned()).await)).await;
    for value in ["1", "2"] {
        server.command::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(visitor.set("a", value).await.unwrap(), APPLIED);
        server.command::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), value);
    }
}

async fn a_replica_answers_no_operation<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let primary = Redis::start(Flavour::Redis, &[]);
    let address = primary.address();
    let (host, port) = address.split_once(':').unwrap();
    let replica = Redis::start(Flavour::Redis, &["--replicaof", host, port]);
    while replica.command::<Vec<redis::Value>>(&["ROLE"])[3] != status("connected") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let visitor = Visitor::new(&store(connect(replica.url().to_owned()).await));
    let error = visitor.create(None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(told(&error).contains("read only"), "{}", told(&error));
    assert_eq!(kind(visitor.load().await), StoreErrorKind::Unavailable);
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    visitor.create(None).await.unwrap();
}

fn status(text: &str) -> redis::Value {
    redis::Value::BulkString(text.into())
}

async fn a_full_server_frees_and_reads<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::start(flavour, &["--maxmemory-policy", "noeviction"]);
        let store = store(connect(server.url().to_owned()).await);
        let visitor = Visitor::begin(&store).await;
        for name in ["a", "b", "c"] {
            visitor.set(name, "old").await.unwrap();
        }
        server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_eq!(kind(visitor.set("a", "new").await), StoreErrorKind::Full);
        let new = Bytes::from_static(b"new");
        let set =
            Change::Set(FieldWrite { name: "n", value: &new, ttl: None, hot: CachePolicy::Auto });
        let mixed = [Change::Remove("a"), set];
        assert_eq!(kind(visitor.change(&mixed).await), StoreErrorKind::Full);
        assert_eq!(kind(Visitor::new(&store).create(None).await), StoreErrorKind::Full);
        assert_eq!(
            visitor.get("a").await.unwrap().unwrap(),
            "old",
            "a refused write did something"
        );

        let removed = visitor.change(&[Change::Remove("a")]).await.unwrap();
        assert_eq!(removed, Lookup::Found(Updated::Applied { found: 1 }));
        let taken = visitor.take("b").await.unwrap();
        assert_eq!(taken, Lookup::Found(Some(Bytes::from_static(b"old"))));
        assert!(matches!(visitor.slide().await.unwrap(), Lookup::Found(_)));
        assert_eq!(visitor.delete().await.unwrap(), Lookup::Found(()));
        assert!(matches!(visitor.load().await.unwrap(), Lookup::Ended { .. }));

        server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        Visitor::begin(&store).await.set("a", "new").await.unwrap();
    }
}

async fn a_server_without_field_expiry_is_refused<C: RedisClient>(
    connect: impl AsyncFn(String) -> C,
) {
    let server = Redis::start(Flavour::Redis, &["--rename-command", "HPTTL", ""]);
    let store = store(connect(server.url().to_owned()).await);
    for error in [store.check().await, Visitor::new(&store).create(None).await] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
        assert!(told(&error).contains("Redis 7.4, Valkey 9"), "{}", told(&error));
    }
    assert_eq!(server.command::<u64>(&["DBSIZE"]), 0);
}

async fn what_others_wrote_is_an_error<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let client = connect(server.url().to_owned()).await;
    let store = Arc::new(redis_store(client, &prefix));
    let key = |visitor: &Visitor<_>| {
        let id = visitor.id.to_string();
        format!("{}:{{{}}}{}", prefix.name(), &id[..2], &id[2..])
    };

    for (field, value) in [("~", "soon"), ("~", &*"\u{1}".repeat(64))] {
        let visitor = Visitor::begin(&store).await;
        server.command::<()>(&["HSET", &key(&visitor), field, value]);
        let context = format!("{field} = {value}");
        assert_eq!(kind(visitor.load().await), StoreErrorKind::Corrupt, "{context}");
        assert_eq!(kind(visitor.set("a", "1").await), StoreErrorKind::Corrupt, "{context}");
        assert_eq!(kind(visitor.take("a").await), StoreErrorKind::Corrupt, "{context}");
        assert_eq!(kind(visitor.delete().await), StoreErrorKind::Corrupt, "{context}");
        assert_eq!(kind(visitor.create(None).await), StoreErrorKind::Corrupt, "{context}");
        assert_eq!(server.command::<u64>(&["HLEN", &key(&visitor)]), 1, "{context}");
    }

    let visitor = Visitor::begin(&store).await;
    server.command::<()>(&["HSET", &key(&visitor), "a", "no digit", "b", "02"]);
    assert_eq!(kind(visitor.load().await), StoreErrorKind::Corrupt);
    assert_eq!(visitor.get("b").await.unwrap().unwrap(), "2", "the others can be read");
    assert_eq!(visitor.set("a", "1").await.unwrap(), APPLIED, "and it can be written over");
    assert_eq!(visitor.get("a").await.unwrap().unwrap(), "1");

    let visitor = Visitor::new(&store);
    server.command::<()>(&["SET", &key(&visitor), "a string"]);
    assert_eq!(kind(visitor.load().await), StoreErrorKind::Corrupt);
    assert_eq!(kind(visitor.create(None).await), StoreErrorKind::Corrupt);

    // A name that is not text is nobody's: neither an answer nor an obstacle.
    let visitor = Visitor::begin(&store).await;
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let command = redis::cmd("HSET").arg(key(&visitor)).arg(b"\xff\xfe").arg(b"0x").to_owned();
    command.exec(&mut connection).unwrap();
    assert_eq!(kind(visitor.load().await), StoreErrorKind::Corrupt);
    assert_eq!(visitor.set("a", "1").await.unwrap(), APPLIED);
}

async fn a_huge_value_survives<C: RedisClient>(connect: impl AsyncFn(String) -> C) {
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let client = connect(server.url().to_owned()).await;
    let visitor = Visitor::begin(&Arc::new(redis_store(client, &prefix))).await;
    let value = Bytes::from_iter((0..5 << 20).map(|index: u32| (index % 251) as u8));
    let put = FieldWrite { name: "a", value: &value, ttl: None, hot: CachePolicy::Auto };
    assert_eq!(visitor.change(&[Change::Set(put)]).await.unwrap(), APPLIED);
    assert!(visitor.get("a").await.unwrap().unwrap() == value);
    assert!(visitor.take("a").await.unwrap() == Lookup::Found(Some(value)));
}

/// Servers that never remove what expired, so that it is there to trip over.
fn forgetful() -> impl Iterator<Item = Redis> {
    [Flavour::Redis, Flavour::Valkey].into_iter().map(|flavour| {
        let server = Redis::start(flavour, &[]);
        server.command::<()>(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        server
    })
}

const MOMENT: Duration = Duration::from_millis(20);

/// A session on such a server whose field `a` has expired and was not removed.
async fn with_an_expired_field(server: &Redis) -> Visitor<RedisStore<Client>> {
    let visitor = Visitor::begin(&store(fred_client(server.url()).await)).await;
    visitor.set("b", "1").await.unwrap();
    visitor.set_for("a", "1", Some(MOMENT)).await.unwrap();
    let keys: Vec<String> = server.command(&["KEYS", "*"]);
    let key = keys.iter().find(|key| key.ends_with(&visitor.id.to_string()[2..])).unwrap();
    while server.command::<Vec<i64>>(&["HPTTL", key, "FIELDS", "1", "a"]) != [-2] {
        tokio::time::sleep(MOMENT / 4).await;
    }
    assert_eq!(server.command::<u64>(&["HLEN", key]), 3, "the server has not removed it");
    visitor
}

#[tokio::test]
async fn an_expired_field_is_not_revived() {
    for server in forgetful() {
        let visitor = with_an_expired_field(&server).await;
        let hour = Ttl::from_secs(3600);
        assert_eq!(visitor.change(&[Change::Expire("a", hour)]).await.unwrap(), APPLIED);
        assert_eq!(visitor.get("a").await.unwrap(), None);
        visitor.slide().await.unwrap();
        assert_eq!(visitor.get("a").await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_expired_field_is_not_counted() {
    for server in forgetful() {
        let visitor = with_an_expired_field(&server).await;
        assert_eq!(visitor.change(&[Change::Remove("a")]).await.unwrap(), APPLIED);
        let visitor = with_an_expired_field(&server).await;
        assert_eq!(visitor.take("a").await.unwrap(), Lookup::Found(None));
        let visitor = with_an_expired_field(&server).await;
        assert_eq!(visitor.replace("a", None, &"2".into()).await.unwrap(), APPLIED);
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), "2");
    }
}

#[tokio::test]
async fn a_write_over_an_expired_field_is_not_lost() {
    for server in forgetful() {
        for ttl in [None, Some(Duration::from_secs(3600))] {
            let visitor = with_an_expired_field(&server).await;
            assert_eq!(visitor.set_for("a", "2", ttl).await.unwrap(), APPLIED);
            let Lookup::Found(loaded) = visitor.load().await.unwrap() else {
                panic!("it is there")
            };
            let field = loaded.fields.iter().find(|field| field.name == "a").unwrap();
            assert_eq!(field.value, "2");
            assert_eq!(field.ttl.is_some(), ttl.is_some(), "the lifetime is the new one");
        }
    }
}

#[tokio::test]
async fn an_expired_session_is_not_revived() {
    for server in forgetful() {
        let store = store(fred_client(server.url()).await);
        let visitor = Visitor::new(&store);
        let value = Bytes::from_static(b"old");
        let old = FieldWrite { name: "old", value: &value, ttl: None, hot: CachePolicy::Auto };
        let create = Create {
            id: &visitor.id,
            secret: &visitor.secret,
            idle: Some(Ttl::require(MOMENT)),
            absolute: None,
            fields: &[old],
            sign_in: None,
        };
        store.create(create).await.unwrap();
        while visitor.load().await.unwrap() != Lookup::NotFound {
            tokio::time::sleep(MOMENT / 4).await;
        }
        assert_eq!(visitor.slide().await.unwrap(), Lookup::NotFound);
        assert_eq!(visitor.set("a", "1").await.unwrap(), Lookup::NotFound);
        assert_eq!(visitor.take("old").await.unwrap(), Lookup::NotFound);
        assert_eq!(visitor.delete().await.unwrap(), Lookup::NotFound);
        visitor.create(None).await.unwrap();
        assert_eq!(visitor.get("old").await.unwrap(), None, "the new session begins empty");
    }
}

/// A session on each node.
async fn on_every_node<C: RedisClient>(
    store: &Arc<RedisStore<C>>,
    cluster: &Cluster,
) -> Vec<Visitor<RedisStore<C>>> {
    let mut visitors = Vec::new();
    while visitors.len() < cluster.urls().len() {
        let visitor = Visitor::begin(store).await;
        if cluster.node_of(&visitor.id.to_string()[..2]) == visitors.len() {
            visitor.set("a", "1").await.unwrap();
            visitors.push(visitor);
        }
    }
    visitors
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_a_dead_shard_keeps_serving_the_others() {
    let cluster = Cluster::start();
    let store = impatient(redis_cluster(&cluster).await);
    let visitors = on_every_node(&store, &cluster).await;
    cluster.kill(1);
    for _ in 0..5 {
        for (node, visitor) in visitors.iter().enumerate() {
            let held = visitor.get("a").await;
            if node == 1 {
                is_out_of_reach(held);
            } else {
                assert_eq!(held.unwrap().unwrap(), "1", "node {node}");
                visitor.set("a", "1").await.unwrap();
            }
        }
    }
    cluster.restart(1);
    let back = Instant::now();
    while let Err(error) = visitors[1].load().await {
        assert!(back.elapsed() < Duration::from_secs(20), "{}", told(&error));
    }
    assert_eq!(visitors[1].load().await.unwrap(), Lookup::NotFound, "it kept nothing on disk");
    on_every_node(&store, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_rs_follows_a_session_to_another_node() {
    let cluster = Cluster::start();
    let store = store(redis_cluster(&cluster).await);
    let visitors = on_every_node(&store, &cluster).await;
    let tag = visitors[0].id.to_string()[..2].to_owned();
    let from = cluster.begin_to_move(&tag, 1);
    for visitor in &visitors {
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), "1");
        assert_eq!(visitor.set("a", "2").await.unwrap(), APPLIED);
    }
    cluster.end_to_move(&tag, from, 1);
    for visitor in &visitors {
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), "2");
        assert_eq!(visitor.set("a", "3").await.unwrap(), APPLIED);
    }
}

/// fred asks the old node again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fred_refuses_a_session_that_is_moving_and_finds_it_in_the_end() {
    let cluster = Cluster::start();
    let store = impatient(fred_cluster(&cluster).await);
    let visitors = on_every_node(&store, &cluster).await;
    let tag = visitors[0].id.to_string()[..2].to_owned();
    let from = cluster.begin_to_move(&tag, 1);
    for _ in 0..3 {
        // The time limit may cut off the last attempt; whether that one was refused is not known then.
        let failure = kind(visitors[0].set("a", "2").await);
        assert!(
            matches!(failure, StoreErrorKind::Unavailable | StoreErrorKind::Unknown),
            "{failure:?}"
        );
        for visitor in &visitors[1..] {
            assert_eq!(visitor.get("a").await.unwrap().unwrap(), "1");
        }
    }
    cluster.end_to_move(&tag, from, 1);
    for visitor in &visitors {
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), "1");
        assert_eq!(visitor.set("a", "3").await.unwrap(), APPLIED);
    }
}

#[tokio::test]
async fn a_field_ends_to_the_millisecond() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::shared(flavour);
        let prefix = server.prefix();
        let store = Arc::new(redis_store(fred_client(server.url()).await, &prefix));
        let visitor = Visitor::begin(&store).await;
        for _ in 0..40 {
            visitor.set_for("a", "1", Some(Duration::from_millis(5))).await.unwrap();
            loop {
                let Lookup::Found(loaded) = visitor.load().await.unwrap() else { panic!("it is") };
                match loaded.fields.first() {
                    Some(field) => assert!(field.ttl.unwrap() > Duration::ZERO, "{flavour:?}"),
                    None => break,
                }
            }
        }
    }
}

#[tokio::test]
async fn a_user_who_may_not_run_a_command_is_refused_before_anything_is_done() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::start(flavour, &[]);
        for (rights, words) in [
            (&["~*", "+@all", "-pexpireat"][..], "PEXPIREAT"),
            (&["~*", "+@all", "-hpexpireat"], "Redis 7.4, Valkey 9"),
            (&["~other*", "+@all"], "credentials a key"),
        ] {
            let mut user = vec!["ACL", "SETUSER", "app", "reset", "on", ">word"];
            user.extend(rights);
            server.command::<()>(&user);
            server.command::<()>(&["SCRIPT", "FLUSH"]);
            let url = format!("redis://app:word@{}", server.address());
            let store = store(fred_client(&url).await);
            for error in [store.check().await, Visitor::new(&store).create(None).await] {
                let error = error.unwrap_err();
                assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{}", told(&error));
                assert!(told(&error).contains(words), "{}", told(&error));
            }
            assert_eq!(server.command::<u64>(&["DBSIZE"]), 0);
        }
    }
}

#[tokio::test]
async fn an_operation_has_one_time_limit_whatever_it_takes() {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let client = fred_client(&format!("redis://{}", proxy.address())).await;
    let store = Arc::new(redis_store(client, &Prefix::unique()).with_timeout(Duration::ZERO));
    proxy.set(Traffic::Waits);
    let asked = Instant::now();
    is_out_of_reach(Visitor::new(&store).create(None).await);
    assert!(asked.elapsed() < SHORT, "zero is not for ever");

    let visitor = Visitor::new(&Arc::new((*store).clone().with_timeout(Duration::MAX)));
    proxy.set(Traffic::Flows);
    visitor.create(None).await.unwrap();
}
