//! Sessions whose cache entry may be stale and has not been evicted yet: [`PendingEvictions`].
//!
//! A write that could not reach the cache adds its session. Reads of that session bypass the cache.
//! [`Tiers`](super::tiers::Tiers) sends the evictions.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use crate::token::SessionId;

/// Maximum number of sessions with a pending eviction. Beyond this number, the stale entry of a
/// session stays until it expires.
const CAPACITY: usize = 100_000;

/// The sessions with a pending eviction.
#[derive(Default)]
pub(super) struct PendingEvictions {
    sessions: Mutex<HashMap<SessionId, PendingEviction>>,
    /// Length of `sessions`, for reads that take no lock.
    count: AtomicUsize,
    /// Number of pending evictions of the whole cache.
    of_all: Arc<AtomicUsize>,
}

/// A pending eviction of the whole cache. It ends when this value is dropped.
pub(super) struct PendingEvictionOfAll(Arc<AtomicUsize>);

impl Drop for PendingEvictionOfAll {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The moments that end the pending eviction of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingEviction {
    /// The write may take place until this moment, so an earlier eviction does not count.
    pub(super) write_ends: Instant,
    /// By this moment every stale entry has expired.
    pub(super) entry_expires: Instant,
}

impl PendingEviction {
    /// Returns whether the eviction is over after an attempt that began at `begun`.
    pub(super) fn is_over(&self, begun: Instant, is_evicted: bool) -> bool {
        begun >= self.entry_expires || (is_evicted && begun >= self.write_ends)
    }
}

impl PendingEvictions {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, PendingEviction>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether reads of the session must bypass the cache.
    pub(super) fn includes(&self, id: &SessionId) -> bool {
        self.of_all.load(Ordering::Acquire) > 0
            || (self.count.load(Ordering::Acquire) > 0 && self.lock().contains_key(id))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of_all.load(Ordering::Acquire) == 0 && self.count.load(Ordering::Acquire) == 0
    }

    pub(super) fn add_all(&self) -> PendingEvictionOfAll {
        self.of_all.fetch_add(1, Ordering::AcqRel);
        PendingEvictionOfAll(Arc::clone(&self.of_all))
    }

    /// Adds a session. Returns `true` if the caller has to evict the session's entry. Returns
    /// `false` if another task is already evicting the entry, or if the list is full.
    pub(super) fn add(&self, id: &SessionId, pending: PendingEviction) -> bool {
        let mut sessions = self.lock();
        if let Some(held) = sessions.get_mut(id) {
            held.write_ends = held.write_ends.max(pending.write_ends);
            held.entry_expires = held.entry_expires.max(pending.entry_expires);
            return false;
        }
        let has_room = sessions.len() < CAPACITY;
        if has_room {
            sessions.insert(*id, pending);
            self.count.store(sessions.len(), Ordering::Release);
        }
        has_room
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<PendingEviction> {
        self.lock().get(id).copied()
    }

    /// Removes a session and returns `true`. If another write has prolonged the eviction since the
    /// caller got `seen`, keeps the session and returns `false`.
    pub(super) fn remove(&self, id: &SessionId, seen: PendingEviction) -> bool {
        let mut sessions = self.lock();
        if sessions.get(id).is_some_and(|held| *held != seen) {
            return false;
        }
        sessions.remove(id);
        self.count.store(sessions.len(), Ordering::Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pending_evictions_take_bounded_memory() {
        let (pending, now) = (PendingEvictions::default(), Instant::now());
        let eviction =
            PendingEviction { write_ends: now, entry_expires: now + Duration::from_secs(60) };
        let id = |number: usize| SessionId::from_bytes((number as u128).to_be_bytes());
        for number in 0..CAPACITY {
            assert!(pending.add(&id(number), eviction));
        }
        assert!(!pending.add(&id(CAPACITY), eviction));
        assert!(!pending.includes(&id(CAPACITY)));
        assert!(pending.remove(&id(0), eviction));
        assert!(pending.add(&id(CAPACITY), eviction), "there should be room again");
    }
}
