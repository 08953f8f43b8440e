//! The clocks of [`MemoryStore`](super::MemoryStore) and `MemoryCache`: [`Clock`].
//!
//! Applications use the clock of the operating system. Tests use one that they advance by hand.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A clock for a [`MemoryStore`](super::MemoryStore) or a `MemoryCache`.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time since a fixed moment. It never goes back.
    fn now(&self) -> Duration;
}

/// The monotonic clock of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Creates a clock that starts at zero.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock for tests, which moves only when it is [advanced](Self::advance).
///
/// ```
/// use std::time::Duration;
/// use ruts::store::memory::{Clock, ManualClock, MemoryStore};
///
/// let clock = ManualClock::new();
/// let store = MemoryStore::builder().clock(clock.clone()).build();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), Duration::from_secs(60));
/// # drop(store);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<Mutex<Duration>>);

impl ManualClock {
    /// Creates a clock that starts at zero. Clones share the time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward by `time`.
    pub fn advance(&self, time: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_add(time);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
