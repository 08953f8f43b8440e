//! Sends requests to an app, one in flight or by a schedule, and records their delays.
//!
//! Used by `latency`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::prctl;
use tokio::{runtime::Handle, sync::mpsc, task::JoinSet};

use crate::{
    processor::{self, ProcessorTime},
    stacks::App,
    visitor::Visitor,
    workloads::Workload,
};

/// Time in which a measurement begins requests.
const MEASURED: Duration = Duration::from_millis(500);

/// Number of sessions that share the arrivals.
pub(crate) const SESSIONS: usize = 64;

/// How requests arrive.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Load {
    /// Sends each request after the response to the previous one.
    OneInFlight,
    /// Sends requests at this share of the floor's throughput, without waiting for earlier
    /// responses.
    Share(f64),
}

impl Load {
    pub(crate) const ALL: [Self; 5] = [
        Self::OneInFlight,
        Self::Share(0.05),
        Self::Share(0.25),
        Self::Share(0.5),
        Self::Share(0.8),
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::OneInFlight => "one in flight".to_owned(),
            Self::Share(share) => format!("{:.0} %", share * 100.0),
        }
    }
}

/// The results of the requests of one round.
pub(crate) struct Sample {
    /// In ascending order.
    delays: Vec<Duration>,
    /// Number of requests that failed, for example because the stack could not keep up.
    failed: usize,
    time: ProcessorTime,
}

impl Sample {
    fn new(answers: Vec<Answer>, time: ProcessorTime) -> Self {
        let failed = answers.iter().filter(|answer| !answer.is_success).count();
        let mut delays: Vec<Duration> = answers.into_iter().map(|answer| answer.delay).collect();
        delays.sort_unstable();
        Self { delays, failed, time }
    }

    /// Returns the failed requests, in percent.
    pub(crate) fn failed(&self) -> f64 {
        self.failed as f64 * 100.0 / self.delays.len() as f64
    }

    /// Returns the delay, in microseconds, that `per_mille` of a thousand requests stay below.
    pub(crate) fn per_mille(&self, per_mille: usize) -> f64 {
        let at = self.delays.len() * per_mille / 1000;
        let delay = self.delays.get(at.min(self.delays.len().saturating_sub(1)));
        delay.map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e6)
    }

    /// Returns the processor time of a request, in microseconds: of the app, and of the servers.
    pub(crate) fn processor_time(&self) -> (f64, f64) {
        let share = |time: Duration| time.as_secs_f64() * 1e6 / self.delays.len() as f64;
        (share(self.time.app), share(self.time.servers))
    }
}

/// The answer to a request.
struct Answer {
    delay: Duration,
    is_success: bool,
}

impl Answer {
    /// Sends a request, whose delay begins at `start`.
    async fn of(visitor: &mut Visitor, path: &str, start: Instant) -> Self {
        let (status, _) = visitor.get(path).await;
        Self { delay: start.elapsed(), is_success: status.is_success() }
    }
}

/// Sends each request after the response to the previous one.
pub(crate) async fn one_in_flight(workload: &Workload, app: &App) -> Sample {
    let mut visitor = workload.visitor(app).await;
    let path = workload.path;
    let before = processor::time();
    let requests = tokio::spawn(async move {
        let (mut delays, end) = (Vec::new(), Instant::now() + MEASURED);
        while Instant::now() < end {
            delays.push(Answer::of(&mut visitor, path, Instant::now()).await);
        }
        delays
    });
    let delays = requests.await.expect("no request should panic");
    Sample::new(delays, processor::time() - before)
}

/// Sends `rate` requests per second by a fixed schedule. A delay begins at the scheduled time, so a
/// request that starts late counts as slow.
pub(crate) async fn at_rate(workload: &Workload, app: &App, rate: f64) -> Sample {
    let mut visitors: Vec<Visitor> = Vec::new();
    for _ in 0..SESSIONS {
        visitors.push(workload.visitor(app).await);
    }
    let (path, count) = (workload.path, (rate * MEASURED.as_secs_f64()).max(1.0) as usize);
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let runtime = Handle::current();
    let before = processor::time();
    // The schedule is a thread, because timers of the runtime have a resolution of one millisecond.
    // Its time does not count as processor time of the app, because the thread has ended by then.
    let schedule = thread::spawn(move || {
        prctl::set_timerslack(1).expect("the system should set the precision of timers");
        let start = Instant::now();
        for number in 0..count {
            let due = start + Duration::from_secs_f64(number as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (mut visitor, sender) = (visitors[number % SESSIONS].clone(), sender.clone());
            runtime.spawn(async move {
                // Fails only if the measurement has failed.
                let _ = sender.send(Answer::of(&mut visitor, path, due).await);
            });
        }
    });
    let mut delays = Vec::with_capacity(count);
    while let Some(delay) = receiver.recv().await {
        delays.push(delay);
    }
    schedule.join().expect("the schedule should not fail");
    assert_eq!(delays.len(), count, "no request should panic");
    Sample::new(delays, processor::time() - before)
}

/// Returns the requests per second with 64 in flight.
pub(crate) async fn throughput(workload: &Workload, app: &App) -> f64 {
    let mut tasks = JoinSet::new();
    let answered = Arc::new(AtomicUsize::new(0));
    let end = Instant::now() + MEASURED;
    for _ in 0..SESSIONS {
        let (mut visitor, answered) = (workload.visitor(app).await, Arc::clone(&answered));
        let path = workload.path;
        tasks.spawn(async move {
            while Instant::now() < end {
                visitor.text(path).await;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tasks.join_all().await;
    answered.load(Ordering::Relaxed) as f64 / MEASURED.as_secs_f64()
}
