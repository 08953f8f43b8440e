//! Measures how much the cleanup of expired sessions delays writes.
//!
//! PostgreSQL holds a million sessions of five fields. A hundred thousand of them have expired.
//! Eight visitors write one field after the other, first undisturbed, then during the cleanup. The
//! benchmark fails if the cleanup adds more than 50 ms to the 99th percentile of the write times.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark that fails panics")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ruts::store::{Store, postgres::PostgresStore};
use ruts_tests_stores::servers::Postgres;
use ruts_tests_support::TestSession;
use sqlx::{AssertSqlSafe, PgPool, Row};

const VISITORS: usize = 8;

const FILL: &str = "
    insert into sessions (
      session_id, secret, created_at, issued_at, used_at, epoch, idle_at, absolute_at
    )
    select decode(md5(i::text), 'hex'), sha256(i::text::bytea), now(), now(), now(), 0,
      now() + case when i % 10 = 0 then interval '-2 hours' else i * interval '1 s' end,
      now() + interval '30 days'
    from generate_series(1, 1000000) i;
    insert into sessions_fields (session, name, value, cache_policy)
    select id, name, '\\x0001000102030405060708090a', 0
    from sessions, unnest(array['user', 'cart', 'flash', 'visits', 'theme']) name;
";

#[tokio::main]
async fn main() {
    let server = Postgres::start(&["shared_buffers=512MB", "max_wal_size=8GB"]);
    let pool = server.pool(VISITORS as u32);
    let builder = PostgresStore::builder(pool.clone()).create_tables(true);
    let builder = builder.timeout(Duration::from_secs(60)).cleanup_interval(None);
    let store = Arc::new(builder.build().await.unwrap());
    for statement in FILL.split_inclusive(';').filter(|statement| statement.contains("insert")) {
        sqlx::query(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    for table in ["sessions", "sessions_fields"] {
        let vacuum = format!("vacuum analyze {table}");
        sqlx::query(AssertSqlSafe(vacuum)).execute(&pool).await.unwrap();
        let sizes = format!(
            "select pg_size_pretty(pg_table_size('{table}')), \
             pg_size_pretty(pg_indexes_size('{table}'))"
        );
        let row = sqlx::query(AssertSqlSafe(sizes)).fetch_one(&pool).await.unwrap();
        let (data, indexes): (String, String) = (row.get(0), row.get(1));
        println!("{table}: {data}, indexes {indexes}");
    }

    let undisturbed = write_until(&store, tokio::time::sleep(Duration::from_secs(15))).await;
    println!("undisturbed: {undisturbed}");
    let start = Instant::now();
    let cleanup = async {
        let cleaner = PostgresStore::builder(server.pool(1))
            .create_tables(true)
            .timeout(Duration::from_secs(60))
            .cleanup_interval(Duration::from_millis(1));
        // The store cleans up until it is dropped.
        let _cleaner = cleaner.build().await.unwrap();
        while has_expired(&pool).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let during = write_until(&store, cleanup).await;
    println!("during the cleanup of 100000 sessions, {:.1?}: {during}", start.elapsed());
    let delay = during.p99.saturating_sub(undisturbed.p99);
    println!("added to the 99th percentile: {delay:.1?}");
    assert!(
        delay < Duration::from_millis(50),
        "the cleanup should delay writes by less than 50 ms"
    );
}

/// Returns whether the tables still hold an expired session.
async fn has_expired(pool: &PgPool) -> bool {
    let sql = "select exists (select from sessions where cleanup_hour <= \
        floor(date_part('epoch', now()) / 3600)::int and idle_at <= now())";
    sqlx::query(sql).fetch_one(pool).await.unwrap().get(0)
}

/// Latencies of all writes.
struct Latencies {
    count: usize,
    median: Duration,
    p99: Duration,
    max: Duration,
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, median, p99, max } = self;
        write!(f, "{count} writes, median {median:.1?}, p99 {p99:.1?}, maximum {max:.1?}")
    }
}

/// Lets the visitors write until `end` completes.
async fn write_until(store: &Arc<PostgresStore>, end: impl Future<Output = ()>) -> Latencies {
    let stop = Arc::new(AtomicBool::new(false));
    let visitors = (0..VISITORS).map(|_| tokio::spawn(write(Arc::clone(store), Arc::clone(&stop))));
    let visitors: Vec<_> = visitors.collect();
    end.await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for visitor in visitors {
        all.extend(visitor.await.unwrap());
    }
    all.sort_unstable();
    let at = |share: f64| all[(all.len() as f64 * share) as usize];
    Latencies {
        count: all.len(),
        median: at(0.5),
        p99: at(0.99),
        max: *all.last().expect("the visitors should have written"),
    }
}

async fn write<S: Store>(store: Arc<S>, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let session = TestSession::begin(&store).await;
    let mut latencies = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        session.set("cart", "another value").await.unwrap().unwrap();
        latencies.push(start.elapsed());
    }
    latencies
}
