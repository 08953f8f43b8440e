//! The clock of a store: [`Clock`].
//!
//! Owned by `connection`, which passes the time to operations. All processes that open a file are
//! on one host, and share its clock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

/// The time since 1970 in whole microseconds, by the clock of the host. It never goes back.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    pub(super) fn now(&self) -> Duration {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let micros = since_1970.unwrap_or_default().as_micros().try_into().unwrap_or(u64::MAX);
        Duration::from_micros(self.0.fetch_max(micros, Ordering::Relaxed).max(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_stands_still() {
        let clock = Clock::default();
        let later = clock.now() + Duration::from_secs(3600);
        clock.0.store(later.as_micros() as u64, Ordering::Relaxed);
        assert_eq!(clock.now(), later);
    }
}
