//! [`Watchers`]: wakes those who watch a session when it changes.
//!
//! Used by the stores in this process and by the receiving end of a channel. Knows ids, and nothing
//! about what changed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::token::SessionId;

/// The watched sessions. Clones share them.
///
/// A change wakes only the watchers of its session. If it woke all watchers, one user who signs in
/// and out again and again would keep the whole process busy.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Watchers(Arc<Mutex<HashMap<SessionId, watch::Sender<()>>>>);

/// Waits for one change. Stops watching when it is dropped.
struct Watcher {
    watchers: Watchers,
    id: SessionId,
    /// Present until the watcher is dropped.
    changed: Option<watch::Receiver<()>>,
}

impl Watchers {
    /// Watches a session from now on. The future ends at its next change.
    pub(in crate::store) fn watch(
        &self,
        id: &SessionId,
    ) -> impl Future<Output = ()> + Send + use<> {
        let changed = self.lock().entry(*id).or_default().subscribe();
        let mut watcher = Watcher { watchers: self.clone(), id: *id, changed: Some(changed) };
        async move {
            if let Some(changed) = &mut watcher.changed {
                // An error would mean that the sender is gone. It stays as long as it has a
                // receiver.
                let _ = changed.changed().await;
            }
        }
    }

    /// Wakes the watchers of a session, or all watchers if it is not known which session has
    /// changed.
    pub(in crate::store) fn wake(&self, changed: Option<SessionId>) {
        let watched: Vec<watch::Sender<()>> = match changed {
            Some(id) => self.lock().get(&id).cloned().into_iter().collect(),
            None => self.lock().values().cloned().collect(),
        };
        // Not under the lock: an executor may drop a watcher while it is woken.
        for watched in watched {
            watched.send_replace(());
        }
    }

    /// Returns whether a session is watched.
    #[cfg(feature = "sqlite-store")]
    pub(in crate::store) fn is_watched(&self) -> bool {
        !self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut watched = self.watchers.lock();
        // Dropped under the lock, so that the last of several watchers finds no other receiver.
        self.changed = None;
        if watched.get(&self.id).is_some_and(|sender| sender.receiver_count() == 0) {
            watched.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::{Context, Waker},
    };

    use super::*;

    fn is_awake(future: Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_change_wakes_only_the_watchers_of_its_session() {
        let (watchers, [a, b]) =
            (Watchers::default(), [[1; 16], [2; 16]].map(SessionId::from_bytes));
        let [mut first, mut second] = [&a, &a].map(|id| Box::pin(watchers.watch(id)));
        let mut other = pin!(watchers.watch(&b));
        watchers.wake(Some(a));
        assert!(is_awake(first.as_mut()) && is_awake(second.as_mut()));
        assert!(!is_awake(other.as_mut()));
        watchers.wake(None);
        assert!(is_awake(other.as_mut()));
    }

    #[test]
    fn a_session_without_watchers_takes_no_memory() {
        let (watchers, id) = (Watchers::default(), SessionId::from_bytes([1; 16]));
        let (first, second) = (watchers.watch(&id), watchers.watch(&id));
        drop(first);
        assert_eq!(watchers.lock().len(), 1);
        drop(second);
        assert_eq!(watchers.lock().len(), 0);
    }
}
