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

use super::store::Inner;

/// How many sessions one statement removes: few enough that nobody waits for its locks.
const BATCH: usize = 500;

/// How long a batch may take: nobody waits for it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Removes what expired, every `interval` or so, until the last clone of the store is gone.
pub(super) async fn run(store: Weak<Inner>, mut gone: watch::Receiver<()>, interval: Duration) {
    // The first time is anywhere within the interval.
    let mut wait = interval.mul_f64(random());
    loop {
        tokio::select! {
            // Nothing is ever sent: this returns when the store is dropped.
            _ = gone.changed() => return,
            () = sleep(wait) => {}
        }
        let Some(store) = store.upgrade() else { return };
        clean(&store).await;
        wait = interval.mul_f64(0.8 + 0.4 * random());
    }
}

/// Works for at most half of the time, so that requests find the server idle now and then.
async fn clean(store: &Arc<Inner>) {
    let mut removed = 0;
    loop {
        let begun = Instant::now();
        match store.delete_expired(BATCH, TIMEOUT).await {
            Ok(batch) => {
                removed += batch;
                if batch < BATCH {
                    break;
                }
            }
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                warn!(error = cause, "expired sessions could not be removed; trying again later");
                return;
            }
        }
        sleep(begun.elapsed()).await;
        // Only this task holds the store: nobody else is left.
        if Arc::strong_count(store) == 1 {
            return;
        }
    }
    if removed > 0 {
        debug!(removed, "removed expired sessions");
    }
}

/// From 0 to 1. Nothing depends on its quality.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}
