//! Sends statements to PostgreSQL: [`Executor`].
//!
//! Used by the store, the batches and the cleanup. Knows connections, the timeout and the columns
//! that reveal a standby and a foreign transaction. Knows nothing else of a statement.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Either, Executor as _, PgConnection, PgPool, Postgres, Row, postgres::PgRow};
use tokio::time::Instant;
use tracing::{Instrument, warn};

use super::{
    bind::Statement,
    error::{
        StatementError, connection_error, corrupt, in_foreign_transaction, is_full, on_standby,
        shut_down, statement_error, timed_out,
    },
    statements::{SessionColumn, Statements},
};
use crate::{
    store::{
        StoreError, StoreErrorKind,
        sql::{Connections, Dispatch, FinishOnDrop, Patience, Retry, Taken},
    },
    turns::{Turn, Turns},
};

/// Minimum time between two connections that are closed because their role lacks a right.
const REPLACE_FOR_RIGHT: Duration = Duration::from_secs(1);

pub(super) struct Executor {
    connections: Connections<Postgres>,
    pub(super) timeout: Duration,
    pub(super) statements: Statements,
    patience: Patience,
    /// Turns of the operations that lock a session or a principal. Without turns, the server would
    /// make these operations wait, and each would hold a connection.
    turns: Turns<Box<[u8]>>,
    /// The time when a connection was last closed because its role lacked a right.
    replaced_for_right: Mutex<Option<Instant>>,
}

impl Executor {
    /// Creates an executor, which tests connections that were idle for `test_after`.
    pub(super) fn new(
        pool: PgPool,
        statements: Statements,
        timeout: Duration,
        test_after: Duration,
    ) -> Self {
        let patience = Patience::new(pool.options().get_max_connections(), timeout);
        let connections = Connections::new(pool, test_after, timeout, is_full);
        let (turns, replaced_for_right) = (Turns::default(), Mutex::default());
        Self { connections, timeout, statements, patience, turns, replaced_for_right }
    }

    pub(super) const fn pool(&self) -> &PgPool {
        self.connections.pool()
    }

    /// Waits until no other operation of this store locks the session or principal, at most until
    /// `end`.
    pub(super) async fn turn(
        &self,
        key: &[u8],
        end: Instant,
    ) -> Result<Turn<'_, Box<[u8]>>, StoreError> {
        let turn = self.turns.wait(key.into(), end).await;
        turn.ok_or_else(|| timed_out(StoreErrorKind::Unavailable))
    }

    /// Returns the deadline of an operation that begins now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Runs a statement and returns its rows after the commit. The first row arrives before the
    /// commit.
    ///
    /// # Cancel safety
    ///
    /// A task carries the statement out, so the future can be dropped. Without a task, dropping the
    /// future would close the connection, or make the next statement on that connection wait.
    pub(super) async fn fetch_all(
        self: &Arc<Self>,
        statement: Statement,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, StatementError> {
        let dispatch = Arc::new(Dispatch::default());
        let task = tokio::spawn(self.begin(statement, &dispatch, deadline));
        let answer = async { task.await.unwrap_or_else(|_| Err(shut_down().into())) };
        dispatch.wait(answer, deadline).await.unwrap_or_else(|kind| Err(timed_out(kind).into()))
    }

    /// Like [`fetch_all`](Self::fetch_all), but polls the statement in the task of the caller.
    /// Until the future is polled again, it holds a connection.
    pub(super) async fn fetch_all_inline(
        self: &Arc<Self>,
        statement: Statement,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, StatementError> {
        let dispatch = Arc::new(Dispatch::default());
        let answer = FinishOnDrop::new(self.begin(statement, &dispatch, deadline));
        dispatch.wait(answer, deadline).await.unwrap_or_else(|kind| Err(timed_out(kind).into()))
    }

    /// Runs a statement that answers with one row.
    pub(super) async fn fetch_one(
        self: &Arc<Self>,
        statement: Statement,
        deadline: Instant,
    ) -> Result<PgRow, StoreError> {
        self.fetch_all(statement, deadline).await?.pop().ok_or_else(corrupt)
    }

    /// Like [`fetch_all_inline`](Self::fetch_all_inline), for a statement that answers with one
    /// row.
    pub(super) async fn fetch_one_inline(
        self: &Arc<Self>,
        statement: Statement,
        deadline: Instant,
    ) -> Result<PgRow, StoreError> {
        self.fetch_all_inline(statement, deadline).await?.pop().ok_or_else(corrupt)
    }

    /// Returns whether a connection whose role lacks a right may be closed, at most once every
    /// [`REPLACE_FOR_RIGHT`].
    ///
    /// The application may have left a different role on the connection. If the store's own role
    /// lacks the right, a new connection does not help.
    fn may_replace_for_right(&self) -> bool {
        let last = self.replaced_for_right.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| last.elapsed() >= REPLACE_FOR_RIGHT);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    /// Returns the future that carries a statement out, unless `dispatch` is cancelled first.
    fn begin(
        self: &Arc<Self>,
        statement: Statement,
        dispatch: &Arc<Dispatch>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<PgRow>, StatementError>> + Send + use<> {
        let carried_out = Arc::clone(self).carry_out(statement, Arc::clone(dispatch), deadline);
        carried_out.in_current_span()
    }

    /// Runs a statement until it succeeds, cannot be repeated, or is out of time.
    async fn carry_out(
        self: Arc<Self>,
        statement: Statement,
        dispatch: Arc<Dispatch>,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, StatementError> {
        let mut retry = Retry::new(self.connections.pool(), deadline);
        loop {
            let taken = self.connections.take(deadline).await.map_err(connection_error)?;
            let Taken { mut connection, is_new } = taken;
            if !dispatch.send() {
                self.connections.give_back(connection);
                return Err(timed_out(StoreErrorKind::Unavailable).into());
            }
            let mut failed =
                match self.patience.wait(run(&statement, &mut connection), deadline).await {
                    Some(Ok(rows)) => {
                        self.connections.note_fit(is_new);
                        self.connections.give_back(connection);
                        return Ok(rows);
                    }
                    Some(Err(failed)) => failed,
                    None => StatementError::silence(),
                };
            if failed.is_in_transaction {
                warn!("the application left a transaction open on a connection, which is closed");
            }
            failed.connection_is_dead |= failed.lacks_right && self.may_replace_for_right();
            if failed.is_unfit {
                failed.connection_is_dead =
                    self.connections.note_unfit(is_new, &mut retry.replacing);
            }
            if failed.connection_is_dead {
                self.connections.discard(connection);
            } else {
                self.connections.give_back(connection);
            }
            let can_repeat = failed.can_repeat(statement.is_read());
            if !retry.attempt_again(can_repeat, failed.connection_is_dead, &dispatch).await {
                return Err(failed);
            }
        }
    }
}

/// Sends a statement and returns its rows after the commit.
async fn run(
    statement: &Statement,
    connection: &mut PgConnection,
) -> Result<Vec<PgRow>, StatementError> {
    let (mut rows, mut is_complete) = (Vec::new(), false);
    let mut answer = connection.fetch_many(statement.query()?);
    while let Some(step) = poll_fn(|context| answer.as_mut().poll_next(context)).await {
        match step {
            Ok(Either::Right(row)) => rows.push(row),
            Ok(Either::Left(_)) => is_complete = true,
            Err(error) => return Err(statement_error(error, is_complete)),
        }
    }
    let Some(row) = rows.first().filter(|_| statement.is_read()) else { return Ok(rows) };
    let flag = |column: SessionColumn| row.try_get::<bool, _>(usize::from(column));
    match (flag(SessionColumn::IsStandby), flag(SessionColumn::IsOnlyStatement)) {
        (Ok(false), Ok(true)) => Ok(rows),
        (Ok(true), _) => Err(on_standby()),
        (_, Ok(false)) => Err(in_foreign_transaction()),
        // An answer without these columns is an error, because it could come from a standby.
        _ => Err(corrupt().into()),
    }
}
