use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::{
    event,
    store::{Cache, StoreError, StoreErrorKind},
};

/// How long a cache that is down is left alone before a read tries it again.
const PAUSE: Duration = Duration::from_secs(1);

/// A cache that may be down.
pub(super) struct CacheTier<H> {
    cache: H,
    /// When to try it again; `None` if it is up.
    down: Mutex<Option<Instant>>,
}

impl<H: Cache> CacheTier<H> {
    pub(super) fn new(cache: H) -> Self {
        Self { cache, down: Mutex::new(None) }
    }

    pub(super) fn cache(&self) -> &H {
        &self.cache
    }

    fn down(&self) -> MutexGuard<'_, Option<Instant>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a read should ask it. While it is down, one read in a while should.
    pub(super) fn is_worth_asking(&self) -> bool {
        let mut down = self.down();
        match *down {
            None => true,
            Some(again) if again <= Instant::now() => {
                *down = Some(Instant::now() + PAUSE);
                true
            }
            Some(_) => false,
        }
    }

    /// Waits for a command, but not for long. What is given up may still be carried out.
    pub(super) async fn run<T>(
        &self,
        limit: Duration,
        command: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let answer = match timeout(limit, command).await {
            Ok(answer) => answer,
            Err(late) => {
                let error = StoreError::new(self.cache.name(), StoreErrorKind::Unknown);
                Err(error.with_source(late))
            }
        };
        event::tier_called("hot", self.cache.name(), begun.elapsed(), answer.is_ok());
        match &answer {
            Ok(_) => {
                if self.down().take().is_some() {
                    tracing::info!(cache = self.cache.name(), "the cache is back");
                }
            }
            // The matter of one entry.
            Err(error)
                if matches!(error.kind(), StoreErrorKind::Full | StoreErrorKind::Corrupt) => {}
            Err(error) => {
                let was = self.down().replace(Instant::now() + PAUSE);
                if was.is_none() {
                    tracing::warn!(
                        cache = self.cache.name(),
                        error = error as &dyn std::error::Error,
                        "the cache is down; sessions are read from the store of record"
                    );
                }
            }
        }
        answer
    }
}
