//! [`run`]: runs a check that depends on time, and repeats it with longer times on a slow machine.
//!
//! Called by the tests that `conformance_tests!` generates. Knows nothing about the checks.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use super::subject::Subject;

/// Maximum number of runs of a check. The last unit is eight times the first.
const ATTEMPTS: u32 = 4;

/// A subject that records the time that its check lets pass.
#[derive(Debug)]
pub struct Timed<T> {
    subject: T,
    factor: u32,
    /// Nanoseconds that the check has let pass.
    passed: AtomicU64,
}

/// Runs a check on a new subject.
///
/// A check assumes that its operations together take less time than the unit. If the check fails
/// and its operations took longer than half a unit, the failure does not prove a fault of the
/// store. Then the check runs again with twice the unit.
///
/// # Panics
///
/// Panics if the store fails the check.
pub async fn run<T: Subject>(check: impl AsyncFn(&Timed<T>)) {
    for attempt in 1..=ATTEMPTS {
        let subject = T::set_up().await;
        let timed = Timed { subject, factor: 1 << (attempt - 1), passed: AtomicU64::new(0) };
        let start = Instant::now();
        let Err(failure) = catch(check(&timed)).await else { return };
        let passed = Duration::from_nanos(timed.passed.load(Ordering::Relaxed));
        let is_slow = start.elapsed().saturating_sub(passed) > timed.unit() / 2;
        if attempt == ATTEMPTS || !is_slow {
            resume_unwind(failure);
        }
        tracing::warn!(
            unit = ?timed.unit(),
            "the machine is slow, so the check runs again with twice the unit"
        );
    }
}

/// Runs a future to its end, and returns its panic as an error.
async fn catch<F: Future>(future: F) -> std::thread::Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

impl<T: Subject> Subject for Timed<T> {
    type Store = T::Store;

    async fn set_up() -> Self {
        Self { subject: T::set_up().await, factor: 1, passed: AtomicU64::new(0) }
    }

    fn store(&self) -> Arc<T::Store> {
        self.subject.store()
    }

    async fn pass(&self, time: Duration) {
        self.passed.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
        self.subject.pass(time).await;
    }

    fn unit(&self) -> Duration {
        self.subject.unit() * self.factor
    }

    fn rounds(&self) -> usize {
        self.subject.rounds()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::store::memory::MemoryStore;

    /// A store, and the unit in milliseconds.
    struct InMemory<const UNIT: u64>(Arc<MemoryStore>);

    impl<const UNIT: u64> Subject for InMemory<UNIT> {
        type Store = MemoryStore;

        async fn set_up() -> Self {
            Self(Arc::new(MemoryStore::new()))
        }

        fn store(&self) -> Arc<MemoryStore> {
            Arc::clone(&self.0)
        }

        fn unit(&self) -> Duration {
            Duration::from_millis(UNIT)
        }
    }

    #[tokio::test]
    async fn a_failure_on_a_slow_machine_is_tried_again() {
        let runs = AtomicUsize::new(0);
        run(async |subject: &Timed<InMemory<20>>| {
            runs.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert!(subject.unit() > Duration::from_millis(30), "the unit is too short");
        })
        .await;
        assert_eq!(runs.into_inner(), 2);
    }

    #[tokio::test]
    #[should_panic(expected = "the store is wrong")]
    async fn a_failure_on_a_fast_machine_is_final() {
        let runs = AtomicUsize::new(0);
        run(async |_: &Timed<InMemory<3_600_000>>| {
            assert_eq!(runs.fetch_add(1, Ordering::Relaxed), 0, "the check should run only once");
            panic!("the store is wrong");
        })
        .await;
    }
}
