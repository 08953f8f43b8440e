//! What a session costs, here and with its peers: round trips, commands and bytes, exact; what becomes of
//! requests that race; allocations and instructions, exact; and throughput as a share of what the bare
//! driver does. All in one run, taking turns.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! prints it all; with `--write`, into `benches/peers/report` too, a page for each part and a chart. Any of `wire`,
//! `races`, `allocations`, `instructions`, `growth`, `throughput` does that part only, and any of `memory`, `redis`,
//! `postgres`, `layered` measures throughput over that backend only.

mod allocations;
mod chart;
mod client;
mod counts;
mod growth;
mod races;
mod report;
mod stacks;
mod throughput;
mod workloads;

use std::{env, fs, path::Path, thread};

use report::Report;
use ruts_tests::servers::{Flavour, Postgres, Redis};
use stacks::{Backend, Place};
use tokio::runtime::Runtime;

const PARTS: [&str; 6] = ["wire", "races", "allocations", "instructions", "growth", "throughput"];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["child", stack, workload, times, redis, postgres] = words[..] {
        let number = |text: &str| text.parse().expect("a number");
        let (redis, postgres) = (redis.to_owned(), postgres.to_owned());
        let place = Place { redis, postgres, connections: 1 };
        return allocations::child(number(stack), number(workload), number(times) as u64, &place);
    }
    let writes = words.contains(&"--write");
    let named: Vec<Backend> =
        Backend::ALL.into_iter().filter(|backend| words.contains(&backend.word())).collect();
    let backends = if named.is_empty() { &Backend::ALL[..] } else { &named };
    let parts: Vec<&str> = words.into_iter().filter(|word| PARTS.contains(word)).collect();

    let redis = Redis::start(Flavour::Redis, &[]);
    let postgres = Postgres::start(&[]);
    let place = Place {
        redis: redis.url().to_owned(),
        postgres: postgres.url().to_owned(),
        connections: 8,
    };
    let many = Runtime::new().expect("a runtime");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("report");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let ran_on = format!(
        "With the servers on the same {cores} cores of a shared machine; {} and {}.\n",
        redis_version(&redis),
        postgres_version(&many, &postgres),
    );
    for part in PARTS.into_iter().filter(|part| parts.is_empty() || parts.contains(part)) {
        let mut report = Report::default();
        match part {
            "wire" => many.block_on(counts::print(&mut report, &redis, &postgres)),
            "races" => many.block_on(races::print(&mut report, &redis, &postgres, &place)),
            "allocations" => allocations::print(&mut report, &place),
            "instructions" => allocations::print_instructions(&mut report, &place),
            "growth" => many.block_on(growth::print(&mut report, &redis, &postgres, &place)),
            _ => {
                let bars = many.block_on(throughput::print(&mut report, &place, backends));
                if writes {
                    write(&folder.join("throughput.svg"), &chart::draw(&bars));
                    report.say("![Throughput with 64 in flight](throughput.svg)\n");
                }
            }
        }
        report.say(&ran_on);
        if writes {
            write(&folder.join(part).with_extension("md"), report.0.trim_start());
        }
    }
}

fn write(path: &Path, text: &str) {
    let written =
        fs::create_dir_all(path.parent().unwrap_or(path)).and_then(|()| fs::write(path, text));
    written.expect("a place to write to");
}

fn redis_version(server: &Redis) -> String {
    let info: String = server.command(&["INFO", "server"]);
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    format!("Redis {}", version.unwrap_or("of no version").trim())
}

fn postgres_version(runtime: &Runtime, server: &Postgres) -> String {
    let version = runtime.block_on(async {
        let pool = sqlx::PgPool::connect(server.url()).await?;
        sqlx::query_scalar::<_, String>("show server_version").fetch_one(&pool).await
    });
    format!("PostgreSQL {}", version.unwrap_or_default().split(' ').next().unwrap_or_default())
}
