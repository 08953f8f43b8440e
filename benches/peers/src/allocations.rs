//! Counts the allocations of a request, and its instructions under callgrind. Called by `main`.

use std::process::Command;

use allocation_counter::measure;
use benches::Table;
use tokio::runtime::{Builder, Runtime};

use crate::{
    report::Report,
    stacks::{App, Backend, Servers, with_floor},
    visitor::Visitor,
    workloads::{self, Workload},
};

/// Returns a runtime of one thread, so that the counter sees all allocations.
pub(crate) fn single_threaded() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the runtime should start")
}

/// Returns the smallest count of fifty requests, because some counts may include the heartbeat of a
/// driver.
fn allocations(runtime: &Runtime, workload: &Workload, app: &App) -> u64 {
    let once = |visitor: &mut Visitor| {
        measure(|| drop(runtime.block_on(visitor.get(workload.path)))).count_total
    };
    (0..50)
        .map(|_| {
            let mut visitor = runtime.block_on(workload.visitor(app));
            once(&mut visitor)
        })
        .min()
        .unwrap_or_default()
}

/// Prints the allocations.
pub(crate) fn print(report: &mut Report, servers: &Servers) {
    report.heading("Allocations");
    report.text(
        "Allocations of a whole request, including its construction and the driver. The last column \
         subtracts the allocations of the same request to the floor.\n",
    );
    let servers = Servers { connections: 1, ..servers.clone() };
    for backend in [Backend::Memory, Backend::Redis] {
        let runtime = single_threaded();
        let apps = runtime.block_on(with_floor(backend, &servers));
        let mut table = Table::new([backend.name(), "stack", "allocations", "over the floor"]);
        for workload in workloads::ALL.iter().filter(|workload| workload.applies_to(backend)) {
            let mut floor = None;
            for (index, app) in apps.iter().enumerate() {
                let is_floor = index == 0;
                if is_floor && !workload.has_floor {
                    continue;
                }
                let count = allocations(&runtime, workload, app);
                if is_floor {
                    floor = Some(count);
                    continue;
                }
                let over =
                    floor.map_or("-".to_owned(), |floor| (count as i64 - floor as i64).to_string());
                table.push([
                    workload.name.to_owned(),
                    app.stack.to_owned(),
                    count.to_string(),
                    over,
                ]);
            }
        }
        report.table(&table);
    }
}

/// The workloads under callgrind.
const WORKLOADS: [Workload; 5] = [
    workloads::ANONYMOUS,
    workloads::WITH_COOKIE,
    workloads::READ_1,
    workloads::READ_5,
    workloads::WRITE_5,
];

/// Sends requests to one app. Runs in a process of its own under callgrind.
pub(crate) fn child(app: usize, workload: usize, requests: u64, servers: &Servers) {
    let runtime = single_threaded();
    let workload = &WORKLOADS[workload];
    runtime.block_on(async {
        let apps = with_floor(Backend::Redis, servers).await;
        let mut visitor = workload.visitor(&apps[app]).await;
        for _ in 0..requests {
            visitor.text(workload.path).await;
        }
    });
}

/// Counts the instructions of this program with these arguments. Returns `None` without valgrind.
fn instructions(arguments: &[String]) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(arguments)
        .output()
        .ok()?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = log.lines().find_map(|line| line.split_once("Collected : "))?.1;
    line.trim().parse().ok()
}

/// Prints the instructions.
pub(crate) fn print_instructions(report: &mut Report, servers: &Servers) {
    report.heading("Instructions");
    report.text(
        "Instructions of a request over Redis, including its construction and the driver. callgrind \
         counts them: a thousandth of the difference between a run of 1,200 requests and one of 200. \
         It does not support SHA-256 instructions. Without them, the hash costs ruts about 3,600 \
         instructions.\n",
    );
    let servers = Servers { connections: 1, ..servers.clone() };
    let apps = single_threaded().block_on(with_floor(Backend::Redis, &servers));
    let mut table = Table::new(["workload", "stack", "instructions", "over the floor"]);
    for (number, workload) in WORKLOADS.iter().enumerate() {
        let mut floor = 0;
        for (index, app) in apps.iter().enumerate() {
            let count = |requests: u64| {
                let words =
                    ["child", &index.to_string(), &number.to_string(), &requests.to_string()];
                let mut words = words.map(str::to_owned).to_vec();
                words.extend([servers.redis.clone(), servers.postgres.clone()]);
                instructions(&words)
            };
            let (Some(few), Some(many)) = (count(200), count(1_200)) else {
                return report.text("valgrind is not installed. Nothing was counted.");
            };
            let each = (many.saturating_sub(few) / 1_000) as i64;
            if index == 0 {
                floor = each;
            }
            table.push([
                workload.name.to_owned(),
                app.stack.to_owned(),
                each.to_string(),
                (each - floor).to_string(),
            ]);
        }
    }
    report.table(&table);
}
