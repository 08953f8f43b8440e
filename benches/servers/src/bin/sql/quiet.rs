//! Detects other processes that use the processors: [`Watch`].
//!
//! Called between the rounds. Reads `/proc/stat`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// Time of one observation of the processors.
const LOOK: Duration = Duration::from_millis(100);

/// Time for the processes of a round to end.
const END: Duration = Duration::from_millis(50);

/// Maximum time that a run spends on waits for idle processors and on repeated rounds.
const PATIENCE: Duration = Duration::from_secs(300);

/// Repeats disturbed rounds, and counts those that stayed disturbed.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) rounds: usize,
    pub(crate) disturbed: usize,
    spent: Duration,
}

impl Watch {
    /// Measures a round, and repeats it within [`PATIENCE`] until the processors are idle before
    /// and after it.
    pub(crate) fn round<T>(&mut self, measure: impl Fn() -> T) -> T {
        self.rounds += 1;
        loop {
            let begun = Instant::now();
            let mut was_idle = are_idle();
            while !was_idle && self.spent + begun.elapsed() < PATIENCE {
                was_idle = are_idle();
            }
            self.spent += begun.elapsed();
            let begun = Instant::now();
            let figures = measure();
            if was_idle && are_idle() {
                return figures;
            }
            self.spent += begun.elapsed();
            if self.spent >= PATIENCE {
                self.disturbed += 1;
                return figures;
            }
        }
    }
}

/// Returns whether the processors are idle for at least nine tenths of the time.
fn are_idle() -> bool {
    thread::sleep(END);
    let (busy_before, all_before) = ticks();
    thread::sleep(LOOK);
    let (busy, all) = ticks();
    (busy - busy_before) * 10 <= all - all_before
}

/// Returns the ticks of all processors so far: the busy ones, and all.
fn ticks() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().next().unwrap();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map(|it| it.parse().unwrap()).collect();
    // The fourth and the fifth number are idle ticks and waits for a disk.
    let all = ticks.iter().take(8).sum::<u64>();
    (all - ticks[3] - ticks[4], all)
}
