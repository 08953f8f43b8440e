//! Deletes expired sessions, on request and in the background.
//!
//! Used by the store. Knows nothing of its operations.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{debug, warn};

use super::{bind::Statement, decode::deleted_count, executor::Executor};
use crate::store::StoreError;

/// Number of sessions that one statement deletes: so few that its locks hold up no caller.
const BATCH: usize = 500;

/// Timeout of a batch. No caller waits for it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Deletes expired sessions about once in each `interval`, until the last clone of the store is
/// dropped.
pub(super) async fn run(
    executor: Weak<Executor>,
    mut store_dropped: watch::Receiver<()>,
    interval: Duration,
) {
    // Instances that start together do not work together.
    let mut wait = interval.mul_f64(random());
    loop {
        tokio::select! {
            // Nothing is ever sent. This returns when the sender is dropped.
            _ = store_dropped.changed() => return,
            () = sleep(wait) => {}
        }
        let Some(executor) = executor.upgrade() else { return };
        delete_all_expired(&executor).await;
        wait = interval.mul_f64(0.8 + 0.4 * random());
    }
}

/// Deletes at most `limit` expired sessions and returns their number.
pub(super) async fn delete_expired(
    executor: &Arc<Executor>,
    limit: usize,
    timeout: Duration,
) -> Result<usize, StoreError> {
    let statement = Statement::new(&executor.statements.delete_expired)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    deleted_count(&executor.fetch_one(statement, Instant::now() + timeout).await?)
}

/// Works for at most half of the time, so that requests find the server idle in between.
async fn delete_all_expired(executor: &Arc<Executor>) {
    let mut deleted = 0;
    loop {
        let begun = Instant::now();
        match delete_expired(executor, BATCH, TIMEOUT).await {
            Ok(batch) => {
                deleted += batch;
                if batch < BATCH {
                    break;
                }
            }
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                warn!(error = cause, "expired sessions were not deleted; the next cleanup retries");
                return;
            }
        }
        sleep(begun.elapsed()).await;
        // The store is dropped: only this task holds the executor.
        if Arc::strong_count(executor) == 1 {
            return;
        }
    }
    if deleted > 0 {
        debug!(deleted, "deleted expired sessions");
    }
}

/// Returns a number from 0 to 1. Nothing depends on its quality.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
