//! Whether an operation costs the same in a large session and among many; and the room a session takes.

use std::time::Instant;

use benches::{Spread, Table};
use ruts_tests::servers::{Postgres, Redis};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinSet;

use crate::{
    client::Visitor,
    report::Report,
    stacks::{self, Backend, Place, Stack},
};

const ROUNDS: usize = 15;
const REQUESTS: usize = 200;
const FIELDS: [usize; 4] = [1, 10, 100, 1_000];
const SESSIONS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Of how many sessions the room is measured.
const SAMPLE: usize = 20_000;

/// Microseconds of a request, one after the other, by different visitors.
async fn micros(visitors: &mut [Visitor], path: &str) -> f64 {
    let begun = Instant::now();
    for number in 0..REQUESTS {
        let index = number % visitors.len();
        visitors[index].text(path).await;
    }
    begun.elapsed().as_secs_f64() * 1e6 / REQUESTS as f64
}

fn ratios(times: &[f64], base: &[f64]) -> Spread {
    times.iter().zip(base).map(|(time, base)| time / base).collect()
}

/// Reads and writes of one small field beside others, taking turns.
async fn by_fields(report: &mut Report, backend: Backend, place: &Place) {
    let stack = stacks::ours(backend, place).await;
    let mut visitors = Vec::new();
    for fields in FIELDS {
        let mut visitor = Visitor::new(&stack.app);
        visitor.text("/thin/write").await;
        for number in 1..fields {
            visitor.text(&format!("/set/{number}")).await;
        }
        visitors.push([visitor]);
    }
    let mut table =
        Table::new([backend.name(), "1 field, µs", "10 fields", "100 fields", "1,000 fields"]);
    for (what, path) in [("read one", "/thin/read"), ("write one", "/thin/write")] {
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            for (visitor, times) in visitors.iter_mut().zip(&mut times) {
                times.push(micros(visitor, path).await);
            }
        }
        let alone: Spread = times[0].iter().copied().collect();
        let ratio = |index: usize| ratios(&times[index], &times[0]).to_string();
        table.push([what.to_owned(), format!("{alone:.0}"), ratio(1), ratio(2), ratio(3)]);
    }
    report.table(&table);
}

/// Begins that many sessions and gives some of their visitors.
async fn begin(stack: &Stack, count: usize) -> Vec<Visitor> {
    let mut tasks = JoinSet::new();
    for worker in 0..64 {
        let app = stack.app.clone();
        let share = count / 64 + usize::from(worker < count % 64);
        tasks.spawn(async move {
            let mut some = Vec::new();
            for number in 0..share {
                let mut visitor = Visitor::new(&app);
                visitor.text("/begin").await;
                if number % (share / 8 + 1) == 0 {
                    some.push(visitor);
                }
            }
            some
        });
    }
    tasks.join_all().await.concat()
}

const FILL: [&str; 2] = [
    "insert into ours.sessions (id, secret, created_at, rotated_at, used_at, epoch, idle_at, absolute_at)
     select decode(md5(i::text), 'hex'), sha256(i::text::bytea), now(), now(), now(), 0,
       now() + i * interval '1 s', now() + interval '30 days'
     from generate_series($1::bigint, $2::bigint) i",
    "insert into ours.sessions_fields (session, name, value, hot)
     select id, name, '\\x0001000102030405060708090a0b0c0d0e0f', 0
     from ours.sessions, unnest(array['a', 'b', 'c', 'd', 'e']) name
     on conflict do nothing",
];

/// Grows PostgreSQL to that many sessions without asking for each.
async fn fill(pool: &PgPool, from: usize, to: usize) {
    let first = sqlx::query(FILL[0]).bind(from as i64).bind(to as i64);
    first.execute(pool).await.expect("the server is there");
    sqlx::query(FILL[1]).execute(pool).await.expect("the server is there");
    for table in ["sessions", "sessions_fields"] {
        let vacuum = format!("vacuum analyze ours.{table}");
        sqlx::query(AssertSqlSafe(vacuum)).execute(pool).await.expect("the server is there");
    }
}

/// Reads and writes among many sessions, as multiples of the floor's, which has one row or key.
async fn by_sessions(report: &mut Report, backend: Backend, place: &Place, pool: &PgPool) {
    let stack = stacks::ours(backend, place).await;
    let floor = stacks::floor(backend, place).await;
    let mut table =
        Table::new([backend.name(), "sessions", "µs", "times the floor", "of that at the fewest"]);
    let mut first: [Option<f64>; 2] = [None; 2];
    let mut there = 0;
    for sessions in SESSIONS {
        let mut visitors = match backend {
            Backend::Postgres => {
                let visitors = begin(&stack, 512).await;
                fill(pool, there + 1, sessions).await;
                visitors
            }
            _ => begin(&stack, sessions - there).await,
        };
        there = sessions;
        let mut bare = [Visitor::new(&floor.app)];
        for (index, (what, path)) in
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
                what.to_owned(),
                sessions.to_string(),
                format!("{time:.0}"),
                ratio.to_string(),
                format!("{:.2}", ratio.median / *first),
            ]);
        }
    }
    report.table(&table);
}

async fn relations(pool: &PgPool) -> i64 {
    let sizes = "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c \
        join pg_namespace n on n.oid = c.relnamespace \
        where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')";
    sqlx::query_scalar(sizes).fetch_one(pool).await.expect("the server is there")
}

fn used_memory(redis: &Redis) -> i64 {
    let info: String = redis.command(&["INFO", "memory"]);
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).expect("the server says it")
}

async fn room(report: &mut Report, redis: &Redis, place: &Place, pool: &PgPool) {
    report.say(format!(
        "Bytes a session of five fields of 16 bytes, of {SAMPLE} begun one after the other; PostgreSQL with indexes.\n"
    ));
    let mut table = Table::new(["stack", "Redis", "PostgreSQL"]);
    let mut bytes: Vec<[String; 3]> = Vec::new();
    for backend in [Backend::Redis, Backend::Postgres] {
        for (index, stack) in stacks::all(backend, place).await.iter().enumerate() {
            begin(stack, 64).await;
            let (memory, disk) = (used_memory(redis), relations(pool).await);
            begin(stack, SAMPLE).await;
            let grown = match backend {
                Backend::Redis => used_memory(redis) - memory,
                _ => relations(pool).await - disk,
            };
            let each = (grown / SAMPLE as i64).to_string();
            if backend == Backend::Redis {
                bytes.push([stack.name.to_owned(), each, String::new()]);
            } else {
                bytes[index][2] = each;
            }
        }
    }
    bytes.into_iter().for_each(|row| table.push(row));
    report.table(&table);
}

pub(crate) async fn print(report: &mut Report, redis: &Redis, postgres: &Postgres, place: &Place) {
    report.heading("Growth");
    let pool = PgPool::connect(postgres.url()).await.expect("the server is there");
    room(report, redis, place, &pool).await;
    report.say(
        "One request of ruts after the other. By fields of the session, as multiples of the time with one; by \
         sessions, as multiples of the floor, which does not grow.\n",
    );
    for backend in [Backend::Redis, Backend::Postgres] {
        by_fields(report, backend, place).await;
    }
    for backend in [Backend::Redis, Backend::Postgres] {
        by_sessions(report, backend, place, &pool).await;
    }
}
