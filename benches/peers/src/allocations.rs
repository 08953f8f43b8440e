//! What a request costs the process: allocations, and instructions under callgrind.

use std::process::Command;

use allocation_counter::measure;
use benches::Table;
use tokio::runtime::{Builder, Runtime};

use crate::{
    report::Report,
    stacks::{self, Backend, Place, Stack},
    workloads::{self, Workload},
};

/// All on one thread, so that everything is counted.
pub(crate) fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The fewest of fifty: a client's heartbeat is none of the request's business.
fn allocations(runtime: &Runtime, workload: &Workload, stack: &Stack) -> u64 {
    let once = |visitor: &mut crate::client::Visitor| {
        measure(|| drop(runtime.block_on(visitor.get(workload.path)))).count_total
    };
    (0..50)
        .map(|_| {
            let mut visitor = runtime.block_on(workload.visitor(stack));
            once(&mut visitor)
        })
        .min()
        .unwrap_or_default()
}

async fn with_floor(backend: Backend, place: &Place) -> Vec<Stack> {
    let mut stacks = vec![stacks::floor(backend, place).await];
    stacks.extend(stacks::all(backend, place).await);
    stacks
}

pub(crate) fn print(report: &mut Report, place: &Place) {
    report.heading("Allocations");
    report.say(
        "Of a whole request, with the making of the request and the client of the server, beyond what the same \
         request to the floor allocates where there is one.\n",
    );
    let place = Place { connections: 1, ..place.clone() };
    for backend in [Backend::Memory, Backend::Redis] {
        let runtime = single();
        let stacks = runtime.block_on(with_floor(backend, &place));
        let mut table = Table::new([backend.name(), "stack", "allocations", "over the floor"]);
        for workload in workloads::ALL.iter().filter(|workload| workload.is_of_interest(backend)) {
            let mut floor = None;
            for stack in &stacks {
                let is_floor = stack.name == stacks[0].name;
                if is_floor && !workload.has_floor {
                    continue;
                }
                let count = allocations(&runtime, workload, stack);
                if is_floor {
                    floor = Some(count);
                    continue;
                }
                let over =
                    floor.map_or("-".to_owned(), |floor| (count as i64 - floor as i64).to_string());
                table.push([
                    workload.name.to_owned(),
                    stack.name.to_owned(),
                    count.to_string(),
                    over,
                ]);
            }
        }
        report.table(&table);
    }
}

/// What is asked for under callgrind.
const COUNTED: [Workload; 5] = [
    workloads::ANONYMOUS,
    workloads::WITH_COOKIE,
    workloads::READ_1,
    workloads::READ_5,
    workloads::WRITE_5,
];

/// Asks a stack so many times, for callgrind to count.
pub(crate) fn child(stack: usize, workload: usize, times: u64, place: &Place) {
    let runtime = single();
    let workload = &COUNTED[workload];
    runtime.block_on(async {
        let stacks = with_floor(Backend::Redis, place).await;
        let mut visitor = workload.visitor(&stacks[stack]).await;
        for _ in 0..times {
            visitor.text(workload.path).await;
        }
    });
}

/// Instructions of this program with these arguments; none without valgrind.
fn instructions(arguments: &[String]) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(arguments)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().find_map(|line| line.split_once("Collected : "))?.1;
    line.trim().parse().ok()
}

pub(crate) fn print_instructions(report: &mut Report, place: &Place) {
    report.heading("Instructions");
    report.say(
        "Of a request over Redis, counted by callgrind: a thousandth of the difference between a run of 1,200 \
         requests and one of 200; with the making of the request and the client of the server. callgrind knows no \
         instructions for SHA-256, which take ruts about 3,600 of these.\n",
    );
    let place = Place { connections: 1, ..place.clone() };
    let stacks = single().block_on(with_floor(Backend::Redis, &place));
    let mut table = Table::new(["workload", "stack", "instructions", "over the floor"]);
    for (number, workload) in COUNTED.iter().enumerate() {
        let mut floor = 0;
        for (index, stack) in stacks.iter().enumerate() {
            let of = |times: u64| {
                let words = ["child", &index.to_string(), &number.to_string(), &times.to_string()];
                let mut words = words.map(str::to_owned).to_vec();
                words.extend([place.redis.clone(), place.postgres.clone()]);
                instructions(&words)
            };
            let (Some(few), Some(many)) = (of(200), of(1_200)) else {
                return report.say("valgrind is not there: nothing was counted.");
            };
            let each = (many.saturating_sub(few) / 1_000) as i64;
            if index == 0 {
                floor = each;
            }
            table.push([
                workload.name.to_owned(),
                stack.name.to_owned(),
                each.to_string(),
                (each - floor).to_string(),
            ]);
        }
    }
    report.table(&table);
}
