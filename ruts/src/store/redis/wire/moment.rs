//! The format of a moment: milliseconds since 1970 by the server's clock, in six bytes. A missing
//! moment is 0.
//!
//! Used by `args`, `record`, `value` and the cache. Knows nothing else.

/// Length of a moment.
pub(in crate::store::redis) const MOMENT: usize = 6;

/// The last moment.
pub(in crate::store::redis) const MAX_MOMENT: u64 = (1 << (8 * MOMENT)) - 1;

/// Returns the moment `at` plus `after`, but no later than [`MAX_MOMENT`].
#[cfg(feature = "layered-store")]
pub(in crate::store::redis) fn later(at: u64, after: std::time::Duration) -> u64 {
    at.saturating_add(after.as_millis().try_into().unwrap_or(u64::MAX)).min(MAX_MOMENT)
}
