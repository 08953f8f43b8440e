//! Measures delays of requests, with one in flight and at fixed rates of arrivals. The stacks take
//! turns. Called by `main`.

use std::time::Duration;

use benches::{Spread, Table};
use ruts_tests_stores::servers::{Postgres, Redis};

use crate::{
    chart::Bar,
    delay::DelayingProxy,
    load::{Load, SESSIONS, Sample, at_rate, one_in_flight, throughput},
    report::Report,
    stacks::{self, App, Backend, Servers},
    workloads::{READ_1, READ_5, WRITE_5, Workload},
};

const ROUNDS: usize = 5;

/// Delay in each direction between the app and a remote server.
const ONE_WAY: Duration = Duration::from_micros(500);

const WORKLOADS: [&Workload; 3] = [&READ_1, &READ_5, &WRITE_5];

/// The rounds of a stack under one load.
#[derive(Default)]
struct Rounds {
    delays: [Vec<f64>; 3],
    /// The median and the 99th percentile, as multiples of the floor's in the same round.
    multiples: [Vec<f64>; 2],
    app_time: Vec<f64>,
    server_time: Vec<f64>,
    failed: Vec<f64>,
}

impl Rounds {
    fn push(&mut self, sample: &Sample, floor: &Sample) {
        for (delays, per_mille) in self.delays.iter_mut().zip([500, 990, 999]) {
            delays.push(sample.per_mille(per_mille));
        }
        for (multiples, per_mille) in self.multiples.iter_mut().zip([500, 990]) {
            multiples.push(sample.per_mille(per_mille) / floor.per_mille(per_mille));
        }
        let (app, servers) = sample.processor_time();
        self.app_time.push(app);
        self.server_time.push(servers);
        self.failed.push(sample.failed());
    }
}

fn spread(figures: &[f64]) -> Spread {
    figures.iter().copied().collect()
}

async fn measure(workload: &Workload, apps: &[App], load: Load, floor_rate: f64) -> Vec<Rounds> {
    let mut rounds: Vec<Rounds> = apps.iter().map(|_| Rounds::default()).collect();
    for _ in 0..ROUNDS {
        let mut samples = Vec::new();
        for app in apps {
            samples.push(match load {
                Load::OneInFlight => one_in_flight(workload, app).await,
                Load::Share(share) => at_rate(workload, app, floor_rate * share).await,
            });
        }
        for (rounds, sample) in rounds.iter_mut().zip(&samples) {
            rounds.push(sample, &samples[0]);
        }
    }
    rounds
}

/// Prints the delays, and returns the bars of the chart: the medians with one in flight.
pub(crate) async fn print(
    report: &mut Report,
    servers: &Servers,
    backends: &[Backend],
) -> Vec<Bar> {
    report.heading("Latency");
    report.text(format!(
        "Delays of whole requests, in microseconds, and the processor time of one. Under a load in \
         percent of the floor's throughput with {SESSIONS} in flight, requests arrive by a fixed \
         schedule, and a delay counts from the scheduled arrival. Medians of {ROUNDS} rounds, in \
         which the floor and all stacks take turns. In brackets: quartiles of the rounds. `×` is \
         a multiple of the floor's figure of the same round. The floor is a router without sessions \
         that calls the bare driver. A stack that cannot keep up has delays as long as the \
         measurement.\n"
    ));
    let mut bars = Vec::new();
    // Over memory, the floor calls nothing, so no stack can serve a share of the floor's
    // throughput.
    let backends: Vec<Backend> =
        backends.iter().copied().filter(|backend| *backend != Backend::Memory).collect();
    for &backend in &backends {
        let apps = stacks::with_floor(backend, servers).await;
        let mut table = Table::new([
            backend.name(),
            "load",
            "stack",
            "p50",
            "p50, ×",
            "p99",
            "p99, ×",
            "p99.9",
            "app, µs",
            "server, µs",
            "failed, %",
        ]);
        for workload in WORKLOADS {
            let floor_rate = throughput(workload, &apps[0]).await;
            for load in Load::ALL {
                let measured = measure(workload, &apps, load, floor_rate).await;
                for (app, rounds) in apps.iter().zip(measured) {
                    let [median, slow, slowest] =
                        rounds.delays.each_ref().map(|delays| spread(delays));
                    let [median_multiple, slow_multiple] =
                        rounds.multiples.each_ref().map(|multiples| spread(multiples));
                    if load == Load::OneInFlight && app.stack != apps[0].stack {
                        bars.push(Bar {
                            backend: backend.name(),
                            workload: workload.name,
                            stack: app.stack,
                            share: median_multiple.median,
                        });
                    }
                    table.push([
                        workload.name.to_owned(),
                        load.name(),
                        app.stack.to_owned(),
                        format!("{:.0}", median.median),
                        median_multiple.to_string(),
                        format!("{:.0}", slow.median),
                        slow_multiple.to_string(),
                        format!("{:.0}", slowest.median),
                        format!("{:.1}", spread(&rounds.app_time).median),
                        format!("{:.1}", spread(&rounds.server_time).median),
                        format!("{:.0}", spread(&rounds.failed).median),
                    ]);
                }
            }
        }
        report.table(&table);
    }
    bars
}

/// Prints the delays with half a millisecond in each direction to the servers.
pub(crate) async fn print_remote(
    report: &mut Report,
    redis: &Redis,
    postgres: &Postgres,
    servers: &Servers,
    backends: &[Backend],
) {
    report.heading("Latency over a network");
    let to_redis = DelayingProxy::before(&redis.address(), ONE_WAY);
    let to_postgres = DelayingProxy::before(&postgres.address(), ONE_WAY);
    let servers = Servers {
        redis: format!("redis://{}", to_redis.address()),
        postgres: postgres.url().replace(&postgres.address(), to_postgres.address()),
        ..servers.clone()
    };
    report.text(format!(
        "One request in flight, with {ONE_WAY:?} in each direction between the app and its servers. It \
         shows how much of the differences between stacks remains over a network.\n"
    ));
    let mut table = Table::new(["backend", "workload", "stack", "p50", "p50, ×"]);
    for &backend in backends.iter().filter(|backend| **backend != Backend::Memory) {
        let apps = stacks::with_floor(backend, &servers).await;
        for workload in WORKLOADS {
            let measured = measure(workload, &apps, Load::OneInFlight, 0.0).await;
            for (app, rounds) in apps.iter().zip(measured) {
                table.push([
                    backend.name().to_owned(),
                    workload.name.to_owned(),
                    app.stack.to_owned(),
                    format!("{:.0}", spread(&rounds.delays[0]).median),
                    spread(&rounds.multiples[0]).to_string(),
                ]);
            }
        }
    }
    report.table(&table);
}
