//! Steps of the clock of a server: [`step`]. Used by the servers.

use std::time::Duration;

use ruts_tests_stores::servers::Clock;
use tokio::time::sleep;

/// Number of seconds by which a clock steps. The records of ended sessions are kept for less than
/// this time, and live sessions for more.
pub const STEP: i64 = 600;

/// Sets a clock `seconds` before or after the right time, waits for `duration`, and sets it right
/// again.
pub async fn step(clock: &Clock, seconds: i64, duration: Duration) {
    clock.set(seconds);
    sleep(duration).await;
    clock.set(0);
}
