//! Compares ruts with its peers in one run.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! | argument | effect |
//! | --- | --- |
//! | `wire` | counts only round trips, commands and bytes |
//! | `races` | counts only lost writes and revived sessions |
//! | `allocations`, `instructions` | counts only these, for one request |
//! | `growth` | measures only time by fields and by sessions, and bytes per session |
//! | `throughput` | measures only throughput, as a share of the bare driver's |
//! | `latency` | measures only delays, with one request in flight and at fixed rates |
//! | `remote` | measures only delays, with one request in flight and a network delay |
//! | `memory`, `redis`, `redis-rs`, `postgres`, `layered` | measures only throughput and delays over this backend; no delays are measured over memory |
//! | `--write` | also writes each page and the charts into `benches/peers/report` |

mod allocations;
mod chart;
mod delay;
mod growth;
mod latency;
mod load;
mod processor;
mod races;
mod report;
mod stacks;
mod throughput;
mod visitor;
mod wire;
mod workloads;

use std::{env, fs, path::Path, thread};

use report::Report;
use ruts_tests_stores::servers::{Flavour, Postgres, Redis};
use stacks::{Backend, Servers};
use tokio::runtime::Runtime;

const PARTS: [&str; 8] =
    ["wire", "races", "allocations", "instructions", "growth", "throughput", "latency", "remote"];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["child", app, workload, requests, redis, postgres] = words[..] {
        let number = |text: &str| text.parse().expect("the argument should be a number");
        let (redis, postgres) = (redis.to_owned(), postgres.to_owned());
        let servers = Servers { redis, postgres, connections: 1 };
        let requests = number(requests) as u64;
        return allocations::child(number(app), number(workload), requests, &servers);
    }
    let writes = words.contains(&"--write");
    let named: Vec<Backend> =
        Backend::ALL.into_iter().filter(|backend| words.contains(&backend.argument())).collect();
    let backends = if named.is_empty() { &Backend::ALL[..] } else { &named };
    let parts: Vec<&str> = words.into_iter().filter(|word| PARTS.contains(word)).collect();

    let redis = Redis::start(Flavour::Redis, &[]);
    let postgres = Postgres::start(&[]);
    let servers = Servers {
        redis: redis.url().to_owned(),
        postgres: postgres.url().to_owned(),
        connections: 8,
    };
    let runtime = Runtime::new().expect("the runtime should start");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("report");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let environment = format!(
        "Servers and app share {cores} cores of a shared machine. {} and {}.\n",
        redis_version(&redis),
        postgres_version(&runtime, &postgres),
    );
    for part in PARTS.into_iter().filter(|part| parts.is_empty() || parts.contains(part)) {
        let mut report = Report::default();
        match part {
            "wire" => runtime.block_on(wire::print(&mut report, &redis, &postgres)),
            "races" => runtime.block_on(races::print(&mut report, &redis, &postgres, &servers)),
            "allocations" => allocations::print(&mut report, &servers),
            "instructions" => allocations::print_instructions(&mut report, &servers),
            "growth" => runtime.block_on(growth::print(&mut report, &redis, &postgres, &servers)),
            "throughput" => {
                let bars = runtime.block_on(throughput::print(&mut report, &servers, backends));
                if writes {
                    let title = "Requests per second with 64 in flight, as a share of the floor's";
                    write(&folder.join("throughput.svg"), &chart::draw(title, &bars));
                    report.text(format!("![{title}](throughput.svg)\n"));
                }
            }
            "remote" => runtime.block_on(latency::print_remote(
                &mut report,
                &redis,
                &postgres,
                &servers,
                backends,
            )),
            _ => {
                let bars = runtime.block_on(latency::print(&mut report, &servers, backends));
                if writes {
                    let title = "Median delay with one in flight, as a multiple of the floor's";
                    write(&folder.join("latency.svg"), &chart::draw(title, &bars));
                    report.text(format!("![{title}](latency.svg)\n"));
                }
            }
        }
        report.text(&environment);
        if writes {
            write(&folder.join(part).with_extension("md"), report.0.trim_start());
        }
    }
}

/// Writes a file and its folder.
fn write(path: &Path, text: &str) {
    let written =
        fs::create_dir_all(path.parent().unwrap_or(path)).and_then(|()| fs::write(path, text));
    written.expect("the folder should be writable");
}

fn redis_version(server: &Redis) -> String {
    let info: String = server.command(&["INFO", "server"]);
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    format!("Redis {}", version.unwrap_or("of unknown version").trim())
}

fn postgres_version(runtime: &Runtime, server: &Postgres) -> String {
    let version = runtime.block_on(async {
        let pool = sqlx::PgPool::connect(server.url()).await?;
        sqlx::query_scalar::<_, String>("show server_version").fetch_one(&pool).await
    });
    format!("PostgreSQL {}", version.unwrap_or_default().split(' ').next().unwrap_or_default())
}
