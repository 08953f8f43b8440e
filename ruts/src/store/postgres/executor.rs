//! Sends statements to PostgreSQL: [`Executor`].
//!
//! Used by the store, the batches and the cleanup. Knows the pool and the timeout, and nothing of
//! what a statement does.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use sqlx::{PgPool, Postgres, pool::PoolConnection, postgres::PgRow};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::{
    bind::Statement,
    error::{StatementError, connection_error, corrupt, shut_down, statement_error, timed_out},
    statements::Statements,
};
use crate::store::{StoreError, StoreErrorKind};

/// How long the pool tests connections after one was found dead. Others of the same age may be dead
/// too.
const TEST_CONNECTIONS_FOR: Duration = Duration::from_secs(10);

/// Number of timeouts for which a statement may run, with or without a caller. It keeps its
/// connection, so a stuck server never has more statements than the pool has connections.
const MAX_TIMEOUTS: u32 = 5;

pub(super) struct Executor {
    pool: PgPool,
    pub(super) timeout: Duration,
    pub(super) statements: Statements,
    /// The end of the time in which the pool tests connections before they are used.
    test_until: Mutex<Option<Instant>>,
}

impl Executor {
    pub(super) const fn new(pool: PgPool, statements: Statements, timeout: Duration) -> Self {
        Self { pool, timeout, statements, test_until: Mutex::new(None) }
    }

    /// The deadline of an operation that begins now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Runs a statement and returns its rows after the commit. The first row alone would come
    /// before it.
    ///
    /// # Cancel safety
    ///
    /// A task carries the statement out. Dropping a statement halfway would cost its connection, or
    /// make the next statement wait.
    pub(super) async fn fetch_all(
        self: &Arc<Self>,
        statement: Statement,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, StatementError> {
        let dispatch = Arc::new(Dispatch::default());
        let task = Arc::clone(self).carry_out(statement, Arc::clone(&dispatch), deadline);
        let task = tokio::spawn(task.in_current_span());
        let caller = CancelOnDrop(&dispatch);
        match timeout_at(deadline, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(shut_down().into()),
            Err(_) if caller.cancel() => Err(timed_out(StoreErrorKind::Unavailable).into()),
            Err(_) => Err(timed_out(StoreErrorKind::Unknown).into()),
        }
    }

    /// Runs a statement that answers with one row.
    pub(super) async fn fetch_one(
        self: &Arc<Self>,
        statement: Statement,
        deadline: Instant,
    ) -> Result<PgRow, StoreError> {
        self.fetch_all(statement, deadline).await?.pop().ok_or_else(corrupt)
    }

    async fn carry_out(
        self: Arc<Self>,
        statement: Statement,
        dispatch: Arc<Dispatch>,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, StatementError> {
        let mut connection = self.connect().await.map_err(connection_error)?;
        if !dispatch.send() {
            return Err(timed_out(StoreErrorKind::Unavailable).into());
        }
        let end = deadline + self.timeout * (MAX_TIMEOUTS - 1);
        let rows = statement.into_query().fetch_all(&mut *connection);
        let answer = match timeout_at(end, rows).await {
            Ok(answer) => answer.map_err(statement_error),
            Err(_) => {
                let error = timed_out(StoreErrorKind::Unknown);
                Err(StatementError { error, connection_is_dead: true })
            }
        };
        if answer.as_ref().is_err_and(|failed| failed.connection_is_dead) {
            *self.test_until.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Instant::now() + TEST_CONNECTIONS_FOR);
            // Returning it to the pool would wait for it.
            drop(connection.detach());
        }
        answer
    }

    /// Takes an idle connection as it is. After a failure, takes one that the pool has tested.
    async fn connect(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let until = *self.test_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_none_or(|until| until < Instant::now())
            && let Some(connection) = self.pool.try_acquire()
        {
            return Ok(connection);
        }
        self.pool.acquire().await
    }
}

/// Whether a statement is sent or cancelled. The first of both decides.
#[derive(Default)]
struct Dispatch(AtomicU8);

impl Dispatch {
    const PENDING: u8 = 0;
    const SENT: u8 = 1;
    const CANCELLED: u8 = 2;

    fn send(&self) -> bool {
        self.settle(Self::SENT)
    }

    fn cancel(&self) -> bool {
        self.settle(Self::CANCELLED)
    }

    fn settle(&self, state: u8) -> bool {
        self.0.compare_exchange(Self::PENDING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Cancels a statement that is not sent when its caller is dropped.
struct CancelOnDrop<'a>(&'a Dispatch);

impl CancelOnDrop<'_> {
    /// Whether the statement will never be sent.
    fn cancel(self) -> bool {
        self.0.cancel()
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
