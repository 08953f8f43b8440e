use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::token::Handle;

/// How many sessions may be in doubt at a time. Those beyond are so too, but nothing is done about it.
const ROOM: usize = 100_000;

/// The sessions of which the cache may hold what was replaced, because it could not be told.
#[derive(Default)]
pub(super) struct Doubts {
    /// For each, how often that came to be.
    sessions: Mutex<HashMap<Handle, u64>>,
    count: AtomicUsize,
}

impl Doubts {
    fn lock(&self) -> MutexGuard<'_, HashMap<Handle, u64>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the cache is not to be asked about the session.
    pub(super) fn hold(&self, handle: &Handle) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.lock().contains_key(handle)
    }

    /// Adds a session. Says whether somebody has to see to it: nobody does yet.
    pub(super) fn add(&self, handle: &Handle) -> bool {
        let mut sessions = self.lock();
        if let Some(times) = sessions.get_mut(handle) {
            *times += 1;
            return false;
        }
        let has_room = sessions.len() < ROOM;
        if has_room {
            sessions.insert(*handle, 0);
            self.count.store(sessions.len(), Ordering::Release);
        }
        has_room
    }

    /// How often the session was added.
    pub(super) fn times(&self, handle: &Handle) -> Option<u64> {
        self.lock().get(handle).copied()
    }

    /// Removes a session unless it was added again since.
    pub(super) fn settle(&self, handle: &Handle, times: Option<u64>) -> bool {
        let mut sessions = self.lock();
        if sessions.get(handle).copied() != times {
            return false;
        }
        sessions.remove(handle);
        self.count.store(sessions.len(), Ordering::Release);
        true
    }
}
