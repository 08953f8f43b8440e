//! A circuit breaker around a cache: [`CircuitBreaker`].
//!
//! Used for every command to the cache, mostly through [`Tiers`](super::tiers::Tiers). Knows
//! neither sessions nor the origin.

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

/// Minimum time between a failure and a read that probes the cache, and between two such reads.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A cache, and whether it is up.
pub(super) struct CircuitBreaker<C> {
    cache: C,
    /// When the next read may probe the cache. `None` while the cache is up.
    next_probe: Mutex<Option<Instant>>,
}

impl<C: Cache> CircuitBreaker<C> {
    pub(super) fn new(cache: C) -> Self {
        Self { cache, next_probe: Mutex::new(None) }
    }

    pub(super) fn cache(&self) -> &C {
        &self.cache
    }

    fn next_probe(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next_probe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a read should ask the cache. While the cache is down, one read in every
    /// [`PROBE_INTERVAL`] probes it.
    pub(super) fn allows_read(&self) -> bool {
        let now = Instant::now();
        let mut next_probe = self.next_probe();
        let is_allowed = next_probe.is_none_or(|due| due <= now);
        if is_allowed && next_probe.is_some() {
            *next_probe = Some(now + PROBE_INTERVAL);
        }
        is_allowed
    }

    /// Waits for a command for at most `limit`, and notes whether the cache is up. After a timeout,
    /// the cache may still carry out the command.
    pub(super) async fn call<T>(
        &self,
        limit: Duration,
        command: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let answer = timeout(limit, command).await.unwrap_or_else(|elapsed| {
            let error = StoreError::new(self.cache.name(), StoreErrorKind::OutcomeUnknown);
            Err(error.with_source(elapsed))
        });
        event::tier_called("cache", self.cache.name(), begun.elapsed(), answer.is_ok());
        match &answer {
            Ok(_) => self.close(),
            // With these errors the cache still answers: it is full, or one entry is corrupt.
            Err(error)
                if matches!(error.kind(), StoreErrorKind::Full | StoreErrorKind::Corrupt) => {}
            Err(error) => self.open(error),
        }
        answer
    }

    fn close(&self) {
        if self.next_probe().take().is_some() {
            tracing::info!(cache = self.cache.name(), "the cache is up again");
        }
    }

    fn open(&self, error: &StoreError) {
        let former = self.next_probe().replace(Instant::now() + PROBE_INTERVAL);
        if former.is_none() {
            tracing::warn!(
                cache = self.cache.name(),
                error = error as &dyn std::error::Error,
                "the cache is down; sessions are read from the store of record"
            );
        }
    }
}
