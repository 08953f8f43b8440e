//! The queue of a session for updates of its fields: [`turn`].
//!
//! `Session::update` reads a field, changes it, and writes it if it has not changed since. Of many
//! at once in a process, each but one would fail at each try. In the queue they succeed one after
//! the other. It knows sessions by id alone, and nothing of stores: the write still compares,
//! because other processes have queues of their own.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as Queue, OwnedMutexGuard},
    time::timeout,
};

use crate::token::SessionId;

/// Maximum time in the queue. After that an update competes with others.
///
/// It bounds the wait behind a store that does not answer.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The queues of sessions with updates in progress.
static QUEUES: LazyLock<Mutex<HashMap<SessionId, Arc<Queue<()>>>>> = LazyLock::new(Mutex::default);

/// The turn of an update. The next one begins when it is dropped.
pub(super) struct Turn {
    /// Dropped before the place.
    _turn: Option<OwnedMutexGuard<()>>,
    _place: Place,
}

/// A place in the queue of a session.
struct Place {
    id: SessionId,
    queue: Option<Arc<Queue<()>>>,
}

/// Waits for the turn of an update of the session. Turns are given in the order of the calls.
///
/// # Cancel safety
///
/// A dropped future leaves the queue.
pub(super) async fn turn(id: SessionId) -> Turn {
    let queue = Arc::clone(queues().entry(id).or_default());
    let place = Place { id, queue: Some(Arc::clone(&queue)) };
    // A free turn needs no timer, which a runtime may lack.
    let turn = match Arc::clone(&queue).try_lock_owned() {
        Ok(turn) => Some(turn),
        Err(_) => timeout(MAX_WAIT, queue.lock_owned()).await.ok(),
    };
    Turn { _turn: turn, _place: place }
}

fn queues() -> MutexGuard<'static, HashMap<SessionId, Arc<Queue<()>>>> {
    QUEUES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = queues();
        drop(self.queue.take());
        // The last place of a queue removes it.
        if queues.get(&self.id).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_are_taken_in_order_and_leave_nothing_behind() {
        let id = SessionId::from_bytes([7; 16]);
        let first = turn(id).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let order = Arc::clone(&order);
                tokio::spawn(async move {
                    let _turn = turn(id).await;
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        // One that is cancelled leaves the queue.
        tasks[1].abort();
        drop(first);
        for task in tasks {
            let _ = task.await;
        }
        assert_eq!(*order.lock().unwrap(), [0, 2]);
        assert!(!queues().contains_key(&id));
    }
}
