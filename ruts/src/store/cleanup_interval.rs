//! [`limited`]: the interval between two cleanups, within limits.
//!
//! Used by the builders of the stores that delete expired sessions in the background.

use std::time::Duration;

/// Returns an interval from one second to one year. The arithmetic of a cleanup overflows with the
/// longest durations.
pub(in crate::store) fn limited(interval: Duration) -> Duration {
    interval.clamp(Duration::from_secs(1), Duration::from_secs(365 * 86_400))
}
