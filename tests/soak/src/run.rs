//! [`run`]: puts a load on a system, causes one fault after another, and measures the time of each
//! recovery. Called by `main`.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use ruts_tests_support::Random;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    fault::Fault,
    load::{World, act},
    system::System,
};

/// Number of actors.
const ACTORS: usize = 8;

/// Time without a failed request after which a system counts as recovered. It is longer than the
/// timeout of a store, so that an operation on an unresponsive connection fails within this time.
const QUIET: Duration = Duration::from_millis(2500);

/// Time in which a system is expected to recover.
const EXPECTED: Duration = Duration::from_secs(2);

/// Time after which a system counts as not recovered.
const MAX_RECOVERY: Duration = Duration::from_secs(60);

/// The result of a run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Number of broken promises, and of faults from which the system did not recover.
    pub violations: usize,
}

/// The faults in a random order that depends on the seed: each fault once, then each again in a
/// different order.
struct Plan {
    random: Random,
    faults: Vec<Fault>,
    next: VecDeque<Fault>,
}

impl Plan {
    fn next(&mut self) -> Option<(Fault, Duration)> {
        if self.next.is_empty() {
            let mut left = self.faults.clone();
            while !left.is_empty() {
                self.next.push_back(left.swap_remove(self.random.below(left.len())));
            }
        }
        let duration = Duration::from_millis(200 + self.random.below(2800) as u64);
        self.next.pop_front().map(|fault| (fault, duration))
    }
}

/// Runs a system for `time`, and then until it has recovered from the last fault.
pub async fn run<S: System>(name: &'static str, system: S, seed: u64, time: Duration) -> Summary {
    let begun = Instant::now();
    let world = Arc::new(World::new(name, system.store()));
    let mut random = Random::new(seed);
    let mut actors = JoinSet::new();
    for _ in 0..ACTORS {
        let numbers = Random::new(random.below(usize::MAX) as u64);
        actors.spawn(act(Arc::clone(&world), numbers));
    }
    let mut plan = Plan { random, faults: system.faults(), next: VecDeque::new() };
    let (mut events, mut unrecovered, mut late, mut longest) = (0, 0, 0, Duration::ZERO);
    sleep(QUIET).await;
    println!("{name}: failures before the first fault: {}", world.report.take_failures());
    while begun.elapsed() < time {
        let Some((fault, duration)) = plan.next() else { break };
        let struck = begun.elapsed();
        system.strike(fault, duration).await;
        let recovery = recovery(&world).await;
        events += 1;
        let failures = world.report.take_failures();
        let outcome = match recovery {
            Some(recovery) => {
                late += usize::from(recovery > EXPECTED);
                longest = longest.max(recovery);
                format!("recovered after {:.1} s", recovery.as_secs_f32())
            }
            None => {
                unrecovered += 1;
                format!("NOT RECOVERED: {}", world.report.last_failure().1)
            }
        };
        let (at, lasted) = (struck.as_secs_f32(), duration.as_secs_f32());
        println!("{name} {at:6.1} s: {fault} ({lasted:.1} s), {outcome}; failed: {failures}");
    }
    world.stop();
    actors.join_all().await;
    let (report, longest) = (&world.report, longest.as_secs_f32());
    let violations = report.violations() + unrecovered;
    println!(
        "{name}: {events} faults, {} requests, {violations} violations; recovered after at most \
         {longest:.1} s, {late} times later than {} s; failed: {}",
        report.requests(),
        EXPECTED.as_secs(),
        report.failures()
    );
    Summary { violations }
}

/// Waits until the system has recovered. Returns the time from now to the start of the last failed
/// request, or `None` if requests still fail or wait after [`MAX_RECOVERY`].
async fn recovery<S: ruts::store::Store>(world: &World<S>) -> Option<Duration> {
    let usable = Instant::now();
    loop {
        let last = world.report.last_failure().0.filter(|last| *last >= usable);
        let waits = world.report.oldest_in_progress().is_some_and(|begun| begun.elapsed() > QUIET);
        if last.unwrap_or(usable).elapsed() > QUIET && !waits {
            return Some(last.map_or(Duration::ZERO, |last| last - usable));
        }
        if usable.elapsed() > MAX_RECOVERY {
            return None;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
