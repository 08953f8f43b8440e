//! Random scripts of tests: their [`seeds`], the [`Random`] numbers of a seed, and the [`Span`]s of
//! steps.

use std::{env, time::Duration};

use tokio::time::Instant;

use crate::random;

/// The environment variable that selects one seed, to repeat a run.
const VARIABLE: &str = "RUTS_SEED";

/// Returns the seeds of a test: the seed in `RUTS_SEED` if this variable is set, and otherwise
/// `count` random seeds.
///
/// # Panics
///
/// Panics if the variable is set and is not a number.
pub fn seeds(count: usize) -> Vec<u64> {
    match env::var(VARIABLE) {
        Ok(text) => vec![text.parse().expect("RUTS_SEED should be a number")],
        Err(_) => (0..count).map(|_| u64::from_le_bytes(random())).collect(),
    }
}

/// Random numbers that depend only on a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Creates the numbers of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number below `bound`.
    ///
    /// # Panics
    ///
    /// Panics if `bound` is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((number ^ (number >> 31)) % bound as u64) as usize
    }

    /// Returns `true` with a probability of `percent` percent.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Returns one of the values, or `None` if there is none.
    pub fn choose<'a, T>(&mut self, values: &'a [T]) -> Option<&'a T> {
        if values.is_empty() { None } else { values.get(self.below(values.len())) }
    }
}

/// How time passes in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// The tokio clock is paused, and the store follows it: [`TokioClock`](crate::TokioClock).
    Paused,
    /// Sleeps take real time.
    Real,
}

/// The time between the start of a request and its answer. The request takes effect within it.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    from: Instant,
    to: Instant,
}

impl Span {
    /// The time for which a request may be in transit, and so counts as late: see
    /// `docs/late-requests.md`.
    const IN_TRANSIT: Duration = Duration::from_secs(5);

    /// Maximum difference between the clocks of a server and of a test.
    const SLACK: Duration = Duration::from_millis(300);

    /// Creates the span of a request that began at `from` and was answered now.
    pub fn since(from: Instant) -> Self {
        Self { from, to: Instant::now() }
    }

    /// Returns the time since its start.
    pub fn elapsed(&self) -> Duration {
        self.from.elapsed()
    }

    /// Returns the span of an effect that follows this one after `time`.
    #[must_use]
    pub fn after(&self, time: Duration) -> Self {
        Self { from: self.from + time, to: self.to + time }
    }

    /// Returns whether a secret that was issued in this span was older than `age` when a request
    /// was sent. `None` if that is within the measuring error.
    pub fn is_older(&self, age: Duration, request: &Self) -> Option<bool> {
        if request.from.saturating_duration_since(self.to) > age + Self::SLACK {
            return Some(true);
        }
        (request.to.duration_since(self.from) + Self::SLACK < age).then_some(false)
    }

    /// Returns whether a request was late, given that its secret was replaced, or its session
    /// deleted, in this span. `None` if that is within the measuring error.
    pub fn makes_late(&self, request: &Self) -> Option<bool> {
        if request.to.duration_since(self.from) + Self::SLACK < Self::IN_TRANSIT {
            return Some(true);
        }
        // The time that the store took for its answer counts as time in transit.
        let on_the_way = Self::IN_TRANSIT + Self::SLACK + request.to.duration_since(request.from);
        let is_over = request.from.saturating_duration_since(self.to) > on_the_way;
        is_over.then_some(false)
    }
}
