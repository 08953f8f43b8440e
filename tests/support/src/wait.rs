//! [`wait_until`], and the maximum time that a test waits. Used by all test crates.

use std::time::{Duration, Instant};

/// Limit of every wait that is not the subject of a test. A test never reaches it, even on a
/// machine whose cores are shared by many processes.
pub const LONG_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
///
/// # Panics
///
/// Panics if it does not hold within [`LONG_TIMEOUT`].
pub async fn wait_until(description: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < LONG_TIMEOUT, "timed out while waiting until {description}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
