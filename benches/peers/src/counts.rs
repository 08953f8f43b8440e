//! Round trips and bytes, counted by proxies before the servers; commands, by the server.

use std::time::Duration;

use benches::Table;
use ruts_tests::{
    Proxy,
    servers::{Postgres, Redis},
};

use crate::{
    report::Report,
    stacks::{self, Backend, Place},
    workloads,
};

const TIMES: usize = 10;

/// A `Sync` alone, by which a pool tests a connection while nobody waits for it.
const SYNC: usize = 5;

/// Commands so far, with those that scripts call, and without those of the measuring.
fn commands(server: &Redis) -> u64 {
    let stats: String = server.command(&["INFO", "commandstats"]);
    let counted = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let ours = ["info", "client|setinfo", "client|setname", "hello", "ping", "select"];
        (!ours.contains(&name)).then(|| rest.split(',').next()?.parse::<u64>().ok())?
    });
    counted.sum()
}

struct Counted {
    trips: usize,
    sent: usize,
    answered: usize,
}

fn counted(proxy: &Proxy) -> Counted {
    let requests = proxy.take_requests();
    let requests = requests.iter().filter(|size| **size > SYNC);
    let trips = requests.clone().count();
    Counted { trips, sent: requests.sum(), answered: proxy.take_answered() }
}

fn per(count: usize) -> String {
    match count % TIMES {
        0 => (count / TIMES).to_string(),
        _ => format!("{:.1}", count as f64 / TIMES as f64),
    }
}

pub(crate) async fn print(report: &mut Report, redis: &Redis, postgres: &Postgres) {
    report.heading("On the wire");
    report.say(
        "Round trips and bytes are counted between the stack and its servers, commands by Redis, with those \
         that a script calls; all exact, a tenth of ten requests one after the other. A write \
         is always of something new. ruts asks for the secret's hash, the deadlines, the epoch and the end of \
         each field each time; tower-sessions and axum_session read and write the whole session.\n",
    );
    for backend in [Backend::Redis, Backend::Postgres, Backend::Layered] {
        let (hot, cold) =
            (Proxy::before(&redis.address()).await, Proxy::before(&postgres.address()).await);
        let place = Place {
            redis: format!("redis://{}", hot.address()),
            postgres: postgres.url().replace(&postgres.address(), cold.address()),
            connections: 1,
        };
        let stacks = stacks::all(backend, &place).await;
        let mut table =
            Table::new([backend.name(), "stack", "round trips", "commands", "bytes out and in"]);
        for workload in &workloads::ALL {
            for stack in &stacks {
                // Once, so that scripts and statements are known.
                workload.visitor(stack).await.text(workload.path).await;
                let mut visitors = Vec::new();
                for _ in 0..TIMES {
                    visitors.push(workload.visitor(stack).await);
                }
                settle().await;
                (counted(&hot), counted(&cold));
                let from = commands(redis);
                for visitor in &mut visitors {
                    visitor.text(workload.path).await;
                    settle().await;
                }
                let commands = (commands(redis) - from) as usize;
                let (hot, cold) = (counted(&hot), counted(&cold));
                let both = |of: fn(&Counted) -> usize| match backend {
                    Backend::Layered => format!("{} + {}", per(of(&hot)), per(of(&cold))),
                    _ => per(of(&hot) + of(&cold)),
                };
                table.push([
                    workload.name.to_owned(),
                    stack.name.to_owned(),
                    both(|counted| counted.trips),
                    if backend == Backend::Postgres { "-".to_owned() } else { per(commands) },
                    both(|counted| counted.sent + counted.answered),
                ]);
            }
        }
        report.table(&table);
    }
}

/// Until nothing is under way: caches are filled, and connections returned, off the response path.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(15)).await;
}
