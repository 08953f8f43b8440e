//! The two tiers of a layered store, and calls to them with bounded waits: [`Tiers`].
//!
//! Used by reads, writes and revocations. Holds the state that these operations share. Knows
//! nothing about their protocol.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{
    breaker::CircuitBreaker,
    known_policies::KnownPolicies,
    pending_evictions::{PendingEviction, PendingEvictions},
};
use crate::{
    auth::PrincipalKey,
    event,
    store::{Cache, Store, StoreError, StoreErrorKind},
    token::SessionId,
    turns::{Turn, Turns},
};

/// Name of the layered store in errors and traces.
pub(super) const NAME: &str = "layered";

/// Maximum number of fills in flight. At this limit, a read that misses does not fill the cache.
const FILLS: usize = 256;

/// The first and the longest pause before an attempt to evict. Each pause is twice as long as the
/// previous one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Other writes of the session kept their turns for too long.
#[derive(Debug, thiserror::Error)]
#[error("too many writes of the session are in progress")]
struct NoTurn;

/// Future of a tier's answer. Boxed: otherwise the future types of two drivers nest so deeply that
/// handlers do not compile.
pub(super) type TierFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The cache, the origin, and the state that operations on them share.
pub(super) struct Tiers<C, O> {
    pub(super) breaker: CircuitBreaker<C>,
    pub(super) origin: O,
    pub(super) settings: Settings,
    pub(super) policies: KnownPolicies,
    pub(super) pending_evictions: PendingEvictions,
    /// Runs the writes of a session one at a time.
    writes: Turns<SessionId>,
    /// Runs the revocations of a principal one at a time.
    pub(super) revocations: Turns<PrincipalKey>,
    /// Runs the sign-ins of a principal that end its oldest sessions one at a time.
    pub(super) sign_ins: Turns<PrincipalKey>,
    pub(super) fills: Arc<Semaphore>,
    origin_is_down: AtomicBool,
}

/// Settings of a layered store. Its builder explains them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) cache_ttl: Duration,
    pub(super) cache_timeout: Duration,
    pub(super) origin_timeout: Duration,
    pub(super) intent_ttl: Duration,
    pub(super) writes_without_cache: bool,
    pub(super) hits_without_origin: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_ttl: Duration::from_secs(300),
            cache_timeout: Duration::from_millis(500),
            origin_timeout: Duration::from_secs(5),
            intent_ttl: Duration::from_secs(30),
            writes_without_cache: false,
            hits_without_origin: true,
        }
    }
}

impl Settings {
    /// Returns the TTL of a write intent. A write of unknown outcome is expected to take place
    /// within this time, or never.
    pub(super) fn write_window(&self) -> Duration {
        self.intent_ttl.max(self.origin_timeout * 2)
    }

    /// Returns the maximum time of an operation on all sessions.
    pub(super) fn bulk_timeout(&self) -> Duration {
        self.origin_timeout * 10
    }
}

impl<C: Cache, O: Store> Tiers<C, O> {
    pub(super) fn new(cache: C, origin: O, settings: Settings) -> Self {
        Self {
            breaker: CircuitBreaker::new(cache),
            origin,
            settings,
            policies: KnownPolicies::default(),
            pending_evictions: PendingEvictions::default(),
            writes: Turns::default(),
            revocations: Turns::default(),
            sign_ins: Turns::default(),
            fills: Arc::new(Semaphore::new(FILLS)),
            origin_is_down: AtomicBool::new(false),
        }
    }

    pub(super) fn cache(&self) -> &C {
        self.breaker.cache()
    }

    /// Returns whether a read of the session should ask the cache.
    pub(super) fn may_read_cache(&self, id: &SessionId) -> bool {
        let origin_is_down = self.origin_is_down.load(Ordering::Relaxed);
        !self.pending_evictions.includes(id)
            && (self.settings.hits_without_origin || !origin_is_down)
            && self.breaker.allows_read()
    }

    /// Waits for the turn of a write to the session, for at most the `origin_timeout`.
    pub(super) async fn write_turn(
        &self,
        id: &SessionId,
    ) -> Result<Turn<'_, SessionId>, StoreError> {
        let turn = self.writes.wait(*id, Instant::now() + self.settings.origin_timeout).await;
        turn.ok_or_else(|| StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(NoTurn))
    }

    /// Waits for a command of the cache, for at most the `cache_timeout`.
    pub(super) fn call_cache<'a, T: Send + 'a>(
        &'a self,
        command: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> TierFuture<'a, T> {
        Box::pin(self.breaker.call(self.settings.cache_timeout, command))
    }

    /// Waits for an operation of the origin. Fails with `on_timeout` after the `origin_timeout`.
    pub(super) fn call_origin<'a, T: Send + 'a>(
        &'a self,
        on_timeout: StoreErrorKind,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> TierFuture<'a, T> {
        Box::pin(async move {
            let begun = Instant::now();
            let answer = timeout(self.settings.origin_timeout, operation);
            let answer = answer.await.unwrap_or_else(|elapsed| {
                Err(StoreError::new(self.origin.name(), on_timeout).with_source(elapsed))
            });
            event::tier_called("origin", self.origin.name(), begun.elapsed(), answer.is_ok());
            let is_down = answer.as_ref().is_err_and(|error| {
                matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::OutcomeUnknown)
            });
            self.origin_is_down.store(is_down, Ordering::Relaxed);
            answer
        })
    }

    /// Evicts the entry of a session.
    pub(super) fn evict<'a>(&'a self, id: &'a SessionId) -> TierFuture<'a, ()> {
        self.call_cache(self.cache().evict(id))
    }

    /// Evicts all entries. Returns whether that succeeded.
    pub(super) async fn clear(&self) -> bool {
        self.breaker.call(self.settings.bulk_timeout(), self.cache().clear()).await.is_ok()
    }

    /// Tries to evict the entry of a session in the background, until that succeeds or the entry
    /// has expired. Until then, reads of the session bypass the cache. The write that makes the
    /// entry stale may still take place within `write_window` from now. So an eviction before the
    /// end of that time does not count.
    pub(super) fn evict_later(self: &Arc<Self>, id: &SessionId, write_window: Duration) {
        // A `Drop` implementation may call this function outside a runtime. It then cannot spawn a
        // task, and evicts nothing.
        let Ok(runtime) = Handle::try_current() else { return };
        let pending = self.pending_eviction(write_window);
        if !self.pending_evictions.add(id, pending) {
            return;
        }
        let (tiers, id) = (Arc::clone(self), *id);
        runtime.spawn(async move {
            let mut pause = FIRST_PAUSE;
            while let Some(pending) = tiers.pending_evictions.get(&id) {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                let begun = Instant::now();
                let is_evicted = tiers.evict(&id).await.is_ok();
                if pending.is_over(begun, is_evicted)
                    && tiers.pending_evictions.remove(&id, pending)
                {
                    return;
                }
            }
        });
    }

    /// Tries to evict all entries in the background, as [`evict_later`](Self::evict_later) does for
    /// one entry.
    pub(super) fn clear_later(self: &Arc<Self>, write_window: Duration) {
        let Ok(runtime) = Handle::try_current() else { return };
        let pending = self.pending_eviction(write_window);
        let of_all = self.pending_evictions.add_all();
        let tiers = Arc::clone(self);
        runtime.spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                let begun = Instant::now();
                let is_cleared = tiers.clear().await;
                if pending.is_over(begun, is_cleared) {
                    drop(of_all);
                    return;
                }
            }
        });
    }

    fn pending_eviction(&self, write_window: Duration) -> PendingEviction {
        let write_ends = Instant::now() + write_window;
        PendingEviction { write_ends, entry_expires: write_ends + self.settings.cache_ttl }
    }
}
