use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use crate::token::SessionId;

/// How many sessions may be in doubt at a time. Those beyond are so too, but nothing is done about it.
const ROOM: usize = 100_000;

/// The sessions of which the cache may hold what was replaced, because it could not be told.
#[derive(Default)]
pub(super) struct Doubts {
    sessions: Mutex<HashMap<SessionId, Doubt>>,
    count: AtomicUsize,
    /// How many are in doubt about every session.
    about_all: Arc<AtomicUsize>,
}

/// Doubt about every session, as long as it is held.
pub(super) struct AboutAll(Arc<AtomicUsize>);

impl Drop for AboutAll {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How long a session is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The write may take place until then: before, nothing is settled.
    pub(super) open_until: Instant,
    /// From then on the cache holds nothing of before anyway.
    pub(super) ends: Instant,
}

impl Doubts {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Doubt>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the cache is not to be asked about the session.
    pub(super) fn hold(&self, id: &SessionId) -> bool {
        self.about_all.load(Ordering::Acquire) > 0
            || (self.count.load(Ordering::Acquire) > 0 && self.lock().contains_key(id))
    }

    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        self.about_all.load(Ordering::Acquire) > 0 || self.count.load(Ordering::Acquire) > 0
    }

    pub(super) fn about_all(&self) -> AboutAll {
        self.about_all.fetch_add(1, Ordering::AcqRel);
        AboutAll(Arc::clone(&self.about_all))
    }

    /// Adds a session. Says whether somebody has to see to it: nobody does yet.
    pub(super) fn add(&self, id: &SessionId, doubt: Doubt) -> bool {
        let mut sessions = self.lock();
        if let Some(held) = sessions.get_mut(id) {
            held.open_until = held.open_until.max(doubt.open_until);
            held.ends = held.ends.max(doubt.ends);
            return false;
        }
        let has_room = sessions.len() < ROOM;
        if has_room {
            sessions.insert(*id, doubt);
            self.count.store(sessions.len(), Ordering::Release);
        }
        has_room
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Doubt> {
        self.lock().get(id).copied()
    }

    /// Removes a session, unless there is more doubt about it than when it was looked at.
    pub(super) fn settle(&self, id: &SessionId, looked_at: Doubt) -> bool {
        let mut sessions = self.lock();
        if sessions.get(id).is_some_and(|held| *held != looked_at) {
            return false;
        }
        sessions.remove(id);
        self.count.store(sessions.len(), Ordering::Release);
        true
    }
}
