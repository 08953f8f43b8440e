//! An operation that is sent to a thread, and its answer: [`Task`].
//!
//! Made by `threads`, run by the writer and the readers. Knows nothing about SQL.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::{connection::Database, error::unavailable};
use crate::store::{StoreError, StoreErrorKind};

/// An operation that a thread carries out for a caller.
pub(super) trait Task: Send {
    /// Carries the operation out and keeps its answer. After a rollback, the operation may run
    /// again.
    ///
    /// # Errors
    ///
    /// Fails if the transaction has to be rolled back. A refusal is kept as an answer, and is not
    /// an error here.
    fn run(&mut self, database: &Database) -> Result<(), StoreError>;

    /// Sends the answer, or the failure of its transaction, to the caller.
    fn finish(self: Box<Self>, outcome: Result<(), StoreError>);

    /// Returns whether the caller was dropped.
    fn is_abandoned(&self) -> bool;

    /// Returns whether the operation may use the reserve, because it ends a session, replaces a
    /// secret or signs out. A full disk must not prevent such an operation.
    fn may_use_reserve(&self) -> bool;
}

/// The [`Task`] of a function.
struct Operation<T, F> {
    function: F,
    answer: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
    may_use_reserve: bool,
}

/// Creates a task, and the receiver of its answer.
pub(super) fn task<T: Send + 'static>(
    may_use_reserve: bool,
    function: impl FnMut(&Database) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Task>, oneshot::Receiver<Result<T, StoreError>>) {
    let (caller, answer) = oneshot::channel();
    (Box::new(Operation { function, answer: None, caller, may_use_reserve }), answer)
}

impl<T, F> Task for Operation<T, F>
where
    T: Send,
    F: FnMut(&Database) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, database: &Database) -> Result<(), StoreError> {
        // Unwind safe: after a panic the transaction is rolled back, and the function is run again
        // from its beginning or not at all.
        let answer = catch_unwind(AssertUnwindSafe(|| (self.function)(database)))
            .unwrap_or_else(|_| Err(unavailable("the operation panicked")));
        match answer {
            Err(error) if !is_refusal(&error) => Err(error),
            answer => {
                self.answer = Some(answer);
                Ok(())
            }
        }
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreError>) {
        let answer = match outcome {
            Ok(()) => self.answer,
            Err(error) => Some(Err(error)),
        };
        if let Some(answer) = answer {
            // An error only means that the caller was dropped.
            let _ = self.caller.send(answer);
        }
    }

    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    fn may_use_reserve(&self) -> bool {
        self.may_use_reserve
    }
}

/// Returns whether this error is a refusal. A refused operation has not changed any session, except
/// that it may have deleted an ended session.
fn is_refusal(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Exists | StoreErrorKind::SessionLimit)
}
