//! A reader or writer is held between two of its steps while another process changes the session.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        AbsoluteDeadline, CachePolicy, Change, FieldWrite, NewSignIn, Projection, Refused,
        RevokeTarget, SharedCache, Store, StoreErrorKind, TakeField, Touch, Update, Updated,
        Written,
        layered::LayeredStore,
        memory::{MemoryCache, MemoryStore},
    },
    token::SecretHash,
};
use ruts_tests_stores::{
    Traffic,
    servers::{Flavour, Postgres},
    tiers::{CacheFault, FaultyCache, Layered, RedisCache, Tiers},
};
use ruts_tests_support::{
    APPLIED, DELETED, InstrumentedStore, TestSession, random, taken, wait_until,
};
use sqlx::{AssertSqlSafe, Executor};

use crate::{has_ended, load, read, value, wait_until_quiet};

/// A change of the session while a reader or writer is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Overwritten,
    Removed,
    Taken,
    Rotated,
    Deleted,
    Expired,
    /// A write to the origin only. The cache is stale for at most its `cache_ttl`.
    Bypassed,
}

const ALL: [Meanwhile; 7] = [
    Meanwhile::Overwritten,
    Meanwhile::Removed,
    Meanwhile::Taken,
    Meanwhile::Rotated,
    Meanwhile::Deleted,
    Meanwhile::Expired,
    Meanwhile::Bypassed,
];

/// Lifetime of a field that expires, or of a cache entry. The earlier steps of a test take less
/// time.
const LIFETIME: Duration = Duration::from_secs(3);

const HOUR: Duration = Duration::from_secs(3600);

impl Meanwhile {
    async fn run(self, tiers: &Tiers<&'static Postgres>, session: &TestSession<Layered>) {
        match self {
            Self::Bypassed => {
                let origin = session.through(&tiers.origin_alone().await);
                assert_eq!(origin.set("a", "new").await.unwrap(), APPLIED);
                tokio::time::sleep(LIFETIME).await;
            }
            Self::Overwritten => assert_eq!(session.set("a", "new").await.unwrap(), APPLIED),
            Self::Removed => {
                let removed = session.change(&[Change::Remove("a")]).await.unwrap();
                assert_eq!(removed, Ok(Written::new(Updated::Applied { found: 1 })));
            }
            Self::Taken => assert_eq!(session.take("a").await.unwrap(), taken(value("old"))),
            Self::Rotated => {
                let secret = SecretHash::from_bytes(random());
                assert_eq!(session.rotate(&secret).await.unwrap(), APPLIED);
            }
            Self::Deleted => assert_eq!(session.delete().await.unwrap(), DELETED),
            Self::Expired => tokio::time::sleep(LIFETIME).await,
        }
    }

    /// Returns whether later reads see the change, including those that hit the cache. A read of a
    /// different field comes first, so that no outdated record turns the later reads into misses.
    async fn is_seen<S: Store>(self, session: &TestSession<S>) -> bool {
        let _ = load(session, "b").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        for _ in 0..4 {
            let answer = load(session, "a").await;
            let found = answer.as_ref().ok();
            let found = found.map(|loaded| loaded.fields.first().map(|field| field.value.clone()));
            let is_right = match self {
                Self::Overwritten | Self::Bypassed => found == Some(value("new")),
                Self::Removed | Self::Taken | Self::Expired => found == Some(None),
                Self::Rotated => matches!(answer, Err(Refused::Replaced { .. })),
                Self::Deleted => matches!(answer, Err(Refused::Deleted { .. })),
            };
            if !is_right {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

/// Creates a session that holds "old" in `a`.
async fn begin(store: &Arc<Layered>, meanwhile: Meanwhile) -> TestSession<Layered> {
    let session = TestSession::begin(store).await;
    let ttl = (meanwhile == Meanwhile::Expired).then_some(LIFETIME);
    assert_eq!(session.set_with_ttl("a", "old", ttl).await.unwrap(), APPLIED);
    session
}

/// Loads the scripts of reads and writes, and connects to both tiers.
async fn warm_up<S: Store>(store: &Arc<S>) {
    let _ = TestSession::new(store).load().await.unwrap();
    let session = TestSession::begin(store).await;
    for _ in 0..2 {
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        session.get("a").await.unwrap();
        session.get("b").await.unwrap();
    }
}

/// A reader misses and reads the origin. The session changes before the reader fills the cache.
/// Then the fill arrives. Returns whether later reads are right.
async fn late_fill<C: SharedCache>(
    flavour: Flavour,
    meanwhile: Meanwhile,
    wrap: impl FnOnce(RedisCache) -> C,
) -> bool {
    let tiers = Tiers::start(flavour);
    let (builder, proxies) = tiers.proxied_builder(wrap).await;
    let builder = match meanwhile {
        Meanwhile::Bypassed => builder.cache_ttl(LIFETIME),
        _ => builder,
    };
    let reader = Arc::new(builder.build());
    warm_up(&reader).await;
    let other = tiers.store().await;
    warm_up(&other).await;
    wait_until_quiet(&tiers).await;
    let other = begin(&other, meanwhile).await;
    tiers.redis.command::<i64>(&["DEL", &tiers.entry_key(&other.id)]);

    // The proxy forwards the answer to the lookup, but holds the fill.
    proxies.cache.set(Traffic::HoldAfter(1));
    assert_eq!(other.through(&reader).get("a").await.unwrap(), value("old"));
    meanwhile.run(&tiers, &other).await;

    let calls = tiers.redis.calls("evalsha");
    proxies.cache.set(Traffic::Forward);
    wait_until("the fill arrives", async || tiers.redis.calls("evalsha") > calls).await;
    wait_until_quiet(&tiers).await;
    meanwhile.is_seen(&other).await
}

// proves: ASVS-7.4.1
#[tokio::test]
async fn a_late_fill_changes_nothing() {
    for meanwhile in ALL {
        for flavour in [Flavour::Redis, Flavour::Valkey] {
            let is_right = late_fill(flavour, meanwhile, |cache| cache).await;
            assert!(is_right, "{meanwhile:?} on {flavour:?}");
        }
    }
}

/// Checks that the test above can fail: it finds stale reads of a cache that ignores leases.
#[tokio::test]
async fn a_late_fill_of_a_cache_without_leases_is_found() {
    for meanwhile in ALL {
        let fault = CacheFault::IgnoresLeases(Duration::ZERO);
        let without_leases = |cache| FaultyCache::new(cache, fault, &Arc::default());
        assert!(!late_fill(Flavour::Redis, meanwhile, without_leases).await, "{meanwhile:?}");
    }
}

/// A read that moves the idle deadline waits for the cache, which holds the former deadline. After
/// that read returns, the next read by another process sees the new deadline.
#[tokio::test]
async fn a_moved_deadline_is_known_to_the_next_read() {
    let tiers = Tiers::start(Flavour::Redis);
    let (reader, proxies) = tiers.proxied_store(|cache| cache).await;
    warm_up(&reader).await;
    let other = TestSession::begin(&tiers.store().await).await;
    let touch = Some(Touch::new(Ttl::from_duration(HOUR * 3), HOUR));
    // Loads the scripts of a read with a touch.
    let first = TestSession::begin(&reader).await;
    assert!(first.load_fields(Projection::All, touch).await.unwrap().is_ok());
    let time_left = async || other.load().await.unwrap().unwrap().meta.idle_remaining.unwrap();
    assert!(time_left().await <= HOUR);
    wait_until_quiet(&tiers).await;

    // The proxy forwards the answer to the lookup, but holds the next command.
    proxies.cache.set(Traffic::HoldAfter(1));
    let reading = tokio::spawn({
        let session = other.through(&reader);
        async move { session.load_fields(Projection::All, touch).await.unwrap() }
    });
    let origin = tiers.origin_alone().await;
    wait_until("the origin has moved the deadline", async || {
        let meta = origin.inspect(&other.id).await.unwrap().unwrap();
        meta.idle_remaining.unwrap() > HOUR * 2
    })
    .await;
    assert!(time_left().await <= HOUR, "the cache should know the former deadline");
    assert!(!reading.is_finished());
    proxies.cache.set(Traffic::Forward);
    assert!(reading.await.unwrap().is_ok());
    assert!(time_left().await > HOUR * 2);
}

/// A read that bypasses the cache also waits, because it must evict the former deadline.
#[tokio::test]
async fn a_deadline_moved_past_the_cache_is_known_to_the_next_read() {
    let tiers = Tiers::start(Flavour::Redis);
    let store = tiers.store().await;
    let session = TestSession::begin(&store).await;
    let text = Bytes::from_static(b"1");
    let set = |name, policy| Change::Set(FieldWrite::new(name, &text).cache_policy(policy));
    let changes = [set("often", CachePolicy::Default), set("never", CachePolicy::NoStore)];
    assert_eq!(session.change(&changes).await.unwrap(), APPLIED);
    let time_left = async |name, touch| {
        let answer = session.load_fields(Projection::Named(&[name]), touch).await.unwrap();
        answer.unwrap().meta.idle_remaining.unwrap()
    };
    read(&session, "often").await;
    assert!(time_left("often", None).await <= HOUR);
    let touch = Some(Touch::new(Ttl::from_duration(HOUR * 3), HOUR));
    assert!(time_left("never", touch).await > HOUR * 2);
    assert!(time_left("often", None).await > HOUR * 2);
}

/// A writer pauses before its commit, and the cache loses the writer's intent. A reader reads the
/// old value and pauses before its fill. The write finishes. Then the fill arrives.
#[tokio::test]
async fn a_fill_after_a_lost_intent_changes_nothing() {
    for meanwhile in [Meanwhile::Overwritten, Meanwhile::Rotated, Meanwhile::Deleted] {
        let tiers = Arc::new(Tiers::start(Flavour::Redis));
        let (writer, writer_proxies) = tiers.proxied_store(|cache| cache).await;
        let (reader, reader_proxies) = tiers.proxied_store(|cache| cache).await;
        warm_up(&writer).await;
        warm_up(&reader).await;
        let observer = begin(&tiers.store().await, meanwhile).await;
        let (writer, reader) = (observer.through(&writer), observer.through(&reader));
        wait_until_quiet(&tiers).await;

        writer_proxies.origin.set(Traffic::Hold);
        let calls = tiers.redis.calls("evalsha");
        let writing = tokio::spawn({
            let tiers = Arc::clone(&tiers);
            async move { meanwhile.run(&tiers, &writer).await }
        });
        let registered = async || tiers.redis.calls("evalsha") > calls;
        wait_until("the intent is registered", registered).await;
        tiers.redis.command::<i64>(&["DEL", &tiers.entry_key(&observer.id)]);

        // The proxy forwards the answer to the lookup, but holds the fill.
        reader_proxies.cache.set(Traffic::HoldAfter(1));
        assert_eq!(
            reader.get("a").await.unwrap(),
            value("old"),
            "the read should find the old value, because nothing is committed yet"
        );

        writer_proxies.origin.set(Traffic::Forward);
        writing.await.unwrap();
        let calls = tiers.redis.calls("evalsha");
        reader_proxies.cache.set(Traffic::Forward);
        wait_until("the fill arrives", async || tiers.redis.calls("evalsha") > calls).await;
        wait_until_quiet(&tiers).await;
        assert!(meanwhile.is_seen(&observer).await, "{meanwhile:?}");
    }
}

/// Two writers commit in one order and finish in the other.
#[tokio::test]
async fn the_last_commit_counts_if_another_write_finishes_last() {
    let tiers = Tiers::start(Flavour::Redis);
    let (slow, proxies) = tiers.proxied_store(|cache| cache).await;
    warm_up(&slow).await;
    let quick = TestSession::begin(&tiers.store().await).await;
    assert_eq!(quick.set("a", "old").await.unwrap(), APPLIED);
    let slow = quick.through(&slow);
    slow.get("a").await.unwrap();
    wait_until_quiet(&tiers).await;

    // The proxy forwards the answer to the intent of the slow write, but holds the finish.
    proxies.cache.set(Traffic::HoldAfter(1));
    let writing = tokio::spawn({
        let slow = slow.clone();
        async move { slow.set("a", "first").await.unwrap() }
    });
    wait_until("the slow write is committed", async || {
        quick.get("a").await.unwrap() == value("first")
    })
    .await;
    assert_eq!(quick.set("a", "second").await.unwrap(), APPLIED);
    assert_eq!(read(&quick, "a").await, value("second"));
    proxies.cache.set(Traffic::Forward);
    assert_eq!(writing.await.unwrap(), APPLIED);
    assert_eq!(read(&quick, "a").await, value("second"));
    assert_eq!(read(&slow, "a").await, value("second"));
}

/// The cache loses the intent of the first writer. A second writer registers its own intent, and
/// commits before the first writer. The first writer finishes before the second.
#[tokio::test]
async fn a_write_whose_intent_was_lost_is_not_overwritten_in_the_cache() {
    let tiers = Tiers::start(Flavour::Redis);
    let (first, first_proxies) = tiers.proxied_store(|cache| cache).await;
    let (second, second_proxies) = tiers.proxied_store(|cache| cache).await;
    warm_up(&first).await;
    warm_up(&second).await;
    let observer = TestSession::begin(&tiers.store().await).await;
    assert_eq!(observer.set("a", "old").await.unwrap(), APPLIED);
    let (first, second) = (observer.through(&first), observer.through(&second));
    first.get("a").await.unwrap();
    second.get("a").await.unwrap();
    wait_until_quiet(&tiers).await;

    let calls = tiers.redis.calls("evalsha");
    first_proxies.origin.set(Traffic::Hold);
    let writing = tokio::spawn(async move { first.set("a", "last").await.unwrap() });
    let registered = async || tiers.redis.calls("evalsha") > calls;
    wait_until("the first intent is registered", registered).await;
    tiers.redis.command::<i64>(&["DEL", &tiers.entry_key(&observer.id)]);

    // The proxy forwards the answer to the second intent, but holds the second finish.
    second_proxies.cache.set(Traffic::HoldAfter(1));
    let overtaking = tokio::spawn(async move { second.set("a", "first").await.unwrap() });
    let origin = observer.through(&tiers.origin_alone().await);
    wait_until("the second write is committed", async || {
        origin.get("a").await.unwrap() == value("first")
    })
    .await;

    first_proxies.origin.set(Traffic::Forward);
    assert_eq!(writing.await.unwrap(), APPLIED);
    second_proxies.cache.set(Traffic::Forward);
    assert_eq!(overtaking.await.unwrap(), APPLIED);
    assert_eq!(origin.get("a").await.unwrap(), value("last"));
    // The cache must not hold the value of the second write. A read would return it as soon as
    // another read has cached the session's record again.
    assert_eq!(read(&observer, "b").await, None);
    assert_eq!(read(&observer, "a").await, value("last"));
}

/// While a writer is held before its commit, readers get the old value from the origin, and other
/// fields from the cache.
#[tokio::test]
async fn a_write_in_progress_keeps_its_fields_out_of_the_cache() {
    let tiers = Tiers::start(Flavour::Valkey);
    let (writer, writer_proxies) = tiers.proxied_store(|cache| cache).await;
    let (observer, observer_proxies) = tiers.proxied_store(|cache| cache).await;
    let writer = TestSession::begin(&writer).await;
    assert_eq!(writer.set("a", "old").await.unwrap(), APPLIED);
    assert_eq!(writer.set("b", "other").await.unwrap(), APPLIED);
    let observer = writer.through(&observer);
    assert_eq!(read(&observer, "a").await, value("old"));
    assert_eq!(read(&observer, "b").await, value("other"));
    wait_until_quiet(&tiers).await;

    let calls = tiers.redis.calls("evalsha");
    writer_proxies.origin.set(Traffic::Hold);
    let writing = tokio::spawn(async move { writer.set("a", "new").await.unwrap() });
    let registered = async || tiers.redis.calls("evalsha") > calls;
    wait_until("the intent is registered", registered).await;
    observer_proxies.origin.take_requests();
    assert_eq!(read(&observer, "b").await, value("other"));
    let requests = observer_proxies.origin.take_requests();
    assert_eq!(requests.len(), 0, "the other field should stay in the cache");
    assert_eq!(read(&observer, "a").await, value("old"));
    let requests = observer_proxies.origin.take_requests();
    assert!(requests.len() >= 4, "a field should not be cached during its write");
    writer_proxies.origin.set(Traffic::Forward);
    assert_eq!(writing.await.unwrap(), APPLIED);
    assert_eq!(read(&observer, "a").await, value("new"));
}

#[tokio::test]
async fn a_cached_value_expires() {
    let tiers = Tiers::start(Flavour::Redis);
    let session = TestSession::begin(&tiers.store().await).await;
    session.get("a").await.unwrap();
    assert_eq!(session.set_with_ttl("a", "1", Some(LIFETIME)).await.unwrap(), APPLIED);
    assert_eq!(read(&session, "a").await, value("1"));
    tokio::time::sleep(LIFETIME).await;
    assert_eq!(read(&session, "a").await, None);
}

/// Each kind of operation that shortens the lifetime of a session reaches the cache.
// proves: ASVS-7.3.1 NIST-5.1.5
#[tokio::test]
async fn a_cached_session_ends_at_its_deadlines() {
    let tiers = Tiers::start(Flavour::Redis);
    let store = tiers.store().await;
    let touch = Touch::new(Ttl::from_duration(LIFETIME), Duration::ZERO);
    let begin = async || {
        let session = begin(&store, Meanwhile::Overwritten).await;
        assert_eq!(read(&session, "a").await, value("old"));
        session
    };
    let (written, touched, taken_from) = (begin().await, begin().await, begin().await);
    let limited = begin().await;
    assert_eq!(written.update(Update::new(&[]).touch(touch)).await.unwrap(), APPLIED);
    let absolute = AbsoluteDeadline::new(Ttl::from_duration(LIFETIME), None);
    assert_eq!(limited.update(Update::new(&[]).absolute(absolute)).await.unwrap(), APPLIED);
    assert!(touched.load_fields(Projection::All, Some(touch)).await.unwrap().is_ok());
    let take = TakeField::new("b").touch(touch);
    assert_eq!(store.take(taken_from.credentials(), take).await.unwrap(), taken(None));
    tokio::time::sleep(LIFETIME).await;
    for session in [written, touched, taken_from, limited] {
        assert_eq!(load(&session, "a").await, Err(Refused::NotFound));
    }
}

#[tokio::test]
async fn a_secret_that_a_take_replaced_opens_nothing() {
    let tiers = Tiers::start(Flavour::Valkey);
    let store = tiers.store().await;
    let session = begin(&store, Meanwhile::Overwritten).await;
    assert_eq!(read(&session, "a").await, value("old"));
    let secret = SecretHash::from_bytes(random());
    let take = TakeField::new("b").rotate(&secret);
    assert_eq!(store.take(session.credentials(), take).await.unwrap(), taken(None));
    for _ in 0..3 {
        assert!(Meanwhile::Rotated.is_seen(&session).await);
        assert_eq!(read(&session.with_secret(secret), "a").await, value("old"));
    }
}

/// Both a cached value and the completeness of an entry expire.
#[tokio::test]
async fn an_entry_is_served_no_longer_than_the_cache_ttl() {
    let tiers = Tiers::start(Flavour::Redis);
    let store = Arc::new(tiers.builder().await.cache_ttl(LIFETIME).build());
    let session = TestSession::begin(&store).await;
    let origin = tiers.origin_alone().await;
    let renewed = TestSession::begin(&store).await;
    assert_eq!(renewed.set("c", "old").await.unwrap(), APPLIED);
    assert_eq!(read(&renewed, "c").await, value("old"));
    assert!(session.load().await.unwrap().is_ok());
    wait_until_quiet(&tiers).await;
    assert_eq!(session.through(&origin).set("a", "new").await.unwrap(), APPLIED);
    assert_eq!(renewed.through(&origin).set("c", "new").await.unwrap(), APPLIED);
    tokio::time::sleep(LIFETIME).await;
    // A read of a different field makes the cached session record current again.
    assert_eq!(read(&renewed, "b").await, None);
    assert_eq!(read(&renewed, "c").await, value("new"));
    assert_eq!(read(&session, "b").await, None);
    assert_eq!(session.load().await.unwrap().unwrap().fields.len(), 1);
}

#[tokio::test]
async fn a_wrong_secret_opens_no_cached_session() {
    let tiers = Tiers::start(Flavour::Redis);
    let session = begin(&tiers.store().await, Meanwhile::Overwritten).await;
    assert_eq!(read(&session, "a").await, value("old"));
    let thief = session.with_wrong_secret();
    for _ in 0..3 {
        assert_eq!(load(&thief, "a").await, Err(Refused::NotFound));
        assert_eq!(read(&session, "a").await, value("old"));
    }
}

/// The future of a write is dropped while its statement waits for a lock.
#[tokio::test]
async fn a_dropped_write_leaves_no_stale_entry() {
    let tiers = Tiers::start(Flavour::Redis);
    let writer = TestSession::begin(&tiers.store().await).await;
    assert_eq!(writer.set("a", "old").await.unwrap(), APPLIED);
    let observer = writer.through(&tiers.store().await);
    assert_eq!(read(&observer, "a").await, value("old"));
    wait_until_quiet(&tiers).await;

    let (pool, schema) = (tiers.postgres.pool(2), tiers.schema().name());
    let mut lock = pool.begin().await.unwrap();
    let rows = format!("select 1 from {schema}.sessions for update");
    lock.execute(AssertSqlSafe(rows)).await.unwrap();
    let writing = tokio::spawn(async move { writer.set("a", "new").await });
    let queue = format!(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
         and query like '%{schema}%'"
    );
    wait_until("the statement waits for the lock", async || {
        let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(queue.clone()));
        query.fetch_one(&pool).await.unwrap() > 0
    })
    .await;
    writing.abort();
    assert!(writing.await.is_err());
    assert_eq!(read(&observer, "a").await, value("old"));
    lock.rollback().await.unwrap();
    wait_until("the statement is carried out", async || {
        observer.get("a").await.unwrap() == value("new")
    })
    .await;
    assert_eq!(read(&observer, "a").await, value("new"));
}

/// The first of several writes is held before its commit. The others wait in the process, and leave
/// nothing in the cache if their futures are dropped.
#[tokio::test]
async fn writes_of_a_session_take_turns() {
    let tiers = Tiers::start(Flavour::Redis);
    let (store, proxies) = tiers.proxied_store(|cache| cache).await;
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "old").await.unwrap(), APPLIED);
    wait_until_quiet(&tiers).await;
    let calls = tiers.redis.calls("evalsha");
    proxies.origin.set(Traffic::Hold);
    let writes: Vec<_> = (0..20)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.set("a", "new").await.unwrap() })
        })
        .collect();
    wait_until("an intent is registered", async || tiers.redis.calls("evalsha") > calls).await;
    wait_until_quiet(&tiers).await;
    assert_eq!(tiers.redis.calls("evalsha") - calls, 1, "one write should have an intent");
    for write in &writes[10..] {
        write.abort();
    }
    proxies.origin.set(Traffic::Forward);
    for write in writes.into_iter().take(10) {
        assert_eq!(write.await.unwrap(), APPLIED);
    }
    assert_eq!(tiers.redis.calls("evalsha") - calls, 20, "each write should begin and finish");
    let entry = tiers.entry_key(&session.id);
    let intents: Option<String> = tiers.redis.command(&["HGET", &entry, "~f"]);
    assert_eq!(intents, None);
    let stored: bool = tiers.redis.command(&["HEXISTS", &entry, "a"]);
    assert!(stored, "the last write should store its value in the cache");
}

/// Two writes in turn are held for the timeout of the origin. A deletion behind them is carried out
/// without a turn. Another write is refused, because it would have to wait for too long.
#[tokio::test]
async fn a_deletion_does_not_wait_for_more_than_one_write() {
    let origin = InstrumentedStore::new(MemoryStore::new());
    let builder = LayeredStore::builder(MemoryCache::new(10), origin.clone());
    let builder = builder.origin_timeout(Duration::from_millis(500));
    let session = TestSession::begin(&Arc::new(builder.build_for_one_process())).await;
    let write = || {
        let session = session.clone();
        tokio::spawn(async move { session.set("a", "new").await.map_err(|error| error.kind()) })
    };
    let mut first_held = origin.pause_before("update");
    let first = write();
    first_held.reached().await;
    let mut second_held = origin.pause_before("update");
    let second = write();
    tokio::task::yield_now().await;
    let refused = write();
    assert_eq!(session.delete().await.unwrap(), DELETED);
    second_held.reached().await;
    assert_eq!(refused.await.unwrap(), Err(StoreErrorKind::Unavailable));
    assert!(!second.is_finished(), "the second write should be in progress");
    for held in [first, second] {
        assert_eq!(held.await.unwrap(), Err(StoreErrorKind::OutcomeUnknown));
    }
    assert!(has_ended(&session).await);
}

/// The first of two revocations is held before it finishes in the cache. The second one finds no
/// session to end. If the cache had lost the write intent of the first one, the cache might still
/// serve the session.
#[tokio::test]
async fn a_revocation_waits_for_one_of_the_same_principal() {
    let tiers = Tiers::start(Flavour::Redis);
    let (store, proxies) = tiers.proxied_store(|cache| cache).await;
    warm_up(&store).await;
    let user = PrincipalKey::from_bytes([7; 32]);
    let session = TestSession::new(&store);
    let who = NewSignIn::new(&user, Assurance::Aal1);
    store.create(session.creation().sign_in(who)).await.unwrap();
    session.get("a").await.unwrap();
    wait_until_quiet(&tiers).await;
    let revoke = || {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store.revoke(&user, RevokeTarget::All { except: None }).await.unwrap()
        })
    };

    // The proxy forwards the answer to the write intent, but holds the finish.
    proxies.cache.set(Traffic::HoldAfter(1));
    let first = revoke();
    let origin = session.through(&tiers.origin_alone().await);
    let is_revoked = async || matches!(load(&origin, "a").await, Err(Refused::Revoked));
    wait_until("the origin has revoked the session", is_revoked).await;
    let mut second = revoke();
    let early = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    assert!(
        early.is_err(),
        "the second revocation should fail, because the cache may still serve the session"
    );
    proxies.cache.set(Traffic::Forward);
    assert_eq!(first.await.unwrap(), Written::new(vec![session.id]));
    assert_eq!(second.await.unwrap(), Written::new(vec![]));
    assert_eq!(load(&session, "a").await, Err(Refused::Revoked));
}
