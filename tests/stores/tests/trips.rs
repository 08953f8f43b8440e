//! Counts the round trips of each operation between a store and its server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, CachePolicy, Change, FieldWrite, NewSignIn, OnLimit, PageRequest, Precondition,
        Projection, Refused, Renew, RevokeTarget, SessionLimit, Store, TakeField, Touch, Update,
        Updated, Written, mysql::MySqlStore, postgres::PostgresStore, redis::RedisStore,
    },
    token::SecretHash,
};
use ruts_tests_stores::{
    Proxy,
    backends::{fred_client, redis_rs_client, redis_store, wait_until_idle},
    servers::{Flavour, MySql, Postgres, Prefix, Redis, mysql_options, unique_tables},
    tiers::{Proxies, Tiers},
};
use ruts_tests_support::{APPLIED, DELETED, LONG_TIMEOUT, TestSession, random, taken, wait_until};
use sqlx::postgres::PgPoolOptions;

const HOUR: Ttl = Ttl::from_secs(3600);
/// A touch that always moves the idle deadline.
const TOUCH: Touch = Touch::new(HOUR, Duration::ZERO);

/// Runs each operation, with all the parts that it can have. Calls `done` after each.
async fn each_operation<S: Store>(store: &Arc<S>, mut done: impl AsyncFnMut(&str)) {
    let session = TestSession::new(store);
    session.create(Some(HOUR)).await.unwrap();
    done("a creation").await;

    let value = Bytes::from_static(b"value");
    let set = |name| Change::Set(FieldWrite::new(name, &value).ttl(HOUR));
    let five = ["a", "b", "c", "d", "e"].map(set);
    assert_eq!(session.change(&five[..1]).await.unwrap(), APPLIED);
    done("a write of one field").await;
    let [a, b, c, d, e] = five;
    let mixed = [a, b, c, d, e, Change::Remove("a"), Change::Expire("b", HOUR)];
    let found = Ok(Written::new(Updated::Applied { found: 2 }));
    assert_eq!(session.change(&mixed).await.unwrap(), found);
    done("a write of many fields").await;

    let some = Projection::Named(&["b", "c", "absent"]);
    for (fields, touch, name) in [
        (Projection::All, None, "a read of all fields"),
        (some, None, "a read of some fields"),
        (Projection::All, Some(TOUCH), "a read of all fields with a touch"),
        (some, Some(TOUCH), "a read of some fields with a touch"),
    ] {
        assert!(session.load_fields(fields, touch).await.unwrap().is_ok());
        done(name).await;
    }

    let next = SecretHash::from_bytes(random());
    let changes = [set("b"), set("f")];
    let precondition = Precondition::new("b", Some(&value));
    let update = Update::new(&changes).precondition(precondition).rotate(&next).touch(TOUCH);
    assert_eq!(session.update(update).await.unwrap(), APPLIED);
    done("a conditional write with a rotation and a touch").await;

    let session = session.with_secret(next);
    let next = SecretHash::from_bytes(random());
    let take = TakeField::new("f").rotate(&next).touch(TOUCH);
    let answer = store.take(session.credentials(), take).await.unwrap();
    assert_eq!(answer, taken(Some(value.clone())));
    done("a take with a rotation and a touch").await;

    let session = session.with_secret(next);
    assert_eq!(session.delete().await.unwrap(), DELETED);
    done("a deletion").await;
    assert!(matches!(session.load().await.unwrap(), Err(Refused::Deleted { .. })));
    done("a read of a deleted session").await;
}

/// Runs each operation that concerns a principal. Calls `done` after each, with its round trips on
/// Redis. A sign-in takes `sign_in` of them.
async fn each_principal_operation<S: Store>(
    store: &Arc<S>,
    sign_in: u64,
    mut done: impl AsyncFnMut(&str, u64),
) {
    let principal = PrincipalKey::from_bytes(random());
    let limit = SessionLimit::new(3, OnLimit::Reject);
    let who = NewSignIn::new(&principal, Assurance::Aal1).limit(limit);
    let first = TestSession::new(store);
    store.create(first.creation().idle(HOUR).absolute(HOUR).sign_in(who)).await.unwrap();
    done("a creation with a sign-in", sign_in).await;

    let guest = TestSession::begin(store).await;
    done("a creation without a sign-in", 1).await;
    let secret = SecretHash::from_bytes(random());
    let value = Bytes::from_static(b"ada");
    let changes = [Change::Set(FieldWrite::new("user", &value))];
    let sign = AuthChange::In { who, idle: Some(HOUR), absolute: Some(HOUR) };
    let update = Update::new(&changes).rotate(&secret).auth_change(sign);
    assert_eq!(guest.update(update).await.unwrap(), APPLIED);
    done("a sign-in with a rotation and a write", sign_in).await;

    let second = guest.with_secret(secret);
    assert!(second.load_fields(Projection::All, Some(TOUCH)).await.unwrap().is_ok());
    done("a read of a signed-in session with a touch", 1).await;
    let renewed = SecretHash::from_bytes(random());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let renew = Renew::new(&renewed, Ttl::from_millis(1), Duration::from_secs(30));
    assert_eq!(second.update(Update::new(&[]).renew(renew)).await.unwrap(), APPLIED);
    done("a renewal", 1).await;
    let second = second.with_secret(renewed);
    assert!(second.load_fields(Projection::All, Some(TOUCH)).await.unwrap().is_ok());
    done("the first use of a renewed secret", 1).await;
    assert!(store.inspect(&first.id).await.unwrap().is_some());
    done("an inspection", 1).await;
    let page = PageRequest::new(None, 10);
    let fields = Projection::Named(&["user"]);
    let listed = store.list_by_principal(&principal, page, fields).await.unwrap();
    assert_eq!(listed.sessions.len(), 2);
    done("a list of two", 1 + 2).await;
    let target = RevokeTarget::All { except: Some(&second.id) };
    assert_eq!(store.revoke(&principal, target).await.unwrap().answer, [first.id]);
    done("a revocation of one", 1 + 1 + 1).await;
    assert_eq!(
        second.update(Update::new(&[]).auth_change(AuthChange::Out)).await.unwrap(),
        APPLIED
    );
    done("a sign-out", 1).await;
}

/// Returns the number of scripts and native reads so far.
fn commands(server: &Redis) -> u64 {
    server.calls("evalsha") + server.calls("getex")
}

/// Checks that each operation is one script or one native read, in one request.
async fn each_operation_is_one_command<S: Store>(server: &Redis, proxy: &Proxy, store: S) {
    let store = Arc::new(store);
    // Loads the scripts.
    each_operation(&store, async |_| {}).await;
    proxy.take_requests();
    let (mut calls, mut reads) = (commands(server), Vec::new());
    each_operation(&store, async |operation| {
        let getex = server.calls("getex");
        let now = commands(server);
        // A native read finds that the session is not live, and a script then finds the reason.
        let expected = if operation == "a read of a deleted session" { 2 } else { 1 };
        assert_eq!(now - calls, expected, "{operation}");
        assert_eq!(proxy.take_requests().len() as u64, expected, "{operation}");
        reads.push((operation.to_owned(), getex));
        calls = now;
    })
    .await;
    let native: Vec<_> = reads.windows(2).filter(|pair| pair[0].1 < pair[1].1).collect();
    let native: Vec<_> = native.iter().map(|pair| &*pair[1].0).collect();
    let live = ["a read of all fields", "a read of some fields"];
    assert_eq!(native, [live[0], live[1], "a read of a deleted session"]);
    assert_eq!(
        server.calls("eval"),
        2 * 5,
        "each script should be sent once, after a check of the server"
    );

    each_principal_operation_is_counted(server, &store, 1).await;
    assert_eq!(store.revoke_everyone().await.unwrap(), Written::new(()));
    let session = TestSession::begin(&store).await;
    assert_eq!(store.revoke_everyone().await.unwrap(), Written::new(()));
    let increments = server.calls("incr");
    assert_eq!(
        increments,
        2 * 4096,
        "the number of increments should not depend on the number of sessions"
    );
    assert_eq!(session.load().await.unwrap(), Err(Refused::Revoked));
}

/// Checks the number of commands of each operation that concerns a principal.
async fn each_principal_operation_is_counted<S: Store>(
    server: &Redis,
    store: &Arc<S>,
    sign_in: u64,
) {
    each_principal_operation(store, sign_in, async |_, _| {}).await;
    let mut calls = commands(server);
    each_principal_operation(store, sign_in, async |operation, trips| {
        let now = commands(server);
        assert_eq!(now - calls, trips, "{operation}");
        calls = now;
    })
    .await;
}

#[tokio::test]
async fn redis_through_fred() {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let client = fred_client(&format!("redis://{}", proxy.address())).await;
    each_operation_is_one_command(&server, &proxy, redis_store(client, &Prefix::unique())).await;
}

#[tokio::test]
async fn valkey_through_redis_rs() {
    let server = Redis::start(Flavour::Valkey, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let client = redis_rs_client(&format!("redis://{}", proxy.address())).await;
    each_operation_is_one_command(&server, &proxy, redis_store(client, &Prefix::unique())).await;
}

/// On a cluster, another node may hold the principal list.
#[tokio::test]
async fn a_sign_in_on_a_cluster_takes_three_commands() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::start_with_slots(flavour);
        let store = redis_store(fred_client(server.url()).await, &Prefix::unique());
        each_principal_operation_is_counted(&server, &Arc::new(store), 3).await;
        let store = redis_store(redis_rs_client(server.url()).await, &Prefix::unique());
        each_principal_operation_is_counted(&server, &Arc::new(store), 3).await;
    }
}

/// Size of a single `Sync` message, with which the pool tests each connection that comes back.
const SYNC: usize = 5;

#[tokio::test]
async fn postgres() {
    let server = Postgres::shared();
    let proxy = Proxy::before(&server.address()).await;
    let url = server.url().replace(&server.address(), proxy.address());
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    let schema = server.schema();
    let builder = PostgresStore::builder(pool.clone()).create_tables(true);
    let builder = builder.schema_name(schema.name()).timeout(LONG_TIMEOUT);
    let store = Arc::new(builder.cleanup_interval(None).build().await.unwrap());
    // Prepares the statements.
    each_operation(&store, async |_| {}).await;
    wait_until_idle(&pool).await;
    proxy.take_requests();
    each_operation(&store, async |operation| {
        wait_until_idle(&pool).await;
        let requests = proxy.take_requests();
        let is_one = matches!(*requests, [statement, SYNC] if statement > SYNC);
        assert!(is_one, "{operation}: {requests:?}");
    })
    .await;
    each_principal_operation(&store, 1, async |_, _| {}).await;
    wait_until_idle(&pool).await;
    proxy.take_requests();
    each_principal_operation(&store, 1, async |operation, _| {
        wait_until_idle(&pool).await;
        let statements = proxy.take_requests().iter().filter(|size| **size > SYNC).count();
        assert_eq!(statements, 1, "{operation}");
    })
    .await;
}

/// Size of a `COM_PING`, with which the pool tests each connection that comes back.
const PING: usize = 5;

/// Waits until the only connection is back in the pool. Returns the number of its round trips.
async fn trips_until_idle(proxy: &Proxy) -> usize {
    let mut requests = Vec::new();
    let is_idle = async || {
        requests.extend(proxy.take_requests());
        requests.last() == Some(&PING)
    };
    wait_until("the connection is idle", is_idle).await;
    requests.iter().filter(|size| **size > PING).count()
}

/// Returns the number of round trips of an operation on MariaDB and MySQL.
fn mysql_trips(operation: &str) -> usize {
    match operation {
        "a creation"
        | "a creation without a sign-in"
        | "a write of one field"
        | "a read of all fields"
        | "a read of some fields"
        | "a read of a deleted session"
        | "an inspection"
        | "a list of two" => 1,
        _ => 2,
    }
}

#[tokio::test]
async fn mysql() {
    let server = MySql::shared();
    let proxy = Proxy::before(&server.address()).await;
    let builder = MySqlStore::builder(mysql_options(proxy.address())).max_connections(1);
    let builder = builder.create_tables(true).table_name(unique_tables()).timeout(LONG_TIMEOUT);
    let store = Arc::new(builder.cleanup_interval(None).build().await.unwrap());
    trips_until_idle(&proxy).await;
    each_operation(&store, async |operation| {
        assert_eq!(trips_until_idle(&proxy).await, mysql_trips(operation), "{operation}");
    })
    .await;
    each_principal_operation(&store, 1, async |operation, _| {
        assert_eq!(trips_until_idle(&proxy).await, mysql_trips(operation), "{operation}");
    })
    .await;
    // A precondition that holds costs no extra round trip.
    let session = TestSession::begin(&store).await;
    trips_until_idle(&proxy).await;
    let value = Bytes::from_static(b"value");
    for old in [None, Some(&value)] {
        assert_eq!(session.set_if("a", old, &value).await.unwrap(), APPLIED);
        assert_eq!(trips_until_idle(&proxy).await, 1, "{old:?}");
    }
    store.revoke_everyone().await.unwrap();
    assert_eq!(trips_until_idle(&proxy).await, 1);
}

/// Returns the numbers of requests to the cache and of statements to the origin since the last
/// call.
async fn take_trips(proxies: &Proxies, expected: (usize, usize)) -> (usize, usize) {
    wait_until_idle(&proxies.pool).await;
    let mut trips = (0, 0);
    let count = async || {
        trips.0 += proxies.cache.take_requests().len();
        trips.1 += proxies.origin.take_requests().iter().filter(|size| **size > SYNC).count();
        trips >= expected
    };
    wait_until("all round trips were made", count).await;
    // Further round trips would follow within this time.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let more = proxies.origin.take_requests().iter().filter(|size| **size > SYNC).count();
    wait_until_idle(&proxies.pool).await;
    (trips.0 + proxies.cache.take_requests().len(), trips.1 + more)
}

#[tokio::test]
async fn two_tiers() {
    let tiers = Tiers::start(Flavour::Redis);
    let (store, proxies) = tiers.proxied_store(|cache| cache).await;
    // Loads the scripts and prepares the statements, on one connection.
    each_operation(&store, async |_| wait_until_idle(&proxies.pool).await).await;
    let is_quiet = async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxies.cache.take_requests().is_empty() && proxies.origin.take_requests().is_empty()
    };
    wait_until("no request is in flight", is_quiet).await;

    let session = TestSession::new(&store);
    let assert_trips = async |operation: &str, expected: (usize, usize)| {
        assert_eq!(take_trips(&proxies, expected).await, expected, "{operation}");
    };
    let touch = Touch::new(HOUR, Duration::from_secs(60));
    let read = async |names: &[&str]| {
        let answer = session.load_fields(Projection::Named(names), Some(touch)).await.unwrap();
        answer.unwrap().fields.len()
    };
    session.create(Some(HOUR)).await.unwrap();
    assert_trips("a creation", (0, 1)).await;
    let value = Bytes::from_static(b"value");
    let set =
        |name, policy| Change::Set(FieldWrite::new(name, &value).ttl(HOUR).cache_policy(policy));
    let both = [set("a", CachePolicy::Default), set("b", CachePolicy::Default)];
    assert_eq!(session.change(&both).await.unwrap(), APPLIED);
    assert_trips("a write", (2, 1)).await;
    assert_eq!(read(&["a", "b", "none"]).await, 2);
    assert_trips("a miss, and its fill", (2, 1)).await;
    assert_eq!(read(&["a", "b"]).await, 2);
    assert_trips("a hit", (1, 0)).await;
    assert_eq!(read(&["none"]).await, 0);
    assert_trips("a read of an absent field", (1, 0)).await;
    assert_eq!(session.change(&both[..1]).await.unwrap(), APPLIED);
    assert_trips("a write", (2, 1)).await;
    assert_eq!(read(&["a", "b", "none"]).await, 2);
    assert_trips("a read of written and unwritten fields", (1, 0)).await;
    let removed = session.change(&[Change::Remove("b")]).await.unwrap();
    assert_eq!(removed, Ok(Written::new(Updated::Applied { found: 1 })));
    assert_trips("a removal", (2, 1)).await;
    assert_eq!(read(&["a", "b"]).await, 1);
    assert_trips("a read of a removed field", (1, 0)).await;
    assert_eq!(session.take("a").await.unwrap(), taken(Some(value.clone())));
    assert_trips("a take", (2, 1)).await;
    assert_eq!(read(&["a", "b"]).await, 0);
    assert_trips("a read of a taken field", (1, 0)).await;
    assert!(session.load().await.unwrap().is_ok());
    assert_trips("a first read of all fields, and its fill", (2, 1)).await;
    assert!(session.load().await.unwrap().is_ok());
    assert_trips("a read of all fields", (1, 0)).await;

    let changes = [set("n", CachePolicy::NoStore), set("c", CachePolicy::Revalidate)];
    assert_eq!(session.change(&changes).await.unwrap(), APPLIED);
    assert_trips("a write", (2, 1)).await;
    assert_eq!(read(&["n", "a"]).await, 1);
    assert_trips("a read of a field that is never cached", (0, 1)).await;
    assert_eq!(read(&["c"]).await, 1);
    assert_trips("a read of a field that is revalidated", (1, 1)).await;

    let secret = SecretHash::from_bytes(random());
    assert_eq!(session.update(Update::new(&both).rotate(&secret)).await.unwrap(), APPLIED);
    assert_trips("a write with a rotation", (2, 1)).await;
    assert_eq!(session.with_secret(secret).delete().await.unwrap(), DELETED);
    assert_trips("a deletion", (2, 1)).await;
}

#[tokio::test]
async fn a_small_field_beside_large_ones_takes_few_bytes() {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let client = fred_client(&format!("redis://{}", proxy.address())).await;
    let builder = RedisStore::builder(Arc::new(client)).timeout(LONG_TIMEOUT);
    let session = TestSession::new(&Arc::new(builder.build()));
    session.create(Some(HOUR)).await.unwrap();
    for number in 0..16 {
        let name = format!("large{number}");
        assert_eq!(session.set(&name, &"x".repeat(1024)).await.unwrap(), APPLIED);
    }
    let small = Bytes::from_static(b"sixteen bytes...");
    let changes = [Change::Set(FieldWrite::new("thin", &small))];
    let touch = Touch::new(HOUR, HOUR.as_duration() / 8);
    let take_bytes = || proxy.take_requests().iter().sum::<usize>() + proxy.take_answered_bytes();
    // The first round sends the text of the scripts.
    for round in 0..2 {
        take_bytes();
        assert_eq!(session.update(Update::new(&changes).touch(touch)).await.unwrap(), APPLIED);
        let written = take_bytes();
        let fields = Projection::Named(&["thin"]);
        let loaded = session.load_fields(fields, Some(touch)).await.unwrap().unwrap();
        assert_eq!(loaded.fields[0].value, small);
        let read = take_bytes();
        assert!(
            round == 0 || written <= 250 && read <= 270,
            "at most 250 bytes should be written and 270 read, but {written} and {read} were"
        );
    }
}
