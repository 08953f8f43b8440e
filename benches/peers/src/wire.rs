//! Counts round trips and bytes with proxies in front of the servers. Redis counts the commands.
//! Called by `main`.

use std::time::Duration;

use benches::Table;
use ruts_tests_stores::{
    Proxy,
    servers::{Postgres, Redis},
};

use crate::{
    report::Report,
    stacks::{self, Backend, Servers},
    workloads,
};

/// Number of counted requests.
const REQUESTS: usize = 10;

/// Size of a message that is only a `Sync`. A pool tests idle connections with it.
const SYNC_SIZE: usize = 5;

/// Returns the number of commands so far. Commands of scripts count, but commands of this
/// measurement do not.
fn commands(server: &Redis) -> u64 {
    let stats: String = server.command(&["INFO", "commandstats"]);
    let counted = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let excluded = ["info", "client|setinfo", "client|setname", "hello", "ping", "select"];
        (!excluded.contains(&name)).then(|| rest.split(',').next()?.parse::<u64>().ok())?
    });
    counted.sum()
}

/// Traffic through a proxy.
struct Traffic {
    trips: usize,
    sent: usize,
    answered: usize,
}

/// Returns the traffic since the last call.
fn take_traffic(proxy: &Proxy) -> Traffic {
    let requests = proxy.take_requests();
    let requests = requests.iter().filter(|size| **size > SYNC_SIZE);
    let trips = requests.clone().count();
    Traffic { trips, sent: requests.sum(), answered: proxy.take_answered_bytes() }
}

/// Returns the average of one request.
fn average(count: usize) -> String {
    match count % REQUESTS {
        0 => (count / REQUESTS).to_string(),
        _ => format!("{:.1}", count as f64 / REQUESTS as f64),
    }
}

pub(crate) async fn print(report: &mut Report, redis: &Redis, postgres: &Postgres) {
    report.heading("On the wire");
    report.text(
        "Proxies count round trips and bytes between the stack and its servers. Redis counts \
         commands, including those of scripts. Figures are exact averages of ten requests, one \
         after the other. Every write changes the value. ruts asks for the secret's hash, the \
         deadlines, the epoch and the expiry of each field each time. tower-sessions and \
         axum_session read and write the whole session.\n",
    );
    for backend in [Backend::Redis, Backend::Postgres, Backend::Layered] {
        let (redis_proxy, postgres_proxy) =
            (Proxy::before(&redis.address()).await, Proxy::before(&postgres.address()).await);
        let servers = Servers {
            redis: format!("redis://{}", redis_proxy.address()),
            postgres: postgres.url().replace(&postgres.address(), postgres_proxy.address()),
            connections: 1,
        };
        let apps = stacks::all(backend, &servers).await;
        let mut table =
            Table::new([backend.name(), "stack", "round trips", "commands", "bytes out and in"]);
        for workload in &workloads::ALL {
            for app in &apps {
                // A first request loads scripts and prepares statements.
                workload.visitor(app).await.text(workload.path).await;
                let mut visitors = Vec::new();
                for _ in 0..REQUESTS {
                    visitors.push(workload.visitor(app).await);
                }
                settle().await;
                (take_traffic(&redis_proxy), take_traffic(&postgres_proxy));
                let before = commands(redis);
                for visitor in &mut visitors {
                    visitor.text(workload.path).await;
                    settle().await;
                }
                let commands = (commands(redis) - before) as usize;
                let to_redis = take_traffic(&redis_proxy);
                let to_postgres = take_traffic(&postgres_proxy);
                let both = |figure: fn(&Traffic) -> usize| match backend {
                    Backend::Layered => {
                        format!(
                            "{} + {}",
                            average(figure(&to_redis)),
                            average(figure(&to_postgres))
                        )
                    }
                    _ => average(figure(&to_redis) + figure(&to_postgres)),
                };
                table.push([
                    workload.name.to_owned(),
                    app.stack.to_owned(),
                    both(|traffic| traffic.trips),
                    if backend == Backend::Postgres { "-".to_owned() } else { average(commands) },
                    both(|traffic| traffic.sent + traffic.answered),
                ]);
            }
        }
        report.table(&table);
    }
}

/// Waits until no command is in flight. Stacks fill caches and return connections after the
/// response.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(15)).await;
}
