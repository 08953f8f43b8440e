//! The counts of a run: requests, failures by kind, and violations. Used by the load and by the
//! run. This file does not know servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use ruts::store::{StoreError, StoreErrorKind};

use crate::history::Violation;

/// The counts of one store.
#[derive(Default)]
pub struct Report {
    /// The name of the store.
    name: &'static str,
    requests: AtomicU64,
    /// The start of each request that has no answer yet.
    in_progress: Mutex<BTreeSet<(Instant, u64)>>,
    failures: Mutex<Failures>,
    violations: Mutex<Vec<Violation>>,
}

#[derive(Default)]
struct Failures {
    all: Counts,
    /// Failures since the last call of [`Report::take_failures`].
    recent: Counts,
    /// The start of the failed request that began last.
    last: Option<Instant>,
    /// The last error, with its causes.
    last_error: String,
}

/// Failures by operation and kind.
#[derive(Debug, Clone, Default)]
pub struct Counts(BTreeMap<(&'static str, String), u64>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Report {
    /// Creates the counts of the store `name`.
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Counts a request, and waits for its answer.
    pub async fn request<T>(&self, begun: Instant, answer: impl Future<Output = T>) -> T {
        let key = (begun, self.requests.fetch_add(1, Ordering::Relaxed));
        lock(&self.in_progress).insert(key);
        let answer = answer.await;
        lock(&self.in_progress).remove(&key);
        answer
    }

    /// Returns the start of the oldest request that has no answer yet.
    pub fn oldest_in_progress(&self) -> Option<Instant> {
        lock(&self.in_progress).first().map(|(begun, _)| *begun)
    }

    /// Counts a failure of a request that began at `begun`. Corrupt data also counts as a
    /// violation. A sign-in that was overtaken by a revocation by the load does not count.
    pub fn note_failure(&self, operation: &'static str, begun: Instant, error: &StoreError) {
        if error.kind() == StoreErrorKind::Revoked {
            return;
        }
        if error.kind() == StoreErrorKind::Corrupt {
            self.note_violation(Some(format!("{operation}: {error:?}")));
        }
        let mut failures = lock(&self.failures);
        let key = (operation, format!("{:?}", error.kind()));
        *failures.all.0.entry(key.clone()).or_default() += 1;
        *failures.recent.0.entry(key).or_default() += 1;
        failures.last = failures.last.max(Some(begun));
        failures.last_error = format!("{operation}: {}", ruts_tests_stores::error_chain(error));
    }

    /// Records a broken promise, if there is one.
    pub fn note_violation(&self, violation: Option<Violation>) {
        if let Some(violation) = violation {
            println!("{}: VIOLATION: {violation}", self.name);
            lock(&self.violations).push(violation);
        }
    }

    /// Returns the start of the failed request that began last, and the error that was recorded
    /// last.
    pub fn last_failure(&self) -> (Option<Instant>, String) {
        let failures = lock(&self.failures);
        (failures.last, failures.last_error.clone())
    }

    /// Returns the failures since the last call.
    pub fn take_failures(&self) -> Counts {
        std::mem::take(&mut lock(&self.failures).recent)
    }

    /// Returns all failures.
    pub fn failures(&self) -> Counts {
        lock(&self.failures).all.clone()
    }

    /// Returns the number of requests.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns the number of broken promises.
    pub fn violations(&self) -> usize {
        lock(&self.violations).len()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for ((operation, kind), count) in &self.0 {
            write!(f, "{separator}{count} {operation} {kind}")?;
            separator = ", ";
        }
        Ok(())
    }
}
