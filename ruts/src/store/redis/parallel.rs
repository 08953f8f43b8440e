//! [`run_all`]: makes several calls at the same time, as one operation.
//!
//! Used by the executor and the principal list. Knows tasks and errors, and nothing about what the
//! calls do.

use std::future::Future;

use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use super::error::NAME;
use crate::store::{StoreError, StoreErrorKind};

/// Maximum number of commands that are sent at the same time for one operation.
pub(super) const MAX_PARALLEL: usize = 256;

/// Makes calls, up to [`MAX_PARALLEL`] at the same time, and returns their answers in order.
///
/// After a failure, it starts no further calls, and waits for the calls in progress. So no call
/// takes effect after the operation has failed. If the outcome of any call is unknown, so is the
/// outcome of the operation. If the future is dropped, the calls continue.
pub(super) async fn run_all<T: Send + 'static>(
    calls: impl Iterator<Item = impl Future<Output = Result<T, StoreError>> + Send + 'static>,
) -> Result<Vec<T>, StoreError> {
    let calls: Vec<_> = calls.map(Instrument::in_current_span).collect();
    let all = async move {
        let mut tasks = JoinSet::new();
        let mut progress = Progress { answers: Vec::with_capacity(calls.len()), failure: None };
        for (index, call) in calls.into_iter().enumerate() {
            if tasks.len() >= MAX_PARALLEL
                && let Some(done) = tasks.join_next().await
            {
                progress.note(done);
            }
            if progress.failure.is_some() {
                break;
            }
            tasks.spawn(async move { (index, call.await) });
        }
        while let Some(done) = tasks.join_next().await {
            progress.note(done);
        }
        progress
    };
    let mut progress = tokio::spawn(all).await.map_err(task_failed)?;
    match progress.failure {
        Some(failure) => Err(failure),
        None => {
            progress.answers.sort_unstable_by_key(|(index, _)| *index);
            Ok(progress.answers.into_iter().map(|(_, answer)| answer).collect())
        }
    }
}

/// Returns the error of a task that panicked, or that the runtime dropped while shutting down.
fn task_failed(error: JoinError) -> StoreError {
    StoreError::new(NAME, StoreErrorKind::OutcomeUnknown).with_source(error)
}

/// The answers and the failure of the calls that are over.
struct Progress<T> {
    /// The answers, each with the index of its call.
    answers: Vec<(usize, T)>,
    failure: Option<StoreError>,
}

impl<T> Progress<T> {
    fn note(&mut self, done: Result<(usize, Result<T, StoreError>), JoinError>) {
        let error = match done {
            Ok((index, Ok(answer))) => return self.answers.push((index, answer)),
            Ok((_, Err(error))) => error,
            Err(error) => task_failed(error),
        };
        if self.failure.is_none() || error.kind() == StoreErrorKind::OutcomeUnknown {
            self.failure = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::time::sleep;

    use super::*;

    fn error(kind: StoreErrorKind) -> Result<usize, StoreError> {
        Err(StoreError::new(NAME, kind))
    }

    #[tokio::test(start_paused = true)]
    async fn answers_come_in_the_order_of_the_calls() {
        let calls = (0..1000).map(|index| async move {
            sleep(Duration::from_millis(1000 - index as u64)).await;
            Ok(index)
        });
        assert_eq!(run_all(calls).await.unwrap(), (0..1000).collect::<Vec<usize>>());
    }

    /// If an operation failed before all its calls were over, a late call could end a session that
    /// was created after the failure. The soak test found this case.
    #[tokio::test(start_paused = true)]
    async fn a_failure_waits_for_the_calls_in_progress_and_begins_no_other() {
        static OVER: AtomicUsize = AtomicUsize::new(0);
        let calls = (0..1000).map(|index| async move {
            if index == 3 {
                return error(StoreErrorKind::Unavailable);
            }
            sleep(Duration::from_secs(1)).await;
            OVER.fetch_add(1, Ordering::Relaxed);
            Ok(index)
        });
        let failure = run_all(calls).await.unwrap_err();
        assert_eq!(failure.kind(), StoreErrorKind::Unavailable);
        assert_eq!(OVER.load(Ordering::Relaxed), MAX_PARALLEL - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_calls_of_a_dropped_operation_go_on() {
        static OVER: AtomicUsize = AtomicUsize::new(0);
        let calls = (0..1000).map(|_| async {
            sleep(Duration::from_secs(1)).await;
            OVER.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let operation = tokio::time::timeout(Duration::from_millis(1), run_all(calls));
        assert!(operation.await.is_err());
        sleep(Duration::from_secs(60)).await;
        assert_eq!(OVER.load(Ordering::Relaxed), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_outcome_of_a_part_is_that_of_the_whole() {
        for (first, second) in [
            (StoreErrorKind::Unavailable, StoreErrorKind::OutcomeUnknown),
            (StoreErrorKind::OutcomeUnknown, StoreErrorKind::Unavailable),
        ] {
            let calls = [(first, 1), (second, 2)].into_iter().map(|(kind, delay)| async move {
                sleep(Duration::from_secs(delay)).await;
                error(kind)
            });
            let failure = run_all(calls).await.unwrap_err();
            assert_eq!(failure.kind(), StoreErrorKind::OutcomeUnknown);
        }
    }
}
