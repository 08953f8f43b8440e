//! Sends scripts to the server: [`Executor`].
//!
//! Used by the store and its operations. Knows connections, transactions and the timeout. Knows
//! nothing about the effects of a statement.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Either, Executor as _, MySql, MySqlConnection, MySqlPool, mysql::MySqlRow,
    pool::PoolConnection,
};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::{
    error::{
        StatementError, connection_error, is_full, shut_down, statement_error, timed_out, too_large,
    },
    script::Script,
    tables::Tables,
};
use crate::{
    store::{
        StoreError, StoreErrorKind,
        sql::{Connections, Dispatch, FinishOnDrop, Patience, Retry, Taken},
    },
    turns::{Turn, Turns},
};

pub(super) struct Executor {
    connections: Connections<MySql>,
    pub(super) timeout: Duration,
    pub(super) tables: Tables,
    patience: Patience,
    /// Maximum length of a script, in bytes. The server closes the connection after a longer one.
    max_text: AtomicUsize,
    /// Turns of the operations that lock a session or a principal. Without turns, the server would
    /// make these operations wait, and each would hold a connection.
    turns: Turns<Box<[u8]>>,
}

/// The answer of one statement.
pub(super) struct Answer {
    pub(super) rows: Vec<MySqlRow>,
    /// Number of rows that an insertion, update or deletion found.
    pub(super) affected: u64,
}

/// An operation that takes one or several round trips on one connection.
pub(super) trait Work: Send + Sync + 'static {
    type Answer: Send + 'static;

    /// Carries the operation out. After a failure that changed nothing, the operation may run
    /// again.
    fn run(
        &self,
        attempt: &mut Attempt<'_>,
    ) -> impl Future<Output = Result<Self::Answer, StatementError>> + Send;
}

impl Executor {
    /// Creates an executor, which tests a connection that was idle for `test_after` before its next
    /// use.
    pub(super) fn new(
        pool: MySqlPool,
        tables: Tables,
        timeout: Duration,
        test_after: Duration,
    ) -> Self {
        let patience = Patience::new(pool.options().get_max_connections(), timeout);
        let connections = Connections::new(pool, test_after, timeout, is_full);
        let max_text = AtomicUsize::new(usize::MAX);
        Self { connections, timeout, tables, patience, max_text, turns: Turns::default() }
    }

    pub(super) const fn pool(&self) -> &MySqlPool {
        self.connections.pool()
    }

    pub(super) fn set_max_text(&self, bytes: usize) {
        self.max_text.store(bytes, Ordering::Relaxed);
    }

    /// Waits until no other operation of this store locks the session or principal, but not beyond
    /// `end`.
    pub(super) async fn turn(
        &self,
        key: &[u8],
        end: Instant,
    ) -> Result<Turn<'_, Box<[u8]>>, StoreError> {
        let turn = self.turns.wait(key.into(), end).await;
        turn.ok_or_else(|| timed_out(StoreErrorKind::Unavailable))
    }

    /// Returns whether the server accepts a script of this length.
    pub(super) fn accepts(&self, script: &Script) -> bool {
        script.text().len() <= self.max_text.load(Ordering::Relaxed)
    }

    /// Returns the deadline of an operation that begins now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Carries an operation out before the deadline.
    ///
    /// # Cancel safety
    ///
    /// A separate task carries the operation out, so the future can be dropped. Without the task,
    /// dropping the future would close the connection, or make the next statement on that
    /// connection wait.
    pub(super) async fn run<W: Work>(
        self: &Arc<Self>,
        work: W,
        deadline: Instant,
    ) -> Result<W::Answer, StatementError> {
        let dispatch = Arc::new(Dispatch::default());
        let task = tokio::spawn(self.begin(work, &dispatch, deadline));
        let answer = async { task.await.unwrap_or_else(|_| Err(shut_down().into())) };
        dispatch.wait(answer, deadline).await.unwrap_or_else(|kind| Err(timed_out(kind).into()))
    }

    /// Like [`run`](Self::run), but polls the operation in the task of the caller. Until the future
    /// is polled again, it holds a connection, and may hold locks on the server.
    pub(super) async fn run_inline<W: Work>(
        self: &Arc<Self>,
        work: W,
        deadline: Instant,
    ) -> Result<W::Answer, StatementError> {
        let dispatch = Arc::new(Dispatch::default());
        let answer = FinishOnDrop::new(self.begin(work, &dispatch, deadline));
        dispatch.wait(answer, deadline).await.unwrap_or_else(|kind| Err(timed_out(kind).into()))
    }

    /// Returns the future that carries an operation out, unless `dispatch` is cancelled first.
    fn begin<W: Work>(
        self: &Arc<Self>,
        work: W,
        dispatch: &Arc<Dispatch>,
        deadline: Instant,
    ) -> impl Future<Output = Result<W::Answer, StatementError>> + Send + use<W> {
        let carried_out = Arc::clone(self).carry_out(work, Arc::clone(dispatch), deadline);
        carried_out.in_current_span()
    }

    /// Runs an operation until it succeeds, cannot be repeated, or is out of time.
    async fn carry_out<W: Work>(
        self: Arc<Self>,
        work: W,
        dispatch: Arc<Dispatch>,
        deadline: Instant,
    ) -> Result<W::Answer, StatementError> {
        let mut retry = Retry::new(self.connections.pool(), deadline);
        loop {
            let taken = self.connections.take(deadline).await.map_err(connection_error)?;
            let Taken { connection, is_new } = taken;
            if dispatch.is_cancelled() {
                self.connections.give_back(connection);
                return Err(timed_out(StoreErrorKind::Unavailable).into());
            }
            let mut attempt = Attempt {
                executor: &self,
                connection: Some(connection),
                in_transaction: false,
                dispatch: &dispatch,
                deadline,
            };
            let mut answer = work.run(&mut attempt).await;
            match &mut answer {
                Ok(_) => self.connections.note_fit(is_new),
                Err(failed) if failed.is_unfit => {
                    failed.connection_is_dead =
                        self.connections.note_unfit(is_new, &mut retry.replacing);
                }
                Err(_) => {}
            }
            attempt.finish(answer.as_ref().is_err_and(|failed| failed.connection_is_dead));
            let failed = match answer {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let can_repeat = failed.can_repeat();
            if !retry.attempt_again(can_repeat, failed.connection_is_dead, &dispatch).await {
                return Err(failed);
            }
        }
    }
}

/// A script that commits what it changes. The answer is the number of rows that its last statement
/// found.
pub(super) struct Write(pub(super) Script);

impl Work for Write {
    type Answer = u64;

    async fn run(&self, attempt: &mut Attempt<'_>) -> Result<u64, StatementError> {
        let Self(script) = self;
        let answers = attempt.commit(script).await?;
        if !script.has_found(answers.iter().map(|answer| answer.affected)) {
            return Err(StatementError::broken_off_silently());
        }
        Ok(answers.last().map_or(0, |answer| answer.affected))
    }
}

/// An attempt to carry out an operation on one connection.
pub(super) struct Attempt<'a> {
    executor: &'a Arc<Executor>,
    /// Present until the end of the attempt.
    connection: Option<PoolConnection<MySql>>,
    /// Whether the server may hold a transaction open.
    in_transaction: bool,
    dispatch: &'a Dispatch,
    deadline: Instant,
}

impl Attempt<'_> {
    /// Sends a script that only reads, in one round trip.
    pub(super) async fn read(&mut self, script: &Script) -> Result<Vec<Answer>, StatementError> {
        self.send(script, false).await
    }

    /// Sends a script that begins a transaction, in one round trip.
    pub(super) async fn begin(&mut self, script: &Script) -> Result<Vec<Answer>, StatementError> {
        self.in_transaction = true;
        self.send(script, false).await
    }

    /// Sends a script that commits what it changes, in one round trip.
    ///
    /// # Errors
    ///
    /// Fails if a statement failed, or if the script was not sent because the caller has timed out
    /// or was dropped.
    pub(super) async fn commit(&mut self, script: &Script) -> Result<Vec<Answer>, StatementError> {
        if !self.dispatch.send() {
            return Err(timed_out(StoreErrorKind::Unavailable).into());
        }
        // Until its last statement, the script may have an open transaction.
        self.in_transaction = true;
        let answers = self.send(script, true).await?;
        self.in_transaction = false;
        Ok(answers)
    }

    async fn send(
        &mut self,
        script: &Script,
        can_change: bool,
    ) -> Result<Vec<Answer>, StatementError> {
        if !self.executor.accepts(script) {
            return Err(too_large().into());
        }
        let Some(connection) = &mut self.connection else { return Err(shut_down().into()) };
        let running = run(script, connection, can_change);
        let answer = self.executor.patience.wait(running, self.deadline).await;
        answer.unwrap_or_else(|| Err(StatementError::silence(can_change)))
    }

    /// Returns the connection to the pool, immediately or after a rollback. Closes a dead
    /// connection.
    fn finish(mut self, connection_is_dead: bool) {
        let Some(mut connection) = self.connection.take() else { return };
        let executor = Arc::clone(self.executor);
        if connection_is_dead {
            executor.connections.discard(connection);
        } else if self.in_transaction {
            // The rollback is a task of its own, so that the caller does not wait for it.
            tokio::spawn(async move {
                let script = Script::of("rollback");
                let ended = timeout(executor.timeout, run(&script, &mut connection, false));
                match ended.await {
                    Ok(Ok(_)) => executor.connections.give_back(connection),
                    _ => executor.connections.discard(connection),
                }
            });
        } else {
            executor.connections.give_back(connection);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // A connection is still here only if the task was aborted or panicked. It may have an open
        // transaction, so it must not return to the pool.
        if let Some(connection) = self.connection.take() {
            self.executor.connections.discard(connection);
        }
    }
}

/// Sends a script and returns the answers of its statements. Reads every row, because a statement
/// can still fail after its first row.
async fn run(
    script: &Script,
    connection: &mut MySqlConnection,
    can_change: bool,
) -> Result<Vec<Answer>, StatementError> {
    let (mut answers, mut rows) = (Vec::new(), Vec::new());
    let mut steps = connection.fetch_many(sqlx::raw_sql(AssertSqlSafe(script.text())));
    while let Some(step) = poll_fn(|context| steps.as_mut().poll_next(context)).await {
        match step {
            Ok(Either::Right(row)) => rows.push(row),
            Ok(Either::Left(done)) => {
                let affected = done.rows_affected();
                answers.push(Answer { rows: std::mem::take(&mut rows), affected });
            }
            Err(error) => return Err(statement_error(error, can_change, !answers.is_empty())),
        }
    }
    Ok(answers)
}
