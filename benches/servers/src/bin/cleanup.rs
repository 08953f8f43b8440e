//! How much the removal of expired sessions delays everybody else.
//!
//! A million sessions of five fields in PostgreSQL, a hundred thousand of them expired. Eight visitors
//! write one field after the other, first undisturbed, then while the store cleans up. Fails if the
//! cleanup delays the slowest hundredth of the writes by more than 50 ms.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark that fails panics")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ruts::store::{
    Store,
    postgres::{PostgresStore, PostgresStoreBuilder},
};
use ruts_tests::{Visitor, servers::Postgres};
use sqlx::{AssertSqlSafe, PgPool, Row};

const VISITORS: usize = 8;

const FILL: &str = "
    insert into sessions (id, secret, created_at, rotated_at, used_at, epoch, idle_at, absolute_at)
    select decode(md5(i::text), 'hex'), sha256(i::text::bytea), now(), now(), now(), 0,
      now() + case when i % 10 = 0 then interval '-2 hours' else i * interval '1 s' end,
      now() + interval '30 days'
    from generate_series(1, 1000000) i;
    insert into sessions_fields (session, name, value, hot)
    select id, name, '\\x0001000102030405060708090a', 0
    from sessions, unnest(array['user', 'cart', 'flash', 'visits', 'theme']) name;
";

#[tokio::main]
async fn main() {
    let server = Postgres::start(&["shared_buffers=512MB", "max_wal_size=8GB"]);
    let pool = server.pool(VISITORS as u32);
    let builder = || PostgresStoreBuilder::new(pool.clone(), true).timeout(Duration::from_secs(60));
    let store = Arc::new(builder().cleanup_interval(None).build().await.unwrap());
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
        println!("{table}: {data}, its indexes {indexes}");
    }

    let alone = write_until(&store, tokio::time::sleep(Duration::from_secs(15))).await;
    println!("undisturbed: {alone}");
    let begun = Instant::now();
    let cleaned = async {
        let other = PostgresStoreBuilder::new(server.pool(1), true)
            .timeout(Duration::from_secs(60))
            .cleanup_interval(Duration::from_millis(1));
        let _cleaner = other.build().await.unwrap();
        while expired(&pool).await > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let disturbed = write_until(&store, cleaned).await;
    println!("while 100000 sessions are removed, in {:.1?}: {disturbed}", begun.elapsed());
    let delay = disturbed.p99.saturating_sub(alone.p99);
    println!("the slowest hundredth is delayed by {delay:.1?}");
    assert!(delay < Duration::from_millis(50), "cleanup is in the way");
}

async fn expired(pool: &PgPool) -> i64 {
    let sql = "select count(*) from (select from sessions where gc <= 
        floor(date_part('epoch', now()) / 3600)::int and idle_at <= now() limit 1) one";
    sqlx::query(sql).fetch_one(pool).await.unwrap().get(0)
}

struct Latencies {
    count: usize,
    median: Duration,
    p99: Duration,
    longest: Duration,
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, median, p99, longest } = self;
        write!(f, "{count} writes, median {median:.1?}, p99 {p99:.1?}, longest {longest:.1?}")
    }
}

/// The visitors write until `end` is over.
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
        longest: *all.last().expect("somebody wrote"),
    }
}

async fn write<S: Store>(store: Arc<S>, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let visitor = Visitor::begin(&store).await;
    let mut latencies = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        visitor.set("cart", "another value").await.unwrap();
        latencies.push(begun.elapsed());
    }
    latencies
}
