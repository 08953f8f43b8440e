//! Servers are killed under load and started again. No acknowledged write may be lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ruts::store::{Refused, Store, StoreErrorKind, postgres::PostgresStore, redis::RedisClient};
use ruts_tests_stores::{
    backends::{fred_client, mysql_builder, redis_builder, redis_rs_client, redis_store},
    servers::{Flavour, MySql, Postgres, Prefix, Redis},
};
use ruts_tests_support::{APPLIED, DELETED, LONG_TIMEOUT, TestSession};

const CRASHES: u32 = 3;
const WRITERS: u32 = 8;

/// The answers of one writer.
#[derive(Default)]
struct Answers {
    /// The last number whose write was acknowledged.
    acknowledged: u64,
    /// The last number whose write was attempted.
    attempted: u64,
    failures: u64,
}

/// Writes increasing numbers until `stop` is set.
async fn count_up<S: Store>(session: TestSession<S>, stop: Arc<AtomicBool>) -> Answers {
    let mut answers = Answers::default();
    while !stop.load(Ordering::Relaxed) {
        answers.attempted += 1;
        match session.set("a", &answers.attempted.to_string()).await {
            Ok(answer) => {
                assert_eq!(answer, APPLIED);
                answers.acknowledged = answers.attempted;
            }
            Err(error) => {
                let expected = [StoreErrorKind::Unavailable, StoreErrorKind::OutcomeUnknown];
                assert!(expected.contains(&error.kind()), "{error:?}");
                answers.failures += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    answers
}

/// Waits until the store answers, and returns the number that the session holds.
async fn number<S: Store>(session: &TestSession<S>) -> u64 {
    let start = Instant::now();
    loop {
        match session.get("a").await {
            Ok(None) => return 0,
            Ok(Some(value)) => return std::str::from_utf8(&value).unwrap().parse().unwrap(),
            Err(error) => assert!(start.elapsed() < LONG_TIMEOUT, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until each writer has written once.
async fn wait_for_progress<S: Store>(sessions: &[TestSession<S>]) {
    for session in sessions {
        while number(session).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Kills and restarts the server while writers use the store `impatient`. The store `patient`,
/// which has a long timeout, creates and checks the sessions.
async fn acknowledged_writes_survive<S: Store>(
    patient: Arc<S>,
    impatient: Arc<S>,
    kill: impl Fn(),
    restart: impl Fn(),
) {
    for crash in 0..CRASHES {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = TestSession::begin(&patient).await;
        assert_eq!(ended.set("a", "1").await.unwrap(), APPLIED);
        let (mut sessions, mut writers) = (Vec::new(), Vec::new());
        for _ in 0..WRITERS {
            let session = TestSession::begin(&patient).await;
            let writer = session.through(&impatient);
            writers.push(tokio::spawn(count_up(writer, Arc::clone(&stop))));
            sessions.push(session);
        }
        wait_for_progress(&sessions).await;
        tokio::time::sleep(Duration::from_millis(37 * u64::from(crash))).await;
        assert_eq!(ended.delete().await.unwrap(), DELETED);
        tokio::task::block_in_place(&kill);
        tokio::time::sleep(2 * SHORT).await;
        tokio::task::block_in_place(&restart);
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.store(true, Ordering::Relaxed);
        let mut failures = 0;
        for (session, writer) in sessions.iter().zip(writers) {
            let Answers { acknowledged, attempted, failures: failed } = writer.await.unwrap();
            let number = number(session).await;
            assert!(
                (acknowledged..=attempted).contains(&number),
                "the number should be between {acknowledged} (acknowledged) and {attempted} (attempted), but is {number}"
            );
            assert!(acknowledged > 0);
            failures += failed;
        }
        assert!(failures > 0, "a writer should notice the crash");
        let answer = loop {
            if let Ok(answer) = ended.load().await {
                break answer;
            }
        };
        assert!(
            matches!(answer, Err(Refused::Deleted { .. })),
            "the session should have ended: {answer:?}"
        );
    }
}

/// A timeout that is shorter than the downtime of a server. With a longer one, operations would
/// wait for the restart, and none would fail.
const SHORT: Duration = Duration::from_millis(500);

async fn redis_survives<C: RedisClient>(flavour: Flavour, connect: impl AsyncFn(&str) -> C) {
    let settings = ["--appendonly", "yes", "--appendfsync", "always"];
    let (server, prefix) = (Redis::start(flavour, &settings), Prefix::unique());
    let patient = redis_store(connect(server.url()).await, &prefix);
    let impatient = redis_builder(connect(server.url()).await, &prefix).timeout(SHORT).build();
    let stores = (Arc::new(patient), Arc::new(impatient));
    acknowledged_writes_survive(stores.0, stores.1, || server.kill(), || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_through_fred() {
    redis_survives(Flavour::Redis, async |url| fred_client(url).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey_through_redis_rs() {
    redis_survives(Flavour::Valkey, async |url| redis_rs_client(url).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    let server = Postgres::start(&["fsync=on", "synchronous_commit=on", "full_page_writes=on"]);
    let store = async |timeout, create_tables| {
        let pool = server.pool(4);
        // Connects before the store exists, and so without its timeout.
        drop(pool.acquire().await.unwrap());
        let builder = PostgresStore::builder(pool).create_tables(create_tables);
        Arc::new(builder.cleanup_interval(None).timeout(timeout).build().await.unwrap())
    };
    let (patient, impatient) = (store(LONG_TIMEOUT, true).await, store(SHORT, false).await);
    acknowledged_writes_survive(patient, impatient, || server.kill(), || server.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql() {
    let server = MySql::start(&["innodb_flush_log_at_trx_commit=1"]);
    let patient = mysql_builder(&server, "sessions").build().await.unwrap();
    let impatient = mysql_builder(&server, "sessions").timeout(SHORT).build().await.unwrap();
    let stores = (Arc::new(patient), Arc::new(impatient));
    acknowledged_writes_survive(stores.0, stores.1, || server.kill(), || server.restart()).await;
}
