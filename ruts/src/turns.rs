//! [`Turns`]: runs operations with the same key one at a time, in the order of their arrival.
//!
//! Used by `update_queue` of the session, and by stores whose operations exclude each other. Knows
//! nothing about sessions or stores: the key is any value.

use std::{
    collections::HashMap,
    hash::Hash,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, timeout, timeout_at},
};

/// Lets one operation at a time use a key, in the order of the calls.
pub(crate) struct Turns<K>(Mutex<HashMap<K, Arc<Queue>>>);

/// The operations that use a key or wait for it.
#[derive(Default)]
struct Queue {
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Number of turns that have begun.
    turns: AtomicUsize,
}

/// The turn of an operation. The next turn of the key begins when this `Turn` is dropped.
pub(crate) struct Turn<'a, K: Eq + Hash> {
    /// Dropped before `_place`.
    _turn: OwnedMutexGuard<()>,
    _place: Place<'a, K>,
}

/// A place in the queue of a key.
struct Place<'a, K: Eq + Hash> {
    turns: &'a Turns<K>,
    key: K,
    queue: Option<Arc<Queue>>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Waits for a turn until `end`. `None` if the turn did not begin by then.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the queue.
    #[cfg_attr(
        not(any(
            feature = "layered-store",
            feature = "mysql-store",
            feature = "postgres-store",
            feature = "redis-rs-store",
            feature = "redis-store"
        )),
        allow(dead_code, reason = "only these stores bound the wait")
    )]
    pub(crate) async fn wait(&self, key: K, end: Instant) -> Option<Turn<'_, K>> {
        let until_end = |queue: Arc<Queue>| async move {
            timeout_at(end, Arc::clone(&queue.lock).lock_owned()).await.ok()
        };
        self.take(key, until_end).await
    }

    /// Waits for a turn as long as other turns of the key keep beginning. `None` if no turn of the
    /// key begins within `patience`.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the queue.
    pub(crate) async fn wait_while_moving(
        &self,
        key: K,
        patience: Duration,
    ) -> Option<Turn<'_, K>> {
        let while_moving = |queue: Arc<Queue>| async move {
            let mut waiting = pin!(Arc::clone(&queue.lock).lock_owned());
            loop {
                let before = queue.turns.load(Ordering::Relaxed);
                match timeout(patience, waiting.as_mut()).await {
                    Ok(turn) => return Some(turn),
                    Err(_) if queue.turns.load(Ordering::Relaxed) == before => return None,
                    Err(_) => {}
                }
            }
        };
        self.take(key, while_moving).await
    }

    /// Takes a turn: immediately if no operation uses the key, and otherwise after `wait`.
    async fn take<W>(&self, key: K, wait: impl FnOnce(Arc<Queue>) -> W) -> Option<Turn<'_, K>>
    where
        W: Future<Output = Option<OwnedMutexGuard<()>>>,
    {
        // `queue` is dropped before `place`, because the drop of `place` counts the references to
        // the queue.
        let (place, queue) = self.join(key);
        // If no operation uses the key, no timer is needed. The runtime may not have one.
        let turn = match Arc::clone(&queue.lock).try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => wait(Arc::clone(&queue)).await?,
        };
        queue.turns.fetch_add(1, Ordering::Relaxed);
        Some(Turn { _turn: turn, _place: place })
    }

    fn join(&self, key: K) -> (Place<'_, K>, Arc<Queue>) {
        let queue = Arc::clone(self.lock().entry(key.clone()).or_default());
        let place = Place { turns: self, key, queue: Some(Arc::clone(&queue)) };
        (place, queue)
    }
}

impl<K> Turns<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Queue>>> {
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
        // When the last place of a queue is dropped, the queue is removed.
        if queues.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
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
        // A cancelled operation leaves the queue.
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
        assert!(
            turns.wait(8, later()).await.is_some(),
            "a different key should have turns of its own"
        );
        assert!(turns.wait(7, Instant::now()).await.is_none());
        drop(first);
        assert!(turns.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_is_left_only_if_it_does_not_move() {
        let turns = Arc::new(Turns::<u8>::default());
        let patience = Duration::from_secs(5);
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move {
                    let turn = turns.wait_while_moving(7, patience).await;
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    turn.is_some()
                })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap(), "the wait of up to 27 seconds should end with a turn");
        }
        let _held = turns.wait(7, later()).await;
        let begun = Instant::now();
        assert!(turns.wait_while_moving(7, patience).await.is_none());
        assert_eq!(begun.elapsed(), patience);
    }
}
