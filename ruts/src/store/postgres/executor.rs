//! Sends statements to PostgreSQL: [`Executor`].
//!
//! Used by the store, the batches and the cleanup. Knows connections and the timeout, and nothing
//! of what a statement does.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use sqlx::{Either, Executor as _, PgConnection, PgPool, Row, postgres::PgRow};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::Instrument;

use super::{
    bind::Statement,
    connections::Connections,
    error::{
        StatementError, connection_error, corrupt, on_standby, shut_down, statement_error,
        timed_out,
    },
    statements::{SessionColumn, Statements},
};
use crate::{
    store::{StoreError, StoreErrorKind},
    turns::{Turn, Turns},
};

/// Number of timeouts for which a statement may run, with or without a caller. It keeps its
/// connection, or a permit of [`Executor::given_up`].
const MAX_TIMEOUTS: u32 = 3;

pub(super) struct Executor {
    connections: Connections,
    pub(super) timeout: Duration,
    pub(super) statements: Statements,
    /// Permits to give up the connection of a statement without an answer: half as many as the pool
    /// has connections. A silent connection leaves room for a new one, and a stuck server hardly
    /// ever has more statements than connections and permits.
    given_up: Arc<Semaphore>,
    /// Of the operations that lock a session or a principal. The server would make the others wait
    /// as well, each with a connection of the pool.
    turns: Turns<Box<[u8]>>,
}

impl Executor {
    /// Tests connections that were idle for `test_after`.
    pub(super) fn new(
        pool: PgPool,
        statements: Statements,
        timeout: Duration,
        test_after: Duration,
    ) -> Self {
        let permits = (pool.options().get_max_connections() as usize / 2).max(1);
        let connections = Connections::new(pool, test_after, timeout);
        let given_up = Arc::new(Semaphore::new(permits));
        Self { connections, timeout, statements, given_up, turns: Turns::default() }
    }

    pub(super) const fn pool(&self) -> &PgPool {
        self.connections.pool()
    }

    /// Waits until no other operation of this store locks the session or principal, until `end`.
    pub(super) async fn turn(
        &self,
        key: &[u8],
        end: Instant,
    ) -> Result<Turn<'_, Box<[u8]>>, StoreError> {
        let turn = self.turns.wait(key.into(), end).await;
        turn.ok_or_else(|| timed_out(StoreErrorKind::Unavailable))
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

    /// Runs a statement until it succeeds, cannot be repeated, or is out of time.
    async fn carry_out(
        self: Arc<Self>,
        statement: Statement,
        dispatch: Arc<Dispatch>,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, StatementError> {
        // Each dead connection is closed, so that after as many as there are the next one is new.
        let mut spare = self.connections.pool().size().max(1);
        loop {
            let mut connection = self.connections.take().await.map_err(connection_error)?;
            if !dispatch.send() {
                return Err(timed_out(StoreErrorKind::Unavailable).into());
            }
            let failed = match self.answer(&statement, &mut connection, deadline).await {
                Ok(rows) => {
                    self.connections.give_back(connection);
                    return Ok(rows);
                }
                Err(failed) => failed,
            };
            if failed.connection_is_dead {
                self.connections.discard(connection);
            } else {
                self.connections.give_back(connection);
            }
            let can_repeat = failed.can_repeat(statement.is_read())
                && (spare > 0 || !failed.connection_is_dead)
                && Instant::now() < deadline;
            if !can_repeat || !dispatch.take_back() {
                return Err(failed);
            }
            spare -= u32::from(failed.connection_is_dead);
        }
    }

    /// Sends a statement and waits for its answer, until the deadline if the connection may be given
    /// up then.
    async fn answer(
        &self,
        statement: &Statement,
        connection: &mut PgConnection,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, StatementError> {
        let end = deadline + self.timeout * (MAX_TIMEOUTS - 1);
        let mut running = pin!(run(statement, connection));
        if let Ok(answer) = timeout_at(deadline, running.as_mut()).await {
            return answer;
        }
        if let Ok(permit) = Arc::clone(&self.given_up).try_acquire_owned() {
            // The server may work on the statement until then.
            tokio::spawn(async move {
                sleep_until(end).await;
                drop(permit);
            });
            return Err(StatementError::silence());
        }
        timeout_at(end, running).await.unwrap_or_else(|_| Err(StatementError::silence()))
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
    let is_standby = |row: &PgRow| row.try_get(usize::from(SessionColumn::IsStandby));
    match rows.first().filter(|_| statement.is_read()).map(is_standby) {
        Some(Ok(true)) => Err(on_standby()),
        _ => Ok(rows),
    }
}

/// Whether a statement is sent or cancelled. The first of both decides.
///
/// A statement that turned out not to be carried out is taken back, and may be cancelled again.
#[derive(Default)]
struct Dispatch(AtomicU8);

impl Dispatch {
    const PENDING: u8 = 0;
    const SENT: u8 = 1;
    const CANCELLED: u8 = 2;

    /// Whether the statement may be sent.
    fn send(&self) -> bool {
        self.settle(Self::PENDING, Self::SENT)
    }

    /// Whether the statement may be sent again.
    fn take_back(&self) -> bool {
        self.settle(Self::SENT, Self::PENDING)
    }

    /// Whether the statement was not sent, or taken back.
    fn cancel(&self) -> bool {
        self.0.swap(Self::CANCELLED, Ordering::AcqRel) == Self::PENDING
    }

    fn settle(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Cancels a statement when its caller is dropped. One that was sent is not repeated.
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
