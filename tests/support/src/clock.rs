//! [`TokioClock`]: a clock that follows the tokio timers, for in-memory stores.

use std::time::Duration;

use ruts::store::memory::Clock;
use tokio::time::Instant;

/// The tokio clock. In a test with paused time, a sleep advances the time of the store and of the
/// requests, and takes no real time.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock(Instant);

impl TokioClock {
    /// Creates a clock that starts at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
