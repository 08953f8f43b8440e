//! Tests of a layered store while one tier is down, hangs, is full, or comes back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        Change, NewSignIn, OnLimit, Projection, Refused, RevokeTarget, SessionLimit, Store,
        StoreErrorKind, Touch, Updated, Written, layered::LayeredStore, postgres::PostgresStore,
        redis::RedisStore,
    },
};
use ruts_tests_stores::{
    Traffic,
    backends::{fred_client, wait_until_idle},
    error_chain, error_kind,
    servers::{Flavour, Postgres, Redis},
    tiers::{CacheFault, FaultyCache, Layered, LayeredBuilder, Tiers},
};
use ruts_tests_support::{APPLIED, DELETED, LONG_TIMEOUT, Log, TestSession, taken, wait_until};

use crate::{has_ended, load, read, value};

const CACHE_TTL: Duration = Duration::from_secs(120);

/// Timeout of operations that get no answer.
const SHORT: Duration = Duration::from_secs(1);

/// Returns the builder with a short timeout for the cache, and a known TTL of entries.
fn impatient(builder: LayeredBuilder) -> LayeredBuilder {
    builder.cache_timeout(SHORT).cache_ttl(CACHE_TTL)
}

/// Creates a session with "old" in `a`, and reads it into the cache.
async fn cached(store: &Arc<Layered>) -> TestSession<Layered> {
    let session = TestSession::begin(store).await;
    assert_eq!(session.set("a", "old").await.unwrap(), APPLIED);
    assert_eq!(read(&session, "a").await, value("old"));
    session
}

/// The answer of a write that the cache missed.
fn stale<T>(answer: T) -> Result<Written<T>, Refused> {
    Ok(Written::new(answer).stale_for(CACHE_TTL))
}

/// Checks that a process continues without its cache, and uses the cache again when it is back.
async fn goes_on_without_a_cache(
    tiers: &Tiers<&'static Postgres>,
    stop: impl Fn(),
    start: impl Fn(),
) {
    let patient = tiers.store().await;
    let builder = impatient(tiers.builder().await);
    let store = Arc::new(builder.clone().build());
    let willing = Arc::new(builder.writes_without_cache(true).build());
    let sessions = [cached(&patient).await, cached(&patient).await, cached(&patient).await];
    let [session, ended, other] = sessions.map(|session| session.through(&store));
    let origin = session.through(&tiers.origin_alone().await);
    let (log, guard) = Log::start();
    tokio::task::block_in_place(&stop);

    let begin = Instant::now();
    for _ in 0..40 {
        assert_eq!(session.get("a").await.unwrap(), value("old"));
    }
    assert!(begin.elapsed() < SHORT * 20, "few reads should wait for a cache that is down");
    for _ in 0..3 {
        let error = session.set("a", "new").await.unwrap_err();
        assert_eq!((error.kind(), error.store()), (StoreErrorKind::Unavailable, "layered"));
        assert_eq!(error_kind(session.take("a").await), StoreErrorKind::Unavailable);
        let removal = session.change(&[Change::Remove("a")]).await;
        assert_eq!(error_kind(removal), StoreErrorKind::Unavailable);
    }
    assert_eq!(
        origin.get("a").await.unwrap(),
        value("old"),
        "a refused write should not be carried out"
    );

    assert_eq!(ended.delete().await.unwrap(), stale(()));
    assert!(has_ended(&ended).await);
    // A second deletion must not count as the first, or it would remove the cookie of a new
    // session.
    assert!(matches!(ended.delete().await.unwrap(), Err(Refused::Deleted { .. })));
    let new = TestSession::begin(&store).await;
    assert_eq!(new.get("a").await.unwrap(), None, "a creation should need no cache");

    let willing = other.through(&willing);
    assert_eq!(willing.set("a", "new").await.unwrap(), stale(Updated::Applied { found: 0 }));
    assert_eq!(willing.get("a").await.unwrap(), value("new"));
    assert_eq!(willing.take("a").await.unwrap(), stale(value("new")));
    let warnings = log.text().matches("WARN").count();
    assert!(
        (1..=2).contains(&warnings),
        "each store should log at most one warning: {}",
        log.text()
    );
    drop(guard);

    tokio::task::block_in_place(&start);
    let writes = async || session.set("a", "newer").await.is_ok();
    wait_until("writes use the cache", writes).await;
    assert_eq!(read(&session, "a").await, value("newer"));
    let calls = tiers.redis.calls("evalsha");
    wait_until("reads use the cache", async || {
        session.get("a").await.unwrap();
        tiers.redis.calls("evalsha") > calls
    })
    .await;
    // Another process sees the changes after the cache was cleared.
    let elsewhere = tiers.store().await;
    let ended = ended.through(&elsewhere);
    wait_until("the cache knows of the deletion", async || has_ended(&ended).await).await;
    let other = other.through(&elsewhere);
    wait_until("the cache knows of the take", async || {
        load(&other, "a").await.is_ok_and(|loaded| loaded.fields.is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_killed_cache_that_restarts_empty() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let tiers = Tiers::start(flavour);
        goes_on_without_a_cache(&tiers, || tiers.redis.kill(), || tiers.redis.restart()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cache_that_hangs() {
    let tiers = Tiers::start(Flavour::Redis);
    goes_on_without_a_cache(&tiers, || tiers.redis.pause(), || tiers.redis.resume()).await;
}

/// The other processes see a deletion by this process as soon as this process reaches the cache
/// again.
#[tokio::test]
async fn a_cache_that_one_process_cannot_reach() {
    let tiers = Tiers::start(Flavour::Redis);
    let (builder, proxies) = tiers.proxied_builder(|cache| cache).await;
    let session = cached(&tiers.store().await).await;
    let store = Arc::new(impatient(builder).build());
    let cut_off = session.through(&store);
    cut_off.get("a").await.unwrap();

    proxies.cache.set(Traffic::Disconnect);
    assert_eq!(cut_off.delete().await.unwrap(), stale(()));
    let answer = load(&session, "a").await;
    assert!(matches!(answer, Err(Refused::Deleted { .. }) | Ok(_)), "{answer:?}");
    // After this time, at most one read per second tries to reach the cache.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let elsewhere = TestSession::begin(&store).await;
    proxies.cache.set(Traffic::Forward);
    wait_until("the process reaches the cache", async || elsewhere.set("a", "1").await.is_ok())
        .await;
    for _ in 0..20 {
        assert!(has_ended(&cut_off).await);
    }
    wait_until("the others see the deletion", async || has_ended(&session).await).await;
}

/// A sign-in at the limit ends an older session, which the cache may still show.
#[tokio::test]
async fn a_sign_in_that_ends_a_session_without_the_cache() {
    let tiers = Tiers::start(Flavour::Redis);
    let (builder, proxies) = tiers.proxied_builder(|cache| cache).await;
    let store = Arc::new(impatient(builder).build());
    let user = PrincipalKey::from_bytes([7; 32]);
    let limit = SessionLimit::new(1, OnLimit::EndOldest);
    let who = || NewSignIn::new(&user, Assurance::Aal1).limit(limit);
    let [oldest, second] = [(); 2].map(|()| TestSession::new(&store));
    let created = oldest.store.create(oldest.creation().sign_in(who())).await.unwrap();
    assert_eq!(created, Written::new(()));
    proxies.cache.set(Traffic::Disconnect);
    let created = second.store.create(second.creation().sign_in(who())).await.unwrap();
    assert_eq!(created, Written::new(()).stale_for(CACHE_TTL));
}

/// A user signs out while the cache hangs, and closes the tab before there is an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_deletion_that_is_dropped_while_the_cache_hangs() {
    let tiers = Tiers::start(Flavour::Redis);
    let session = cached(&tiers.store().await).await;
    let origin = session.through(&tiers.origin_alone().await);
    let hasty = session.through(&Arc::new(impatient(tiers.builder().await).build()));
    tokio::task::block_in_place(|| tiers.redis.pause());
    let deletion = tokio::spawn({
        let hasty = hasty.clone();
        async move { hasty.delete().await }
    });
    wait_until("the origin has deleted the session", async || has_ended(&origin).await).await;
    deletion.abort();
    assert!(deletion.await.is_err(), "the deletion should get no answer");
    // The server loses the commands that it received during the pause.
    tokio::task::block_in_place(|| {
        tiers.redis.kill();
        tiers.redis.restart();
    });
    assert!(has_ended(&session.through(&tiers.store().await)).await);
    wait_until("this process uses the cache again", async || has_ended(&hasty).await).await;
}

/// The request of a revocation is cancelled while the cache hangs. The next revocation has no
/// session to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_revocation_that_is_dropped_while_the_cache_hangs() {
    let tiers = Tiers::start(Flavour::Redis);
    let user = PrincipalKey::from_bytes([7; 32]);
    let session = TestSession::new(&tiers.store().await);
    let who = NewSignIn::new(&user, Assurance::Aal1);
    session.store.create(session.creation().sign_in(who)).await.unwrap();
    session.get("a").await.unwrap();
    let origin = session.through(&tiers.origin_alone().await);
    let hasty = session.through(&Arc::new(impatient(tiers.builder().await).build()));
    tokio::task::block_in_place(|| tiers.redis.pause());
    let all = RevokeTarget::All { except: None };
    let revocation = tokio::spawn({
        let store = Arc::clone(&hasty.store);
        async move { store.revoke(&user, all).await }
    });
    let is_revoked = async || matches!(load(&origin, "a").await, Err(Refused::Revoked));
    wait_until("the origin has revoked the session", is_revoked).await;
    revocation.abort();
    assert!(revocation.await.is_err(), "the revocation should get no answer");
    let next = hasty.store.revoke(&user, all).await.unwrap();
    assert_eq!(next, Written::new(vec![]).stale_for(CACHE_TTL));
    tokio::task::block_in_place(|| tiers.redis.resume());
    let observer = session.through(&tiers.store().await);
    let is_known = async || matches!(load(&observer, "a").await, Err(Refused::Revoked));
    wait_until("the cache knows of the revocation", is_known).await;
}

/// A touch that does not reach the cache changes no field, so the read is answered anyway.
#[tokio::test]
async fn a_touch_without_a_cache_is_answered() {
    let tiers = Tiers::start(Flavour::Redis);
    let (builder, proxies) = tiers.proxied_builder(|cache| cache).await;
    let session = cached(&tiers.store().await).await;
    let hasty = session.through(&Arc::new(impatient(builder).build()));
    hasty.get("a").await.unwrap();
    proxies.cache.set(Traffic::Disconnect);
    let touch = Touch::new(Ttl::from_secs(60), Duration::ZERO);
    let answer = hasty.load_fields(Projection::All, Some(touch)).await.unwrap();
    assert_eq!(answer.unwrap().fields[0].value, value("old").unwrap());
}

/// The write is carried out, but its finish does not reach the cache in time.
#[tokio::test]
async fn a_write_whose_finish_is_not_confirmed_is_stale() {
    let tiers = Tiers::start(Flavour::Redis);
    let (builder, proxies) = tiers.proxied_builder(|cache| cache).await;
    let session = cached(&Arc::new(builder.clone().build())).await;
    let session = session.through(&Arc::new(impatient(builder).build()));
    // The proxy forwards the answer to the intent, but holds the finish.
    proxies.cache.set(Traffic::HoldAfter(1));
    let written = session.set("a", "new").await.unwrap();
    assert_eq!(written, stale(Updated::Applied { found: 0 }));
    assert_eq!(session.get("a").await.unwrap(), value("new"));
    proxies.cache.set(Traffic::Forward);
    assert_eq!(read(&session, "a").await, value("new"));
}

/// A write that cannot finish evicts the entry instead, so the cache is not stale.
#[tokio::test]
async fn a_write_that_cannot_finish_evicts_the_entry() {
    let tiers = Tiers::start(Flavour::Redis);
    let fault = CacheFault::NeverFinishesWrites;
    let wrap = |cache| FaultyCache::new(cache, fault, &Arc::default());
    let (store, _proxies) = tiers.proxied_store(wrap).await;
    let session = TestSession::begin(&store).await;
    for text in ["1", "2"] {
        assert_eq!(session.set("a", text).await.unwrap(), APPLIED);
        assert_eq!(read(&session, "a").await, value(text));
    }
    assert_eq!(session.delete().await.unwrap(), DELETED);
    assert!(has_ended(&session).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_origin_that_is_down() {
    let server = Arc::new(Postgres::start(&[]));
    let tiers = Tiers::on(Redis::start(Flavour::Redis, &[]), Arc::clone(&server));
    let cache = tiers.cache(&tiers.urls()).await;
    let patient = tiers.origin_alone().await;
    let pool = server.pool(2);
    drop(pool.acquire().await.unwrap());
    let origin = tiers.origin_builder(pool).timeout(SHORT).build().await.unwrap();
    let builder = |origin: &PostgresStore| {
        LayeredStore::builder(cache.clone(), origin.clone()).cache_timeout(LONG_TIMEOUT)
    };
    let session = cached(&Arc::new(builder(&patient).build())).await;
    let strict = builder(&origin).hits_without_origin(false).build();
    let strict = session.through(&Arc::new(strict));
    let session = session.through(&Arc::new(builder(&origin).build()));

    tokio::task::block_in_place(|| server.stop());
    assert_eq!(read(&session, "a").await, value("old"), "a hit should need no origin");
    let down = [StoreErrorKind::Unavailable, StoreErrorKind::OutcomeUnknown];
    assert!(down.contains(&error_kind(session.get("b").await)));
    assert!(down.contains(&error_kind(strict.get("b").await)));
    assert!(down.contains(&error_kind(strict.get("a").await)), "the option should refuse a hit");
    assert!(down.contains(&error_kind(session.set("a", "new").await)));
    assert!(down.contains(&error_kind(session.delete().await)));
    let error = session.load().await.unwrap_err();
    assert!(error_chain(&error).contains("postgres"), "{}", error_chain(&error));

    tokio::task::block_in_place(|| server.restart());
    wait_until("the origin is back", async || session.set("a", "new").await.is_ok()).await;
    let is_new = async || session.get("a").await.is_ok_and(|found| found == value("new"));
    wait_until("reads find the value", is_new).await;
    let is_new = async || strict.get("a").await.is_ok_and(|found| found == value("new"));
    wait_until("strict reads find the value", is_new).await;
    wait_until("the session is deleted", async || {
        matches!(session.delete().await, Ok(Ok(_) | Err(Refused::Deleted { .. })))
    })
    .await;
    wait_until("reads see the deletion", async || {
        matches!(session.load().await, Ok(Err(Refused::Deleted { .. })))
    })
    .await;
}

#[tokio::test]
async fn an_origin_that_hangs() {
    let tiers = Tiers::start(Flavour::Redis);
    let (builder, proxies) = tiers.proxied_builder(|cache| cache).await;
    let session = cached(&Arc::new(builder.clone().build())).await;
    let hasty = session.through(&Arc::new(builder.origin_timeout(SHORT).build()));
    // The write can be sent only if a connection is idle.
    wait_until_idle(&proxies.pool).await;
    proxies.origin.set(Traffic::Hold);
    let error = hasty.set("a", "new").await.unwrap_err();
    assert_eq!((error.kind(), error.store()), (StoreErrorKind::OutcomeUnknown, "postgres"));
    let error = hasty.get("b").await.unwrap_err();
    assert_eq!((error.kind(), error.store()), (StoreErrorKind::Unavailable, "postgres"));
    proxies.origin.set(Traffic::Forward);
    wait_until("the write is carried out", async || {
        session.get("a").await.is_ok_and(|found| found == value("new"))
    })
    .await;
    assert_eq!(read(&session, "a").await, value("new"));
}

/// A full server caches nothing new. Everything else still works.
#[tokio::test]
async fn a_full_cache() {
    let settings = ["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"];
    let tiers = Tiers::on(Redis::start(Flavour::Redis, &settings), Postgres::shared());
    let store = tiers.store().await;
    let (session, ended) = (cached(&store).await, cached(&store).await);
    let mut number = 0;
    for size in [100_000, 1000, 10] {
        // Closing a connection frees its buffers, so each size has a connection of its own.
        let mut connection =
            redis::Client::open(tiers.redis.url()).unwrap().get_connection().unwrap();
        let filler = "x".repeat(size);
        loop {
            number += 1;
            let mut set = redis::cmd("SET");
            if set.arg(number).arg(&filler).exec(&mut connection).is_err() {
                break;
            }
        }
    }
    assert_eq!(read(&session, "a").await, value("old"));
    for text in ["new", "newer"] {
        assert_eq!(session.set("a", text).await.unwrap(), APPLIED);
        assert_eq!(read(&session, "a").await, value(text));
    }
    assert_eq!(ended.delete().await.unwrap(), DELETED);
    assert!(has_ended(&ended).await);
    let keys: u64 = tiers.redis.command(&["DBSIZE"]);
    for _ in 0..500 {
        assert_eq!(TestSession::new(&store).load().await.unwrap(), Err(Refused::NotFound));
    }
    let more = tiers.redis.command::<u64>(&["DBSIZE"]) - keys;
    assert!(more < 250, "unknown tokens should take little space, but took {more} keys");
    assert_eq!(session.take("a").await.unwrap(), taken(value("newer")));
    assert_eq!(read(&session, "a").await, None);
}

#[tokio::test]
async fn a_costly_setting_of_the_cache_server_is_logged() {
    let append_only = &["--appendonly", "yes"][..];
    let no_eviction = &["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"][..];
    for (settings, warning) in [
        (&[][..], None),
        (append_only, Some("log of all writes")),
        (no_eviction, Some("evicts nothing")),
    ] {
        let tiers = Tiers::on(Redis::start(Flavour::Redis, settings), Postgres::shared());
        let store = tiers.store().await;
        let (log, _guard) = Log::start();
        store.check().await.unwrap();
        let warnings: Vec<_> =
            log.text().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect();
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{warnings:?}");
        let is_named = warning.is_none_or(|warning| warnings[0].contains(warning));
        assert!(is_named, "{warnings:?}");
    }
}

/// Without the right to run these commands, the cache could not detect that the server lost its
/// latest data.
#[tokio::test]
async fn a_cache_user_without_a_needed_command_is_refused() {
    let tiers = Tiers::start(Flavour::Redis);
    for command in ["INFO", "MGET"] {
        let refused = format!("-{}", command.to_lowercase());
        let rights = ["ACL", "SETUSER", "web", "on", ">secret", "~*", "+@all", &refused];
        tiers.redis.command::<()>(&rights);
        let url = tiers.redis.url().replace("redis://", "redis://web:secret@");
        let cache = RedisStore::builder(Arc::new(fred_client(&url).await));
        let (origin, _) = tiers.origin(&tiers.urls()).await;
        let cache = cache.timeout(LONG_TIMEOUT).build();
        let store = LayeredStore::builder(cache, origin).cache_timeout(LONG_TIMEOUT).build();
        let error = store.check().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
        assert!(error_chain(&error).contains(command), "{}", error_chain(&error));
        let session = TestSession::new(&Arc::new(store));
        session.create(None).await.unwrap();
        assert_eq!(session.get("a").await.unwrap(), None, "reads should need no cache");
        assert_eq!(error_kind(session.set("a", "1").await), StoreErrorKind::Unavailable);
    }
}
