//! [`Subject`]: the trait that gives the checks their store and its clock.
//!
//! Implemented by the tests of a store, and used by every check.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::store::Store;

/// A store to check, and its clock.
pub trait Subject: Send + Sync + Sized + 'static {
    /// Type of the store.
    type Store: Store;

    /// Creates an empty store. It must be separate from all others, because a check may end all
    /// sessions of its store. Called once for each run of a check.
    fn set_up() -> impl Future<Output = Self> + Send;

    /// Returns a view of the store. All views show the same sessions. If the store has connections,
    /// each view has connections of its own.
    fn store(&self) -> Arc<Self::Store>;

    /// Lets time pass for the store. Sleeps by default. A store with a clock of its own can advance
    /// the clock instead. Then the suite also checks times of minutes and weeks.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send {
        async move { tokio::time::sleep(time).await }
    }

    /// Returns the unit of the checked lifetimes. Defaults to 250 milliseconds.
    ///
    /// All operations of a check together have to take less than one unit. If they take longer than
    /// half a unit and the check fails, the check runs again with twice the unit. The clock of the
    /// store has to be precise enough to distinguish lifetimes of one unit and of two.
    fn unit(&self) -> Duration {
        Duration::from_millis(250)
    }

    /// Returns the maximum number of runs of each race. Defaults to 25. Long races run less often.
    fn rounds(&self) -> usize {
        25
    }
}

/// Lets one unit pass. Returns whether the subject advanced a clock instead of sleeping, so that a
/// check can let a long time pass.
pub(super) async fn advances_a_clock(subject: &impl Subject) -> bool {
    let start = Instant::now();
    subject.pass(subject.unit()).await;
    let advances = start.elapsed() < subject.unit() / 2;
    if !advances {
        tracing::info!("the subject sleeps, so checks of long times are shorter");
    }
    advances
}
