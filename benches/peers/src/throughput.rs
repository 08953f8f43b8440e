//! Measures requests per second, as a share of the floor's. The stacks take turns. Called by
//! `main`.

use std::time::Instant;

use benches::{Spread, Table};
use tokio::task::JoinSet;

use crate::{
    chart::Bar,
    report::Report,
    stacks::{self, App, Backend, Servers},
    workloads::{self, Workload},
};

const ROUNDS: usize = 5;

/// Returns the requests per second.
async fn per_second(workload: &Workload, app: &App, in_flight: usize, requests: usize) -> f64 {
    let mut visitors = Vec::new();
    for _ in 0..in_flight {
        visitors.push(workload.visitor(app).await);
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for mut visitor in visitors {
        let path = workload.path;
        tasks.spawn(async move {
            for _ in 0..requests / in_flight {
                visitor.text(path).await;
            }
        });
    }
    tasks.join_all().await;
    requests as f64 / start.elapsed().as_secs_f64()
}

/// Returns the workloads of a backend.
///
/// A sign-in cannot be repeated. An anonymous request sends nothing to a server, so it is measured
/// with only two backends.
fn workloads(backend: Backend) -> impl Iterator<Item = &'static Workload> {
    workloads::ALL.iter().filter(move |workload| {
        let is_anonymous = workload.path == workloads::ANONYMOUS.path;
        let is_redundant = !matches!(backend, Backend::Memory | Backend::Redis);
        !(workload.path == "/login" || is_anonymous && is_redundant)
    })
}

/// Returns the number of requests of a round.
fn requests(backend: Backend, in_flight: usize) -> usize {
    let requests = match backend {
        Backend::Memory => 128_000,
        Backend::Redis | Backend::RedisRs => 19_200,
        Backend::Postgres => 6_400,
        Backend::Layered => 1_280,
    };
    if in_flight == 1 { requests / 8 } else { requests }
}

/// Prints the shares and returns the bars of the chart.
pub(crate) async fn print(
    report: &mut Report,
    servers: &Servers,
    backends: &[Backend],
) -> Vec<Bar> {
    report.heading("Throughput");
    report.text(format!(
        "Requests per second as a share of the floor's: median and quartiles of {ROUNDS} rounds, \
         in which the floor and all stacks take turns. The floor is a router without sessions. It \
         calls the bare driver: one `HMGET` or `HSET`, one prepared `SELECT` or upsert, and \
         nothing over memory. A workload that the floor does not have is compared with the first \
         stack. {} connections to each server.\n",
        servers.connections
    ));
    let mut bars = Vec::new();
    for &backend in backends {
        let floor = stacks::floor(backend, servers).await;
        let apps = stacks::all(backend, servers).await;
        let mut table =
            Table::new([backend.name(), "in flight", "requests per second", "stack", "share"]);
        for workload in workloads(backend).filter(|workload| workload.applies_to(backend)) {
            for in_flight in [64, 1] {
                let requests = requests(backend, in_flight);
                let base = if workload.has_floor { &floor } else { &apps[0] };
                let mut shares: Vec<Vec<f64>> = apps.iter().map(|_| Vec::new()).collect();
                let mut base_rates = Vec::new();
                for _ in 0..ROUNDS {
                    let base_rate = per_second(workload, base, in_flight, requests).await;
                    base_rates.push(base_rate);
                    for (app, shares) in apps.iter().zip(&mut shares) {
                        let rate = per_second(workload, app, in_flight, requests).await;
                        shares.push(rate / base_rate);
                    }
                }
                let base_rate: Spread = base_rates.into_iter().collect();
                for (app, shares) in apps.iter().zip(shares) {
                    let share: Spread = shares.into_iter().collect();
                    if in_flight > 1 && workload.has_floor {
                        bars.push(Bar {
                            backend: backend.name(),
                            workload: workload.name,
                            stack: app.stack,
                            share: share.median,
                        });
                    }
                    table.push([
                        workload.name.to_owned(),
                        in_flight.to_string(),
                        format!("{:.0}", base_rate.median),
                        app.stack.to_owned(),
                        share.to_string(),
                    ]);
                }
            }
        }
        report.table(&table);
    }
    bars
}
