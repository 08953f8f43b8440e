//! Turns of operations that would get into each other's way: [`Turns`].
//!
//! Used by updates of a session and by stores whose operations lock rows. Knows nothing of sessions
//! and stores: the key is any value.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Mutex as Queue, OwnedMutexGuard},
    time::{Instant, timeout_at},
};

/// Lets one operation at a time use a key, in the order of the calls.
pub(crate) struct Turns<K>(Mutex<HashMap<K, Arc<Queue<()>>>>);

/// The turn of an operation. The next one begins when it is dropped.
pub(crate) struct Turn<'a, K: Eq + Hash> {
    /// Dropped before the place.
    _turn: OwnedMutexGuard<()>,
    _place: Place<'a, K>,
}

/// A place in the queue of a key.
struct Place<'a, K: Eq + Hash> {
    turns: &'a Turns<K>,
    key: K,
    queue: Option<Arc<Queue<()>>>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Waits for a turn until `end`. `None` if there was none.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the queue.
    pub(crate) async fn wait(&self, key: K, end: Instant) -> Option<Turn<'_, K>> {
        let queue = Arc::clone(self.lock().entry(key.clone()).or_default());
        let place = Place { turns: self, key, queue: Some(Arc::clone(&queue)) };
        // A free turn needs no timer, which a runtime may lack.
        let turn = match Arc::clone(&queue).try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => timeout_at(end, queue.lock_owned()).await.ok()?,
        };
        Some(Turn { _turn: turn, _place: place })
    }
}

impl<K> Turns<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Queue<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Drop for Place<'_, K> {
    fn drop(&mut self) {
        let mut queues = self.turns.lock();
        drop(self.queue.take());
        // The last place of a queue removes it.
        if queues.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn turns_are_taken_in_order_and_leave_nothing_behind() {
        let turns = Arc::new(Turns::<u8>::default());
        let first = turns.wait(7, later()).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
                tokio::spawn(async move {
                    let _turn = turns.wait(7, later()).await;
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
        assert!(turns.lock().is_empty());
    }

    #[tokio::test]
    async fn a_turn_that_does_not_come_in_time_leaves_the_queue() {
        let turns = Turns::<u8>::default();
        let first = turns.wait(7, later()).await;
        assert!(turns.wait(8, later()).await.is_some(), "another key has its own turns");
        assert!(turns.wait(7, Instant::now()).await.is_none());
        drop(first);
        assert!(turns.lock().is_empty());
    }
}
