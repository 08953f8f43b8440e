//! Round trips, counted between the store and its server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    Assurance, CachePolicy, PrincipalKey, SecretHash, Ttl,
    store::{
        AuthChange, Change, Confirmed, Create, FieldWrite, Lookup, NewSignIn, OnLimit, PageRequest,
        Precondition, Projection, Renew, RevokeTarget, SessionLimit, Store, TakeField, Touch,
        Update, Updated, postgres::PostgresStoreBuilder, redis::RedisStore,
    },
};
use ruts_tests::{
    Proxy, Visitor,
    backends::{fred_client, idle, manager, redis_store},
    random,
    servers::{Flavour, Postgres, Prefix, Redis},
    tiers::{Held, Tiers, until},
};
use sqlx::postgres::PgPoolOptions;

const HOUR: Ttl = Ttl::from_secs(3600);

/// Every operation, each with as much in it as it can hold.
async fn each_operation<S: Store>(store: &Arc<S>, mut seen: impl AsyncFnMut(&str)) {
    let visitor = Visitor::new(store);
    visitor.create(Some(HOUR)).await.unwrap();
    seen("create").await;

    let value = Bytes::from_static(b"value");
    let set = |name| {
        Change::Set(FieldWrite { name, value: &value, ttl: Some(HOUR), hot: CachePolicy::Auto })
    };
    let five = ["a", "b", "c", "d", "e"].map(set);
    assert_eq!(visitor.change(&five[..1]).await.unwrap(), Lookup::Found(APPLIED));
    seen("a write of one field").await;
    let [a, b, c, d, e] = five;
    let mixed = [a, b, c, d, e, Change::Remove("a"), Change::Expire("b", HOUR)];
    let found = Updated::Applied { found: 2 };
    assert_eq!(visitor.change(&mixed).await.unwrap(), Lookup::Found(found));
    seen("a write of many fields").await;

    let touch = Some(Touch { idle: HOUR, after: Duration::ZERO });
    for (fields, touch, name) in [
        (Projection::All, None, "a read of all fields"),
        (Projection::Named(&["b", "c", "nothing"]), None, "a read of some fields"),
        (Projection::All, touch, "a sliding read of all fields"),
        (Projection::Named(&["b", "c", "nothing"]), touch, "a sliding read of some fields"),
    ] {
        let answer = store.load(visitor.credentials(), fields, touch).await.unwrap();
        assert!(matches!(answer, Lookup::Found(_)));
        seen(name).await;
    }

    let next = SecretHash::from_bytes(random());
    let expect = Some(Precondition { name: "b", value: Some(&value) });
    let changes = [set("b"), set("f")];
    let update = Update {
        changes: &changes,
        precondition: expect,
        rotate: Some(&next),
        touch,
        ..Update::default()
    };
    assert_eq!(store.update(visitor.credentials(), update).await.unwrap(), Lookup::Found(APPLIED));
    seen("a conditional write that rotates and slides").await;

    let visitor = Visitor { secret: next, ..visitor };
    let next = SecretHash::from_bytes(random());
    let take = TakeField { name: "f", rotate: Some(&next), touch, sign_out: false };
    let taken = store.take(visitor.credentials(), take).await.unwrap();
    assert_eq!(taken, Lookup::Found(Some(value.clone())));
    seen("a take that rotates and slides").await;

    let visitor = Visitor { secret: next, ..visitor };
    assert_eq!(visitor.delete().await.unwrap(), Lookup::Found(()));
    seen("a deletion").await;
    assert!(matches!(visitor.load().await.unwrap(), Lookup::Ended { .. }));
    seen("a read of what was deleted").await;
}

/// Every operation that has to do with who is signed in, with the round trips it takes on Redis; `sign_in`
/// is how many signing in does.
async fn each_signing<S: Store>(
    store: &Arc<S>,
    sign_in: u64,
    mut seen: impl AsyncFnMut(&str, u64),
) {
    let principal = PrincipalKey::from_bytes(random());
    let who = NewSignIn {
        principal: &principal,
        assurance: Assurance::Aal1,
        limit: Some(SessionLimit { sessions: 3, on_limit: OnLimit::Reject }),
    };
    let first = Visitor::new(store);
    let Visitor { id, secret, .. } = &first;
    let (idle, absolute) = (Some(HOUR), Some(HOUR));
    let create = Create { id, secret, idle, absolute, fields: &[], sign_in: Some(who) };
    store.create(create).await.unwrap();
    seen("a session that begins with a sign-in", sign_in).await;

    let guest = Visitor::begin(store).await;
    seen("a guest", 1).await;
    let secret = SecretHash::from_bytes(random());
    let value = Bytes::from_static(b"ada");
    let set =
        Change::Set(FieldWrite { name: "user", value: &value, ttl: None, hot: CachePolicy::Auto });
    let sign = Some(AuthChange::In { who, idle, absolute });
    let update = Update { changes: &[set], rotate: Some(&secret), sign, ..Update::default() };
    assert_eq!(store.update(guest.credentials(), update).await.unwrap(), Lookup::Found(APPLIED));
    seen("a sign-in that rotates and writes", sign_in).await;

    let second = Visitor { secret, ..guest.clone() };
    let touch = Some(Touch { idle: HOUR, after: Duration::ZERO });
    store.load(second.credentials(), Projection::All, touch).await.unwrap();
    seen("a sliding read of who is signed in", 1).await;
    let renewed = SecretHash::from_bytes(random());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let every = Ttl::from_millis(1);
    let renew = Some(Renew { secret: &renewed, every, grace: Duration::from_secs(30) });
    let update = Update { renew, ..Update::default() };
    assert_eq!(store.update(second.credentials(), update).await.unwrap(), Lookup::Found(APPLIED));
    seen("a renewal", 1).await;
    let second = Visitor { secret: renewed, ..second };
    store.load(second.credentials(), Projection::All, touch).await.unwrap();
    seen("the first use of a renewed secret", 1).await;
    assert!(store.inspect(&first.id).await.unwrap().is_some());
    seen("a look of one who watches", 1).await;
    let page = PageRequest { after: None, limit: 10 };
    let listing =
        store.list_by_principal(&principal, page, Projection::Named(&["user"])).await.unwrap();
    assert_eq!(listing.sessions.len(), 2);
    seen("a list of two", 1 + 2).await;
    let target = RevokeTarget::All { except: Some(&second.id) };
    assert_eq!(store.revoke(&principal, target).await.unwrap().ids, [first.id]);
    seen("a revocation of one", 1 + 1 + 1).await;
    let update = Update { sign: Some(AuthChange::Out), ..Update::default() };
    store.update(second.credentials(), update).await.unwrap();
    seen("a sign-out of a session that stays", 1).await;
}

const APPLIED: Updated = Updated::Applied { found: 0 };

/// One command at the server, in one request: the others are what the script does inside.
async fn is_one_command<S: Store>(server: &Redis, proxy: &Proxy, store: S) {
    let store = Arc::new(store);
    // Once, so that the scripts are there.
    each_operation(&store, async |_| {}).await;
    proxy.take_requests();
    let mut calls = server.calls("evalsha");
    each_operation(&store, async |operation| {
        let now = server.calls("evalsha");
        assert_eq!(now - calls, 1, "{operation}");
        assert_eq!(proxy.take_requests().len(), 1, "{operation}");
        calls = now;
    })
    .await;
    assert_eq!(server.calls("eval"), 2 * 5, "each script once, and before it the question");

    signs_in(server, &store, 1).await;
    assert_eq!(store.revoke_everyone().await.unwrap(), Confirmed::Yes);
    let visitor = Visitor::begin(&store).await;
    assert_eq!(store.revoke_everyone().await.unwrap(), Confirmed::Yes);
    let everyone = server.calls("incr");
    assert_eq!(everyone, 2 * 4096, "however many sessions there are");
    assert_eq!(visitor.load().await.unwrap(), Lookup::NotFound);
}

/// So many commands sign somebody in.
async fn signs_in<S: Store>(server: &Redis, store: &Arc<S>, commands: u64) {
    each_signing(store, commands, async |_, _| {}).await;
    let mut calls = server.calls("evalsha");
    each_signing(store, commands, async |operation, trips| {
        let now = server.calls("evalsha");
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
    is_one_command(&server, &proxy, redis_store(client, &Prefix::unique())).await;
}

#[tokio::test]
async fn valkey_through_redis_rs() {
    let server = Redis::start(Flavour::Valkey, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let client = manager(&format!("redis://{}", proxy.address())).await;
    is_one_command(&server, &proxy, redis_store(client, &Prefix::unique())).await;
}

/// A principal's list is apart from its sessions there.
#[tokio::test]
async fn a_sign_in_on_a_cluster() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let server = Redis::start_with_slots(flavour);
        let store = redis_store(fred_client(server.url()).await, &Prefix::unique());
        signs_in(&server, &Arc::new(store), 3).await;
        let store = redis_store(manager(server.url()).await, &Prefix::unique());
        signs_in(&server, &Arc::new(store), 3).await;
    }
}

/// A `Sync` alone, by which the pool tests a connection that comes back to it.
const SYNC: usize = 5;

#[tokio::test]
async fn postgres() {
    let server = Postgres::shared();
    let proxy = Proxy::before(&server.address()).await;
    let url = server.url().replace(&server.address(), proxy.address());
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    let schema = server.schema();
    let builder = PostgresStoreBuilder::new(pool.clone(), true).schema_name(schema.name());
    let store = Arc::new(builder.cleanup_interval(None).build().await.unwrap());
    // Once, so that the statements are prepared.
    each_operation(&store, async |_| {}).await;
    idle(&pool).await;
    proxy.take_requests();
    each_operation(&store, async |operation| {
        idle(&pool).await;
        let requests = proxy.take_requests();
        assert!(
            matches!(*requests, [statement, SYNC] if statement > SYNC),
            "{operation}: {requests:?}"
        );
    })
    .await;
    each_signing(&store, 1, async |_, _| {}).await;
    idle(&pool).await;
    proxy.take_requests();
    each_signing(&store, 1, async |operation, _| {
        idle(&pool).await;
        let statements = proxy.take_requests().iter().filter(|size| **size > SYNC).count();
        assert_eq!(statements, 1, "{operation}");
    })
    .await;
}

/// Requests to hot and statements to cold since the last call, once nothing is under way any more.
async fn trips(held: &Held, expected: (usize, usize)) -> (usize, usize) {
    idle(&held.pool).await;
    let mut trips = (0, 0);
    let count = async || {
        trips.0 += held.hot.take_requests().len();
        trips.1 += held.cold.take_requests().iter().filter(|size| **size > SYNC).count();
        trips >= expected
    };
    until("all trips were made", count).await;
    // More would come at once.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let more = held.cold.take_requests().iter().filter(|size| **size > SYNC).count();
    idle(&held.pool).await;
    (trips.0 + held.hot.take_requests().len(), trips.1 + more)
}

#[tokio::test]
async fn two_tiers() {
    let tiers = Tiers::new(Flavour::Redis);
    let (store, held) = tiers.held_process(|hot| hot).await;
    // Once, so that scripts and statements are there, on one connection.
    each_operation(&store, async |_| idle(&held.pool).await).await;
    let is_quiet = async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        held.hot.take_requests().is_empty() && held.cold.take_requests().is_empty()
    };
    until("nothing is under way any more", is_quiet).await;

    let visitor = Visitor::new(&store);
    let counts = async |operation: &str, expected: (usize, usize)| {
        assert_eq!(trips(&held, expected).await, expected, "{operation}");
    };
    let reads = async |names: &[&str]| {
        let touch = Some(Touch { idle: HOUR, after: Duration::from_secs(60) });
        let answer =
            store.load(visitor.credentials(), Projection::Named(names), touch).await.unwrap();
        let Lookup::Found(loaded) = answer else { panic!("{answer:?}") };
        loaded.fields.len()
    };
    visitor.create(Some(HOUR)).await.unwrap();
    counts("nobody can know of a new session", (0, 1)).await;
    let value = Bytes::from_static(b"value");
    let set = |name, hot| Change::Set(FieldWrite { name, value: &value, ttl: Some(HOUR), hot });
    let both = [set("a", CachePolicy::Auto), set("b", CachePolicy::Auto)];
    visitor.change(&both).await.unwrap();
    counts("a write", (2, 1)).await;
    assert_eq!(reads(&["a", "b", "none"]).await, 2);
    counts("a miss, and its fill", (2, 1)).await;
    assert_eq!(reads(&["a", "b"]).await, 2);
    counts("a hit", (1, 0)).await;
    assert_eq!(reads(&["none"]).await, 0);
    counts("an unset field", (1, 0)).await;
    visitor.change(&both[..1]).await.unwrap();
    counts("a write", (2, 1)).await;
    assert_eq!(reads(&["a", "b", "none"]).await, 2);
    counts("what was written and what was not", (1, 0)).await;
    visitor.change(&[Change::Remove("b")]).await.unwrap();
    counts("a removal", (2, 1)).await;
    assert_eq!(reads(&["a", "b"]).await, 1);
    counts("what was removed", (1, 0)).await;
    visitor.take("a").await.unwrap();
    counts("a take", (2, 1)).await;
    assert_eq!(reads(&["a", "b"]).await, 0);
    counts("what was taken", (1, 0)).await;
    visitor.load().await.unwrap();
    counts("a first read of everything, and its fill", (2, 1)).await;
    visitor.load().await.unwrap();
    counts("everything", (1, 0)).await;

    visitor.change(&[set("n", CachePolicy::Never), set("c", CachePolicy::Checked)]).await.unwrap();
    counts("a write", (2, 1)).await;
    assert_eq!(reads(&["n", "a"]).await, 1);
    counts("what is never in the cache", (0, 1)).await;
    assert_eq!(reads(&["c"]).await, 1);
    counts("what is checked, at once", (1, 1)).await;

    let secret = SecretHash::from_bytes(random());
    let update = Update { changes: &both, rotate: Some(&secret), ..Update::default() };
    store.update(visitor.credentials(), update).await.unwrap();
    counts("a write that rotates", (2, 1)).await;
    let visitor = Visitor { secret, ..visitor.clone() };
    visitor.delete().await.unwrap();
    counts("a deletion", (2, 1)).await;
}

#[tokio::test]
async fn a_small_field_beside_large_ones_takes_few_bytes() {
    let server = Redis::start(Flavour::Redis, &[]);
    let proxy = Proxy::before(&server.address()).await;
    let client = fred_client(&format!("redis://{}", proxy.address())).await;
    let store = Arc::new(RedisStore::new(Arc::new(client)));
    let visitor = Visitor::new(&store);
    visitor.create(Some(HOUR)).await.unwrap();
    for number in 0..16 {
        visitor.set(&format!("large{number}"), &"x".repeat(1024)).await.unwrap();
    }
    let small = Bytes::from_static(b"sixteen bytes...");
    let set =
        Change::Set(FieldWrite { name: "thin", value: &small, ttl: None, hot: CachePolicy::Auto });
    let changes = [set];
    let touch = Some(Touch { idle: HOUR, after: HOUR.as_duration() / 8 });
    let bytes = || proxy.take_requests().iter().sum::<usize>() + proxy.take_answered();
    // The first time, a script is sent as a text.
    for round in 0..2 {
        bytes();
        let update = Update { changes: &changes, touch, ..Update::default() };
        assert_eq!(
            store.update(visitor.credentials(), update).await.unwrap(),
            Lookup::Found(APPLIED)
        );
        let written = bytes();
        let named = Projection::Named(&["thin"]);
        let loaded = store.load(visitor.credentials(), named, touch).await.unwrap();
        assert!(matches!(loaded, Lookup::Found(loaded) if loaded.fields[0].value == small));
        let read = bytes();
        assert!(round == 0 || written <= 250 && read <= 250, "{written} and {read}");
    }
}
