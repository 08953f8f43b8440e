use std::{future::Future, sync::Arc, time::Duration};

use crate::store::Store;

/// A store to be checked, and the time it lives in.
pub trait Subject: Send + Sync + Sized + 'static {
    /// The store.
    type Store: Store;

    /// Makes it ready, in a place of its own: one of the checks ends all sessions there are. Called once
    /// for each check.
    fn set_up() -> impl Future<Output = Self> + Send;

    /// A client of the store. Two calls give two views of the same sessions, with connections of
    /// their own where the store has such.
    fn store(&self) -> Arc<Self::Store>;

    /// Lets time pass for the store. By default it really passes; a store with a clock of its own
    /// can do it at once.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send {
        async move { tokio::time::sleep(time).await }
    }

    /// The shortest lifetime that can be told from twice as much, and longer than any one
    /// operation takes. 250 milliseconds by default.
    fn unit(&self) -> Duration {
        Duration::from_millis(250)
    }

    /// How often a race is run. 25 times by default.
    fn rounds(&self) -> usize {
        25
    }
}
