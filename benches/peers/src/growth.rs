//! Measures the cost of an operation by number of fields and by number of sessions, and the size of
//! a session. Called by `main`.

use std::time::Instant;

use benches::{Spread, Table};
use ruts_tests_stores::servers::{Postgres, Redis};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinSet;

use crate::{
    report::Report,
    stacks::{self, App, Backend, Servers},
    visitor::Visitor,
};

const ROUNDS: usize = 15;
const REQUESTS: usize = 200;
const FIELDS: [usize; 4] = [1, 10, 100, 1_000];
const SESSIONS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Number of sessions for the average size.
const SAMPLE: usize = 20_000;

/// Returns the microseconds of a request. The visitors take turns, one request after the other.
async fn micros(visitors: &mut [Visitor], path: &str) -> f64 {
    let start = Instant::now();
    for number in 0..REQUESTS {
        let index = number % visitors.len();
        visitors[index].text(path).await;
    }
    start.elapsed().as_secs_f64() * 1e6 / REQUESTS as f64
}

fn ratios(times: &[f64], base: &[f64]) -> Spread {
    times.iter().zip(base).map(|(time, base)| time / base).collect()
}

/// Measures reads and writes of one small field next to others. The sizes take turns.
async fn by_fields(report: &mut Report, backend: Backend, servers: &Servers) {
    let app = stacks::ours(backend, servers).await;
    let mut visitors = Vec::new();
    for fields in FIELDS {
        let mut visitor = Visitor::new(&app.router);
        visitor.text("/tiny/write").await;
        for number in 1..fields {
            visitor.text(&format!("/set/{number}")).await;
        }
        visitors.push([visitor]);
    }
    let mut table =
        Table::new([backend.name(), "1 field, µs", "10 fields", "100 fields", "1,000 fields"]);
    for (operation, path) in [("read one", "/tiny/read"), ("write one", "/tiny/write")] {
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            for (visitor, times) in visitors.iter_mut().zip(&mut times) {
                times.push(micros(visitor, path).await);
            }
        }
        let base: Spread = times[0].iter().copied().collect();
        let ratio = |index: usize| ratios(&times[index], &times[0]).to_string();
        table.push([operation.to_owned(), format!("{base:.0}"), ratio(1), ratio(2), ratio(3)]);
    }
    report.table(&table);
}

/// Begins sessions and returns the visitors of some of them.
async fn begin(app: &App, count: usize) -> Vec<Visitor> {
    let mut tasks = JoinSet::new();
    for worker in 0..64 {
        let router = app.router.clone();
        let share = count / 64 + usize::from(worker < count % 64);
        tasks.spawn(async move {
            let mut visitors = Vec::new();
            for number in 0..share {
                let mut visitor = Visitor::new(&router);
                visitor.text("/begin").await;
                if number % (share / 8 + 1) == 0 {
                    visitors.push(visitor);
                }
            }
            visitors
        });
    }
    tasks.join_all().await.concat()
}

const FILL: [&str; 2] = [
    "insert into ours.sessions (
       session_id, secret, created_at, rotated_at, used_at, epoch, idle_at, absolute_at
     )
     select decode(md5(i::text), 'hex'), sha256(i::text::bytea), now(), now(), now(), 0,
       now() + i * interval '1 s', now() + interval '30 days'
     from generate_series($1::bigint, $2::bigint) i",
    "insert into ours.sessions_fields (session, name, value, cache_policy)
     select id, name, '\\x0001000102030405060708090a0b0c0d0e0f', 0
     from ours.sessions, unnest(array['a', 'b', 'c', 'd', 'e']) name
     on conflict do nothing",
];

/// Inserts the sessions `from` to `to` into PostgreSQL directly, without requests.
async fn fill(pool: &PgPool, from: usize, to: usize) {
    let first = sqlx::query(FILL[0]).bind(from as i64).bind(to as i64);
    first.execute(pool).await.expect("PostgreSQL should be up");
    sqlx::query(FILL[1]).execute(pool).await.expect("PostgreSQL should be up");
    for table in ["sessions", "sessions_fields"] {
        let vacuum = format!("vacuum analyze ours.{table}");
        sqlx::query(AssertSqlSafe(vacuum)).execute(pool).await.expect("PostgreSQL should be up");
    }
}

/// Measures reads and writes among many sessions, as multiples of the floor, which has one row or
/// key.
async fn by_sessions(report: &mut Report, backend: Backend, servers: &Servers, pool: &PgPool) {
    let app = stacks::ours(backend, servers).await;
    let floor = stacks::floor(backend, servers).await;
    let mut table =
        Table::new([backend.name(), "sessions", "µs", "times the floor", "of that at 1,000"]);
    let mut first: [Option<f64>; 2] = [None; 2];
    let mut begun = 0;
    for sessions in SESSIONS {
        let mut visitors = match backend {
            Backend::Postgres => {
                let visitors = begin(&app, 512).await;
                fill(pool, begun + 1, sessions).await;
                visitors
            }
            _ => begin(&app, sessions - begun).await,
        };
        begun = sessions;
        let mut bare = [Visitor::new(&floor.router)];
        for (index, (operation, path)) in
            [("read one", "/read1"), ("write one", "/write1")].into_iter().enumerate()
        {
            let (mut times, mut floors) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                floors.push(micros(&mut bare, path).await);
                times.push(micros(&mut visitors, path).await);
            }
            let time: Spread = times.iter().copied().collect();
            let ratio = ratios(&times, &floors);
            let first = first[index].get_or_insert(ratio.median);
            table.push([
                operation.to_owned(),
                sessions.to_string(),
                format!("{time:.0}"),
                ratio.to_string(),
                format!("{:.2}", ratio.median / *first),
            ]);
        }
    }
    report.table(&table);
}

/// Returns the bytes of all tables with their indexes.
async fn table_bytes(pool: &PgPool) -> i64 {
    let sizes = "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c \
        join pg_namespace n on n.oid = c.relnamespace \
        where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')";
    sqlx::query_scalar(sizes).fetch_one(pool).await.expect("PostgreSQL should be up")
}

fn used_memory(redis: &Redis) -> i64 {
    let info: String = redis.command(&["INFO", "memory"]);
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).expect("INFO should have used_memory")
}

/// Measures the bytes of a session.
async fn size(report: &mut Report, redis: &Redis, servers: &Servers, pool: &PgPool) {
    report.text(format!(
        "Bytes of a session with five fields of 16 bytes, the average of {SAMPLE}. PostgreSQL with \
         indexes.\n"
    ));
    let mut table = Table::new(["stack", "Redis", "PostgreSQL"]);
    let mut bytes: Vec<[String; 3]> = Vec::new();
    for backend in [Backend::Redis, Backend::Postgres] {
        for (index, app) in stacks::all(backend, servers).await.iter().enumerate() {
            begin(app, 64).await;
            let (memory, disk) = (used_memory(redis), table_bytes(pool).await);
            begin(app, SAMPLE).await;
            let growth = match backend {
                Backend::Redis => used_memory(redis) - memory,
                _ => table_bytes(pool).await - disk,
            };
            let each = (growth / SAMPLE as i64).to_string();
            if backend == Backend::Redis {
                bytes.push([app.stack.to_owned(), each, String::new()]);
            } else {
                bytes[index][2] = each;
            }
        }
    }
    bytes.into_iter().for_each(|row| table.push(row));
    report.table(&table);
}

/// Prints sizes, then times.
pub(crate) async fn print(
    report: &mut Report,
    redis: &Redis,
    postgres: &Postgres,
    servers: &Servers,
) {
    report.heading("Growth");
    let pool = PgPool::connect(postgres.url()).await.expect("PostgreSQL should be up");
    size(report, redis, servers, &pool).await;
    report.text(
        "Time of a request to ruts, with one in flight. By fields of the session: multiples of the \
         time with one field. By sessions: multiples of the floor, which does not grow.\n",
    );
    for backend in [Backend::Redis, Backend::Postgres] {
        by_fields(report, backend, servers).await;
    }
    for backend in [Backend::Redis, Backend::Postgres] {
        by_sessions(report, backend, servers, &pool).await;
    }
}
