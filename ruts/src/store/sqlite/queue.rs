//! The queue between callers and the threads of a store: [`Queue`].
//!
//! Used by the store, the writer and the readers. Knows nothing about operations.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// A queue from which threads take several items in one call.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    is_closed: bool,
    /// Whether the next thread that waits returns without items.
    is_woken: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let state = State { items: VecDeque::new(), is_closed: false, is_woken: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds an item. Returns `false` if the queue is closed.
    pub(super) fn push(&self, item: T) -> bool {
        let mut state = self.lock();
        if state.is_closed {
            return false;
        }
        state.items.push_back(item);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Waits until there are items, and moves at most `max` of them into `taken`. Returns without
    /// items if `until` passes first, or after [`wake`](Self::wake). Returns `false` if the queue
    /// is closed and empty.
    pub(super) fn take(&self, taken: &mut Vec<T>, max: usize, until: Option<Instant>) -> bool {
        let mut state = self.lock();
        loop {
            if !state.items.is_empty() {
                let number = state.items.len().min(max);
                taken.extend(state.items.drain(..number));
                return true;
            }
            if state.is_closed {
                return false;
            }
            let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
            if std::mem::take(&mut state.is_woken) || wait.is_some_and(|wait| wait.is_zero()) {
                return true;
            }
            state = match wait {
                Some(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Makes a waiting thread return without items.
    pub(super) fn wake(&self) {
        self.lock().is_woken = true;
        self.changed.notify_one();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Refuses new items. Threads still take the items that are already queued.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Refuses new items, and drops the items that no thread has taken.
    fn abandon(&self) {
        self.close();
        // Dropped after the lock is released: a drop may wake a caller.
        let items = std::mem::take(&mut self.lock().items);
        drop(items);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Abandons a queue when its thread ends, even by a panic, so that no caller waits for ever.
pub(super) struct AbandonOnDrop<'a, T>(pub(super) &'a Queue<T>);

impl<T> Drop for AbandonOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
