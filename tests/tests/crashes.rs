//! Servers that are killed under load and started again: what was acknowledged is there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ruts::store::{Lookup, Store, StoreErrorKind, Updated, postgres::PostgresStoreBuilder};
use ruts_tests::{
    Visitor,
    backends::{fred_client, manager, redis_store},
    servers::{Flavour, Postgres, Prefix, Redis},
};

const CRASHES: u32 = 3;
const VISITORS: u32 = 8;

/// What one visitor was told.
#[derive(Default)]
struct Told {
    /// The last number whose write was acknowledged.
    acknowledged: u64,
    /// The last number whose write was attempted.
    attempted: u64,
    failures: u64,
}

/// Writes ever higher numbers until it is told to stop.
async fn count_up<S: Store>(visitor: Visitor<S>, stop: Arc<AtomicBool>) -> (Visitor<S>, Told) {
    let mut told = Told::default();
    while !stop.load(Ordering::Relaxed) {
        told.attempted += 1;
        match visitor.set("a", &told.attempted.to_string()).await {
            Ok(answer) => {
                assert_eq!(answer, Lookup::Found(Updated::Applied { found: 0 }));
                told.acknowledged = told.attempted;
            }
            Err(error) => {
                let kind = error.kind();
                let expected = [StoreErrorKind::Unavailable, StoreErrorKind::Unknown];
                assert!(expected.contains(&kind), "{error:?}");
                told.failures += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    (visitor, told)
}

/// What the session holds, as soon as the store answers.
async fn held<S: Store>(visitor: &Visitor<S>) -> u64 {
    let begun = Instant::now();
    loop {
        match visitor.get("a").await {
            Ok(None) => return 0,
            Ok(Some(value)) => return std::str::from_utf8(&value).unwrap().parse().unwrap(),
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn survives<S: Store>(store: Arc<S>, kill: impl Fn(), restart: impl Fn()) {
    for crash in 0..CRASHES {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Visitor::begin(&store).await;
        ended.set("a", "1").await.unwrap();
        let mut writers = Vec::new();
        for _ in 0..VISITORS {
            let visitor = Visitor::begin(&store).await;
            writers.push(tokio::spawn(count_up(visitor, Arc::clone(&stop))));
        }
        tokio::time::sleep(Duration::from_millis(50 + 37 * u64::from(crash))).await;
        ended.delete().await.unwrap();
        tokio::task::block_in_place(&kill);
        tokio::time::sleep(Duration::from_millis(400)).await;
        tokio::task::block_in_place(&restart);
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.store(true, Ordering::Relaxed);
        let mut failures = 0;
        for writer in writers {
            let (visitor, told) = writer.await.unwrap();
            let held = held(&visitor).await;
            assert!(
                (told.acknowledged..=told.attempted).contains(&held),
                "{held} is held; {} was acknowledged and {} attempted",
                told.acknowledged,
                told.attempted
            );
            assert!(told.acknowledged > 0);
            failures += told.failures;
        }
        assert!(failures > 0, "nobody noticed the crash");
        assert!(matches!(ended.load().await.unwrap(), Lookup::Ended { .. }), "it is back");
    }
}

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_through_fred() {
    let server = Redis::start(Flavour::Redis, &DURABLE);
    let store = Arc::new(redis_store(fred_client(server.url()).await, &Prefix::unique()));
    survives(store, || server.kill(), || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey_through_redis_rs() {
    let server = Redis::start(Flavour::Valkey, &DURABLE);
    let store = Arc::new(redis_store(manager(server.url()).await, &Prefix::unique()));
    survives(store, || server.kill(), || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    let server = Postgres::start(&["fsync=on", "synchronous_commit=on", "full_page_writes=on"]);
    // With more time, operations wait for the server to come back, and nothing fails.
    let builder = PostgresStoreBuilder::new(server.pool(4), true)
        .cleanup_interval(None)
        .timeout(Duration::from_millis(250));
    let store = Arc::new(builder.build().await.unwrap());
    survives(store, || server.kill(), || server.restart()).await;
}
