//! The store that is checked: the [`Subject`] trait.
//!
//! Implemented by the tests of a store, and used by every check.

use std::{future::Future, sync::Arc, time::Duration};

use crate::store::Store;

/// A store to check, and its time.
pub trait Subject: Send + Sync + Sized + 'static {
    /// Type of the store.
    type Store: Store;

    /// Creates an empty store, separate from all others: a check ends all sessions of its store.
    /// Called once for each check.
    fn set_up() -> impl Future<Output = Self> + Send;

    /// Returns the store. Two calls return two views of the same sessions, each with connections of
    /// its own where the store has connections.
    fn store(&self) -> Arc<Self::Store>;

    /// Lets time pass for the store. By default it sleeps. A store with a clock of its own can
    /// advance it instead.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send {
        async move { tokio::time::sleep(time).await }
    }

    /// Returns the unit of the checked lifetimes. It has to be longer than the operations of a check
    /// take together. On a machine that is too slow for it, a failed check runs again with twice the
    /// unit. The store has to distinguish the unit from twice as much. 250 milliseconds by default.
    fn unit(&self) -> Duration {
        Duration::from_millis(250)
    }

    /// Returns how often each race runs. 25 times by default.
    fn rounds(&self) -> usize {
        25
    }
}
