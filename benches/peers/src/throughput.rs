//! Requests a second as a share of what the bare driver does, taking turns.

use std::time::Instant;

use benches::{Spread, Table};
use tokio::task::JoinSet;

use crate::{
    chart::Bar,
    report::Report,
    stacks::{self, Backend, Place, Stack},
    workloads::{self, Workload},
};

const ROUNDS: usize = 5;

async fn per_second(workload: &Workload, stack: &Stack, in_flight: usize, requests: usize) -> f64 {
    let mut visitors = Vec::new();
    for _ in 0..in_flight {
        visitors.push(workload.visitor(stack).await);
    }
    let begun = Instant::now();
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
    requests as f64 / begun.elapsed().as_secs_f64()
}

/// Who signs in does so once; and where no server is asked, which it is makes no difference.
fn workloads(backend: Backend) -> impl Iterator<Item = &'static Workload> {
    workloads::ALL.iter().filter(move |workload| {
        let is_anonymous = workload.path == workloads::ANONYMOUS.path;
        let has_servers = matches!(backend, Backend::Postgres | Backend::Layered);
        !(workload.path == "/login" || is_anonymous && has_servers)
    })
}

fn requests(backend: Backend, in_flight: usize) -> usize {
    let many = match backend {
        Backend::Memory => 128_000,
        Backend::Redis => 19_200,
        Backend::Postgres => 6_400,
        Backend::Layered => 1_280,
    };
    if in_flight == 1 { many / 8 } else { many }
}

pub(crate) async fn print(report: &mut Report, place: &Place, backends: &[Backend]) -> Vec<Bar> {
    report.heading("Throughput");
    report.say(format!(
        "Requests a second as a share of the floor's: median, and quartiles, of {ROUNDS} rounds in which the \
         floor and all stacks take turns. The floor is a router without sessions in which the bare driver does \
         one `HMGET` or `HSET`, one prepared `SELECT` or upsert; over memory, nothing. For what it has no like \
         of, the share is that of the first stack's requests a second. {} connections to each server.\n",
        place.connections
    ));
    let mut bars = Vec::new();
    for &backend in backends {
        let floor = stacks::floor(backend, place).await;
        let stacks = stacks::all(backend, place).await;
        let mut table =
            Table::new([backend.name(), "in flight", "requests a second", "stack", "share"]);
        for workload in workloads(backend).filter(|workload| workload.is_of_interest(backend)) {
            for in_flight in [64, 1] {
                let requests = requests(backend, in_flight);
                let base = if workload.has_floor { &floor } else { &stacks[0] };
                let mut shares: Vec<Vec<f64>> = stacks.iter().map(|_| Vec::new()).collect();
                let mut bare = Vec::new();
                for _ in 0..ROUNDS {
                    let of_floor = per_second(workload, base, in_flight, requests).await;
                    bare.push(of_floor);
                    for (stack, shares) in stacks.iter().zip(&mut shares) {
                        let own = per_second(workload, stack, in_flight, requests).await;
                        shares.push(own / of_floor);
                    }
                }
                let bare: Spread = bare.into_iter().collect();
                for (stack, shares) in stacks.iter().zip(shares) {
                    let share: Spread = shares.into_iter().collect();
                    if in_flight > 1 && workload.has_floor {
                        bars.push(Bar {
                            backend: backend.name(),
                            workload: workload.name,
                            stack: stack.name,
                            share: share.median,
                        });
                    }
                    table.push([
                        workload.name.to_owned(),
                        in_flight.to_string(),
                        format!("{:.0}", bare.median),
                        stack.name.to_owned(),
                        share.to_string(),
                    ]);
                }
            }
        }
        report.table(&table);
    }
    bars
}
