//! [`Transaction`]: an operation in two round trips.
//!
//! Used by the store and the cleanup. The first round trip locks and reads. The second one writes
//! what the rules of a session decide, and commits.

use std::sync::Arc;

use super::{
    error::StatementError,
    executor::{Answer, Attempt, Executor, Work},
    opening::{Opened, Opening},
    script::Script,
    tables::Tables,
};
use crate::store::StoreError;

/// An operation on locked rows.
pub(super) trait Operation: Send + Sync + 'static {
    type Answer: Send + 'static;

    /// Adds the rows to lock and to read.
    fn open(&self, opening: &mut Opening<'_>);

    /// Returns the answer, and adds the statements that have to be carried out for it.
    ///
    /// # Errors
    ///
    /// Fails if the operation is refused. Nothing is changed.
    fn decide(
        &self,
        tables: &Tables,
        opened: &Opened,
        writes: &mut Script,
    ) -> Result<Self::Answer, StoreError>;

    /// Corrects the answer of the operation, based on the answers of its statements.
    fn complete(&self, answer: Self::Answer, written: &[Answer]) -> Self::Answer {
        let _ = written;
        answer
    }
}

/// The [`Work`] of an operation.
pub(super) struct Transaction<O> {
    pub(super) executor: Arc<Executor>,
    pub(super) operation: O,
}

impl<O: Operation> Work for Transaction<O> {
    type Answer = O::Answer;

    async fn run(&self, attempt: &mut Attempt<'_>) -> Result<O::Answer, StatementError> {
        let tables = &self.executor.tables;
        let mut opening = Opening::new(tables);
        self.operation.open(&mut opening);
        let opened = opening.send(attempt).await?;
        let mut writes = Script::default();
        let answer = self.operation.decide(tables, &opened, &mut writes)?;
        if writes.is_empty() {
            return Ok(answer);
        }
        writes.push("commit");
        let written =
            attempt.commit(&writes).await.map_err(StatementError::broken_off_by_duplicate)?;
        if !writes.has_found(written.iter().map(|answer| answer.affected)) {
            return Err(StatementError::broken_off_silently());
        }
        Ok(self.operation.complete(answer, &written))
    }
}
