//! The clock of a store: [`Clock`].
//!
//! Owned by `connection`, which passes the time to operations. All processes that open a file are
//! on one host, and share its clock.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// The time since 1970 in whole microseconds, by the clock of the host. It never goes back.
///
/// If the clock of the host is set back, this clock runs at half speed until the clock of the host
/// has caught up. So sessions and fields still expire in that time.
#[derive(Debug)]
pub(super) struct Clock(Mutex<Reading>);

/// The last time that the clock has shown, and the moment when it did.
#[derive(Debug)]
struct Reading {
    time: Duration,
    at: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self(Mutex::new(Reading { time: Duration::ZERO, at: Instant::now() }))
    }
}

impl Clock {
    pub(super) fn now(&self) -> Duration {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.show(since_1970.unwrap_or_default(), Instant::now())
    }

    /// Returns the time at a moment at which the clock of the host shows `host`.
    fn show(&self, host: Duration, now: Instant) -> Duration {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slow = last.time.saturating_add(now.saturating_duration_since(last.at) / 2);
        *last = Reading { time: host.max(slow), at: now.max(last.at) };
        let micros = last.time.as_micros().try_into().unwrap_or(u64::MAX);
        Duration::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_runs_at_half_speed_until_it_has_caught_up() {
        let (clock, start) = (Clock::default(), Instant::now());
        let show = |host, elapsed| {
            let at = start + Duration::from_secs(elapsed);
            clock.show(Duration::from_secs(host), at).as_secs()
        };
        assert_eq!(show(1_000, 10), 1_000);
        assert_eq!(show(1_010, 20), 1_010);
        // The clock of the host goes back by 20 seconds.
        assert_eq!(show(1_000, 30), 1_015);
        assert_eq!(show(1_010, 40), 1_020);
        assert_eq!(show(1_020, 50), 1_025);
        assert_eq!(show(1_030, 60), 1_030);
        assert_eq!(show(1_040, 70), 1_040);
        // A thread may have read the clocks earlier.
        assert_eq!(show(1_035, 65), 1_040);
    }
}
