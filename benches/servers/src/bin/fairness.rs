//! Measures how much the requests of one session, or the sessions of one principal, delay others.
//!
//! - The median delay of another session's writes, with and without 1,500 requests to one session,
//!   in the same run.
//! - The time of the server for each step on a principal list with 200,000 entries, from the slow
//!   log of Redis.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark that fails panics")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{NewSignIn, PageRequest, Projection, RevokeTarget, Store, postgres::PostgresStore},
};
use ruts_tests_stores::{
    backends::{fred_client, redis_store},
    servers::{Flavour, Postgres, Prefix, Redis},
};
use ruts_tests_support::{TestSession, random};
use tokio::task::JoinSet;

/// Number of simultaneous requests to one session.
const REQUESTS: usize = 1500;

/// Number of rounds of each measurement.
const ROUNDS: usize = 5;

/// Number of entries of a list.
const ENTRIES: usize = 200_000;

const HOUR: Ttl = Ttl::from_secs(3600);

#[tokio::main]
async fn main() {
    let redis = Redis::start(Flavour::Redis, &[]);
    let store = redis_store(fred_client(redis.url()).await, &Prefix::unique());
    measure_fairness("redis", &Arc::new(store)).await;
    let postgres = Postgres::start(&["synchronous_commit=on", "fsync=on"]);
    let builder = PostgresStore::builder(postgres.pool(10)).create_tables(true);
    let builder = builder.timeout(Duration::from_secs(60)).cleanup_interval(None);
    measure_fairness("postgres", &Arc::new(builder.build().await.unwrap())).await;
    measure_steps().await;
}

async fn measure_fairness<S: Store>(name: &str, store: &Arc<S>) {
    let (busy, other) = (TestSession::begin(store).await, TestSession::begin(store).await);
    let (mut alone, mut during) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..50 {
            alone.push(delay(&other).await);
        }
        let unanswered = Arc::new(AtomicUsize::new(REQUESTS));
        let mut requests = JoinSet::new();
        for _ in 0..REQUESTS {
            let (busy, unanswered) = (busy.clone(), Arc::clone(&unanswered));
            requests.spawn(async move {
                busy.set("a", "1").await.unwrap().unwrap();
                unanswered.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while unanswered.load(Ordering::Relaxed) > 0 {
            during.push(delay(&other).await);
        }
        requests.join_all().await;
    }
    let count = during.len();
    let (alone, during) = (median(alone), median(during));
    let ratio = during.as_secs_f64() / alone.as_secs_f64();
    println!(
        "{name}: a write takes {alone:.2?}, and {during:.2?} during {REQUESTS} requests at another \
         session ({count} writes): {ratio:.1} times as long"
    );
}

async fn delay<S: Store>(session: &TestSession<S>) -> Duration {
    let begun = Instant::now();
    session.set("a", "1").await.unwrap().unwrap();
    begun.elapsed()
}

fn median(mut delays: Vec<Duration>) -> Duration {
    delays.sort();
    delays[delays.len() / 2]
}

async fn measure_steps() {
    let server = Redis::start(Flavour::Redis, &[]);
    let store = Arc::new(redis_store(fred_client(server.url()).await, &Prefix::unique()));
    let principal = PrincipalKey::from_bytes(random());
    let who = NewSignIn::new(&principal, Assurance::Aal1);
    let sign_in = async || {
        let session = TestSession::new(&store);
        store.create(session.creation().idle(HOUR).sign_in(who)).await.unwrap();
        session
    };
    let session = sign_in().await;
    let keys: Vec<String> = server.command(&["KEYS", "*:principal"]);
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    for _ in 0..ENTRIES / 1000 {
        let mut commands = redis::pipe();
        for _ in 0..1000 {
            let member = [&random::<16>()[..], b"1700000000000 +"].concat();
            commands.cmd("ZADD").arg(&keys[0]).arg(0).arg(member).ignore();
        }
        commands.exec(&mut connection).unwrap();
    }
    server.command::<()>(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    server.command::<()>(&["CONFIG", "SET", "slowlog-max-len", "100000"]);
    let (page, fields) = (PageRequest::new(None, 100), Projection::Named(&[]));
    report(&server, "a sign-in", || async { drop(sign_in().await) }).await;
    report(&server, "a sign-out", || async {
        session.delete().await.unwrap().unwrap();
    })
    .await;
    report(&server, "a page of the list", || async {
        drop(store.list_by_principal(&principal, page, fields).await.unwrap());
    })
    .await;
    report(&server, "a revocation of all", || async {
        drop(store.revoke(&principal, RevokeTarget::All { except: None }).await.unwrap());
    })
    .await;
}

/// Prints the number of scripts of an operation, and the time of the longest.
async fn report<F: Future<Output = ()>>(server: &Redis, operation: &str, run: impl FnOnce() -> F) {
    server.command::<()>(&["SLOWLOG", "RESET"]);
    run().await;
    let log: Vec<Vec<redis::Value>> = server.command(&["SLOWLOG", "GET", "-1"]);
    let is_script =
        |entry: &&Vec<redis::Value>| format!("{:?}", entry[3]).to_lowercase().contains("evalsha");
    let times: Vec<u64> = (log.iter().filter(is_script))
        .map(|entry| redis::from_redis_value(entry[2].clone()).unwrap())
        .collect();
    let longest = Duration::from_micros(times.iter().copied().max().unwrap_or_default());
    println!(
        "{ENTRIES} entries, {operation}: {} scripts, the longest takes {longest:.2?} of server time",
        times.len()
    );
}
