//! [`clean_up`]: deletes expired sessions in the background.
//!
//! Used by the stores on SQL servers. Knows nothing about their statements.

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

use crate::store::StoreError;

/// Maximum number of sessions that one statement deletes, so that its locks do not delay callers.
const BATCH: usize = 500;

/// Timeout of a batch. It does not depend on the timeout of operations, because no caller waits for
/// a batch.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A store from which expired sessions can be deleted.
pub(in crate::store) trait Cleanup: Send + Sync + 'static {
    /// Deletes at most `limit` expired sessions in one transaction, and returns their number.
    fn delete_batch(
        self: &Arc<Self>,
        limit: usize,
        timeout: Duration,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;
}

/// Deletes expired sessions about once every `interval`, until the last clone of the store is
/// dropped.
pub(in crate::store) async fn clean_up<C: Cleanup>(
    store: Weak<C>,
    mut store_dropped: watch::Receiver<()>,
    interval: Duration,
) {
    // The first cleanup begins at a random time, so that instances that start together do not
    // delete at the same time.
    let mut wait = interval.mul_f64(random());
    loop {
        tokio::select! {
            // Nothing is ever sent. `changed` completes when the sender is dropped.
            _ = store_dropped.changed() => return,
            () = sleep(wait) => {}
        }
        let Some(store) = store.upgrade() else { return };
        delete_all_expired(&store).await;
        wait = interval.mul_f64(0.8 + 0.4 * random());
    }
}

/// Deletes all expired sessions, and pauses after each batch for as long as the batch took, so that
/// the server has time for requests.
async fn delete_all_expired<C: Cleanup>(store: &Arc<C>) {
    let mut deleted = 0;
    loop {
        let begun = Instant::now();
        match store.delete_batch(BATCH, TIMEOUT).await {
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
        // The store was dropped: only this task still holds it.
        if Arc::strong_count(store) == 1 {
            return;
        }
    }
    if deleted > 0 {
        debug!(deleted, "deleted expired sessions");
    }
}

/// Returns a random number from 0 to 1. Nothing depends on its quality.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
