//! One of the tiers is down, hangs, is full, or comes back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ruts::{
    Ttl,
    store::{
        Change, Loaded, Lookup, Projection, Store, StoreErrorKind, Touch,
        postgres::PostgresStoreBuilder,
    },
};
use ruts_tests::{
    Log, Traffic, Visitor,
    backends::idle,
    kind,
    servers::{Flavour, Postgres, Redis},
    tiers::{Fault, Faulty, Layered, Tiers, until},
    told,
};

use crate::{APPLIED, reads, value};

const HOT_TTL: Duration = Duration::from_secs(120);

/// How long those wait who are not to wait long: enough for a busy machine.
const SHORT: Duration = Duration::from_millis(500);

/// The same, in a hurry when it comes to the cache.
fn impatient(patient: &Arc<Layered>) -> Arc<Layered> {
    Arc::new((**patient).clone().with_hot_timeout(SHORT).with_hot_ttl(HOT_TTL))
}

/// A session with "old" in `a`, cached.
async fn cached(store: &Arc<Layered>) -> Visitor<Layered> {
    let visitor = Visitor::begin(store).await;
    visitor.set("a", "old").await.unwrap();
    assert_eq!(reads(&visitor, "a").await, value("old"));
    visitor
}

/// What is said of a session to one who asks for what was cached.
async fn asked(visitor: &Visitor<Layered>) -> Lookup<Loaded> {
    let cached = Projection::Named(&["a"]);
    visitor.store.load(visitor.credentials(), cached, None).await.unwrap()
}

/// The answer of a write that the cache could not be told of.
fn unconfirmed<T>(answer: T) -> Lookup<T> {
    Lookup::Unconfirmed { answer, within: HOT_TTL }
}

/// What is true of a cache that is gone, however it is gone.
async fn goes_on_without(tiers: &Tiers<&'static Postgres>, gone: impl Fn(), back: impl Fn()) {
    let patient = tiers.process().await;
    let store = impatient(&patient);
    let [visitor, signed_out, other] =
        [cached(&patient).await, cached(&patient).await, cached(&patient).await]
            .map(|visitor| Visitor { store: Arc::clone(&store), ..visitor });
    let truth = Visitor {
        store: Arc::new(tiers.cold(&tiers.route()).await.0),
        id: visitor.id,
        secret: visitor.secret,
    };
    let (log, guard) = Log::start();
    tokio::task::block_in_place(&gone);

    let begun = Instant::now();
    for _ in 0..40 {
        assert_eq!(visitor.get("a").await.unwrap(), value("old"));
    }
    assert!(begun.elapsed() < SHORT * 20, "each read waits for a cache that is down");
    for _ in 0..3 {
        let error = visitor.set("a", "new").await.unwrap_err();
        assert_eq!((error.kind(), error.store()), (StoreErrorKind::Unavailable, "layered"));
        assert_eq!(kind(visitor.take("a").await), StoreErrorKind::Unavailable);
        assert_eq!(kind(visitor.change(&[Change::Remove("a")]).await), StoreErrorKind::Unavailable);
    }
    assert_eq!(truth.get("a").await.unwrap(), value("old"), "a refused write was done");

    assert_eq!(signed_out.delete().await.unwrap(), unconfirmed(()));
    assert!(matches!(asked(&signed_out).await, Lookup::Ended { .. }));
    // Whose deletion it was, the session has to know, so that it clears nobody else's cookie.
    assert!(matches!(signed_out.delete().await.unwrap(), Lookup::Ended { .. }));
    let new = Visitor::begin(&store).await;
    assert_eq!(new.get("a").await.unwrap(), None, "a session begins without the cache");

    let willing = (*store).clone().writes_without_hot(true);
    let willing = Visitor { store: Arc::new(willing), ..other.clone() };
    let Lookup::Unconfirmed { answer, within } = willing.set("a", "new").await.unwrap() else {
        panic!("nothing was said about the cache");
    };
    assert_eq!((answer, within), (ruts::store::Updated::Applied { found: 0 }, HOT_TTL));
    assert_eq!(willing.get("a").await.unwrap(), value("new"));
    assert_eq!(willing.take("a").await.unwrap(), unconfirmed(value("new")));
    let warnings = log.text().matches("WARN").count();
    assert_eq!(warnings, 1, "{}", log.text());
    drop(guard);

    tokio::task::block_in_place(&back);
    until("the cache is used again", async || visitor.set("a", "newer").await.is_ok()).await;
    assert_eq!(reads(&visitor, "a").await, value("newer"));
    let looks = tiers.redis.calls("evalsha");
    until("it is read again", async || {
        visitor.get("a").await.unwrap();
        tiers.redis.calls("evalsha") > looks
    })
    .await;
    // Also in a process that never had a doubt.
    let elsewhere = tiers.process().await;
    for (ended, is_told) in [(&signed_out, true), (&other, false)] {
        let visitor = Visitor { store: Arc::clone(&elsewhere), ..ended.clone() };
        until("the cache has been told", async || match asked(&visitor).await {
            Lookup::Ended { .. } => is_told,
            Lookup::Found(loaded) => !is_told && loaded.fields.is_empty(),
            _ => false,
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cache_that_is_killed_and_comes_back_empty() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let tiers = Tiers::new(flavour);
        goes_on_without(&tiers, || tiers.redis.kill(), || tiers.redis.restart()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cache_that_hangs() {
    let tiers = Tiers::new(Flavour::Redis);
    goes_on_without(&tiers, || tiers.redis.pause(), || tiers.redis.resume()).await;
}

/// The cache is up, and one process cannot reach it. What that one signs out, the others see signed out as
/// soon as it can.
#[tokio::test]
async fn a_cache_that_only_one_process_cannot_reach() {
    let tiers = Tiers::new(Flavour::Redis);
    let (cut_off, held) = tiers.held_process(|hot| hot).await;
    let visitor = cached(&tiers.process().await).await;
    let cut_off = Visitor { store: impatient(&cut_off), ..visitor.clone() };
    cut_off.get("a").await.unwrap();

    held.hot.set(Traffic::Stops);
    assert!(matches!(cut_off.delete().await.unwrap(), Lookup::Unconfirmed { answer: (), .. }));
    assert!(matches!(asked(&visitor).await, Lookup::Ended { .. } | Lookup::Found(_)));
    // By now it tries only once in a while to tell the cache.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let elsewhere = Visitor::begin(&cut_off.store).await;
    held.hot.set(Traffic::Flows);
    until("the cache is reached", async || elsewhere.set("a", "1").await.is_ok()).await;
    for _ in 0..20 {
        assert!(matches!(asked(&cut_off).await, Lookup::Ended { .. }));
    }
    until("the others see it", async || matches!(asked(&visitor).await, Lookup::Ended { .. }))
        .await;
}

/// Who signs out while the cache hangs, and closes the tab before there is an answer, is signed out.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_sign_out_that_is_dropped_while_the_cache_hangs() {
    let tiers = Tiers::new(Flavour::Redis);
    let patient = tiers.process().await;
    let visitor = cached(&patient).await;
    let truth = Arc::new(tiers.cold(&tiers.route()).await.0);
    let truth = Visitor { store: truth, id: visitor.id, secret: visitor.secret };
    let hasty = Visitor { store: impatient(&patient), ..visitor.clone() };
    tokio::task::block_in_place(|| tiers.redis.pause());
    let leaving = tokio::spawn(async move { hasty.delete().await });
    until("it is deleted", async || matches!(truth.load().await.unwrap(), Lookup::Ended { .. }))
        .await;
    leaving.abort();
    assert!(leaving.await.is_err(), "it was answered before");
    // Of what was sent before, nothing arrives.
    tokio::task::block_in_place(|| {
        tiers.redis.kill();
        tiers.redis.restart();
    });
    let again = tiers.process().await;
    let again = Visitor { store: again, ..visitor.clone() };
    assert!(matches!(asked(&again).await, Lookup::Ended { .. }));
    until("this process uses the cache again", async || {
        matches!(asked(&visitor).await, Lookup::Ended { .. })
    })
    .await;
}

/// A use that ends a session sooner, of which the cache was not told, is not confirmed.
#[tokio::test]
async fn a_use_that_the_cache_is_not_told_of() {
    let tiers = Tiers::new(Flavour::Redis);
    let (store, held) = tiers.held_process(|hot| hot).await;
    let visitor = cached(&store).await;
    held.hot.set(Traffic::Stops);
    let touch = Touch { idle: Ttl::from_secs(60), after: Duration::ZERO };
    let store = impatient(&store);
    let answer = store.load(visitor.credentials(), Projection::All, Some(touch)).await.unwrap();
    assert!(matches!(answer, Lookup::Unconfirmed { within: HOT_TTL, .. }), "{answer:?}");
}

/// A finish whose answer is lost is no success, but what was asked for is done.
#[tokio::test]
async fn a_finish_that_is_not_confirmed() {
    let tiers = Tiers::new(Flavour::Redis);
    let (store, held) = tiers.held_process(|hot| hot).await;
    let visitor = cached(&store).await;
    let visitor = Visitor { store: impatient(&store), ..visitor };
    let before = tiers.redis.calls("evalsha");
    held.cold.set(Traffic::Waits);
    let writing = tokio::spawn({
        let visitor = visitor.clone();
        async move { visitor.set("a", "new").await.unwrap() }
    });
    until("the fence stands", async || tiers.redis.calls("evalsha") > before).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    held.hot.set(Traffic::Waits);
    held.cold.set(Traffic::Flows);
    assert!(matches!(writing.await.unwrap(), Lookup::Unconfirmed { .. }));
    assert_eq!(visitor.get("a").await.unwrap(), value("new"));
    held.hot.set(Traffic::Flows);
    assert_eq!(reads(&visitor, "a").await, value("new"));
}

/// If it cannot finish, it can still forget: that is a success.
#[tokio::test]
async fn a_finish_that_fails_is_made_up_for() {
    let tiers = Tiers::new(Flavour::Redis);
    let (store, _held) =
        tiers.held_process(|cache| Faulty::new(cache, Fault::Unfinished, &Arc::default())).await;
    let visitor = Visitor::begin(&store).await;
    for text in ["1", "2"] {
        assert_eq!(visitor.set("a", text).await.unwrap(), APPLIED);
        assert_eq!(reads(&visitor, "a").await, value(text));
    }
    assert_eq!(visitor.delete().await.unwrap(), Lookup::Found(()));
    assert!(matches!(visitor.load().await.unwrap(), Lookup::Ended { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_store_of_record_that_is_down() {
    let server = Arc::new(Postgres::start(&[]));
    let tiers = Tiers::of(Redis::start(Flavour::Redis, &[]), Arc::clone(&server));
    let route = tiers.route();
    let cold = PostgresStoreBuilder::new(server.pool(2), true)
        .cleanup_interval(None)
        .timeout(Duration::from_millis(500));
    let cold = cold.build().await.unwrap();
    let store = ruts::store::layered::LayeredStore::new(tiers.cache(&route).await, cold);
    let strict = Arc::new(store.clone().hits_without_cold(false));
    let visitor = cached(&Arc::new(store)).await;
    let strict = Visitor { store: strict, ..visitor.clone() };

    tokio::task::block_in_place(|| server.stop());
    assert_eq!(reads(&visitor, "a").await, value("old"), "a hit does not need it");
    let down = [StoreErrorKind::Unavailable, StoreErrorKind::Unknown];
    assert!(down.contains(&kind(visitor.get("b").await)));
    assert!(down.contains(&kind(strict.get("a").await)), "a hit is refused by option");
    assert!(down.contains(&kind(visitor.set("a", "new").await)));
    assert!(down.contains(&kind(visitor.delete().await)));
    let error = visitor.load().await.unwrap_err();
    assert!(told(&error).contains("postgres"), "{}", told(&error));

    tokio::task::block_in_place(|| server.restart());
    until("it is back", async || visitor.set("a", "new").await.is_ok()).await;
    assert_eq!(reads(&visitor, "a").await, value("new"));
    assert_eq!(reads(&strict, "a").await, value("new"));
    assert_eq!(visitor.delete().await.unwrap(), Lookup::Found(()));
    assert!(matches!(visitor.load().await.unwrap(), Lookup::Ended { .. }));
}

/// A store of record that never answers holds nobody up for ever.
#[tokio::test]
async fn a_store_of_record_that_hangs() {
    let tiers = Tiers::new(Flavour::Redis);
    let (store, held) = tiers.held_process(|hot| hot).await;
    let visitor = cached(&store).await;
    let hasty = Arc::new((*store).clone().with_cold_timeout(SHORT));
    let hasty = Visitor { store: hasty, ..visitor.clone() };
    // There is a connection on which the write can be sent.
    idle(&held.pool).await;
    held.cold.set(Traffic::Waits);
    let error = hasty.set("a", "new").await.unwrap_err();
    assert_eq!((error.kind(), error.store()), (StoreErrorKind::Unknown, "postgres"));
    let error = hasty.get("b").await.unwrap_err();
    assert_eq!((error.kind(), error.store()), (StoreErrorKind::Unavailable, "postgres"));
    held.cold.set(Traffic::Flows);
    until("the write is carried out", async || {
        visitor.get("a").await.is_ok_and(|held| held == value("new"))
    })
    .await;
    assert_eq!(reads(&visitor, "a").await, value("new"));
}

/// On a server without room nothing new is cached, and everything else goes on.
#[tokio::test]
async fn a_cache_that_is_full() {
    let settings = ["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"];
    let tiers = Tiers::of(Redis::start(Flavour::Redis, &settings), Postgres::shared());
    let store = tiers.process().await;
    let (visitor, signed_out) = (cached(&store).await, cached(&store).await);
    let mut number = 0;
    for size in [100_000, 1000, 10] {
        // What a connection holds of what it was sent is freed with it.
        let mut connection =
            redis::Client::open(tiers.redis.url()).unwrap().get_connection().unwrap();
        let junk = "x".repeat(size);
        loop {
            number += 1;
            let mut set = redis::cmd("SET");
            if set.arg(number).arg(&junk).exec(&mut connection).is_err() {
                break;
            }
        }
    }
    assert_eq!(reads(&visitor, "a").await, value("old"));
    for text in ["new", "newer"] {
        assert_eq!(visitor.set("a", text).await.unwrap(), APPLIED);
        assert_eq!(reads(&visitor, "a").await, value(text));
    }
    assert_eq!(signed_out.delete().await.unwrap(), Lookup::Found(()));
    assert!(matches!(signed_out.load().await.unwrap(), Lookup::Ended { .. }));
    let keys: u64 = tiers.redis.command(&["DBSIZE"]);
    for _ in 0..500 {
        let nobody = Visitor::new(&store);
        assert_eq!(nobody.load().await.unwrap(), Lookup::NotFound);
    }
    let more = tiers.redis.command::<u64>(&["DBSIZE"]) - keys;
    assert!(more < 250, "strangers take up room: {more}");
    assert_eq!(visitor.take("a").await.unwrap(), Lookup::Found(value("newer")));
    assert_eq!(reads(&visitor, "a").await, None);
}

#[tokio::test]
async fn what_a_cache_pays_for_is_said() {
    let settings = [
        &["--appendonly", "yes"][..],
        &["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"],
    ];
    for (settings, said) in [
        (&[][..], None),
        (settings[0], Some("log of all writes")),
        (settings[1], Some("evicts nothing")),
    ] {
        let tiers = Tiers::of(Redis::start(Flavour::Redis, settings), Postgres::shared());
        let store = tiers.process().await;
        let (log, _guard) = Log::start();
        store.check().await.unwrap();
        let warnings: Vec<_> =
            log.text().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect();
        assert_eq!(warnings.len(), usize::from(said.is_some()), "{warnings:?}");
        assert!(said.is_none_or(|said| warnings[0].contains(said)), "{warnings:?}");
    }
}

/// A user who may not ask for the server's history could not tell when it goes back.
#[tokio::test]
async fn a_cache_that_does_not_tell_its_history_is_refused() {
    let tiers = Tiers::new(Flavour::Redis);
    for command in ["INFO", "MGET"] {
        is_refused_without(&tiers, command).await;
    }
}

async fn is_refused_without(tiers: &Tiers<&'static Postgres>, command: &str) {
    let refused = format!("-{}", command.to_lowercase());
    let rights = ["ACL", "SETUSER", "web", "on", ">secret", "~*", "+@all", &refused];
    tiers.redis.command::<()>(&rights);
    let url = tiers.redis.url().replace("redis://", "redis://web:secret@");
    let client = ruts_tests::backends::fred_client(&url).await;
    let hot = ruts::store::redis::RedisStore::new(Arc::new(client));
    let (cold, _) = tiers.cold(&tiers.route()).await;
    let store = ruts::store::layered::LayeredStore::new(hot, cold);
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
    assert!(told(&error).contains(command), "{}", told(&error));
    let visitor = Visitor::new(&Arc::new(store));
    visitor.create(None).await.unwrap();
    assert_eq!(visitor.get("a").await.unwrap(), None, "reads go on without it");
    assert_eq!(kind(visitor.set("a", "1").await), StoreErrorKind::Unavailable);
}
