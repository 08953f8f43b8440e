//! [`Connections`]: the connections of a pool. A connection that was idle for long is tested before use.
//!
//! Used by the executors of PostgreSQL and of MySQL. Knows nothing of statements.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{Connection, Database, Pool, pool::PoolConnection};
use tokio::time::{Instant, timeout};

/// Maximum duration of the test of a connection.
const MAX_TEST: Duration = Duration::from_millis(500);

pub(in crate::store) struct Connections<D: Database> {
    pool: Pool<D>,
    test_after: Duration,
    test_timeout: Duration,
    /// The latest times at which the store returned a connection, at most one for each connection that
    /// the pool may have.
    ///
    /// The pool hands out the connection that was returned first. If `n` connections are idle, that one
    /// was returned no earlier than the `n`-th latest of these times. The pool does not report idle times
    /// itself.
    returns: Mutex<VecDeque<Instant>>,
}

impl<D: Database> Connections<D> {
    /// Wraps a pool. A connection that was idle for `test_after` is tested before its next use.
    pub(in crate::store) fn new(pool: Pool<D>, test_after: Duration, timeout: Duration) -> Self {
        let test_timeout = (timeout / 4).min(MAX_TEST);
        Self { pool, test_after, test_timeout, returns: Mutex::default() }
    }

    pub(in crate::store) const fn pool(&self) -> &Pool<D> {
        &self.pool
    }

    /// Takes an idle connection. If none is idle, takes a new one, or the next one that is returned.
    pub(in crate::store) async fn take(&self) -> Result<PoolConnection<D>, sqlx::Error> {
        loop {
            let idle = self.idle();
            let Some(mut connection) = self.pool.try_acquire() else {
                // Boxed, because a future that can open a connection takes hundreds of kilobytes, and the
                // task of each statement would contain it and be moved with it.
                return Box::pin(self.pool.acquire()).await;
            };
            if self.is_fresh(idle.max(self.idle() + 1)) {
                return Ok(connection);
            }
            match timeout(self.test_timeout, Box::pin(connection.ping())).await {
                Ok(Ok(())) => return Ok(connection),
                Ok(Err(_)) => drop(connection.detach()),
                Err(_) => {
                    drop(connection.detach());
                    self.close_idle();
                }
            }
        }
    }

    /// Returns a connection to the pool.
    pub(in crate::store) fn give_back(&self, connection: PoolConnection<D>) {
        let mut returns = self.returns();
        returns.push_back(Instant::now());
        if returns.len() > self.pool.options().get_max_connections() as usize {
            returns.pop_front();
        }
        drop(returns);
        drop(connection);
    }

    /// Closes a broken connection. The idle connections may be broken for the same reason, so each of
    /// them is tested before its next use.
    pub(in crate::store) fn discard(&self, connection: PoolConnection<D>) {
        // The pool would wait for an answer of a connection that is returned to it.
        drop(connection.detach());
        self.returns().clear();
    }

    /// Closes the idle connections, because one did not answer and testing each of the others takes time.
    fn close_idle(&self) {
        for _ in 0..self.idle() {
            self.pool.try_acquire().map(PoolConnection::detach);
        }
    }

    /// Returns the number of idle connections. The pool updates its own count shortly after a connection
    /// moves, so that count can wrap from zero to the maximum of its type.
    fn idle(&self) -> usize {
        self.pool.num_idle().min(self.pool.size() as usize)
    }

    /// Returns whether the connection that has been idle longest needs no test. `idle` is the number of idle
    /// connections.
    fn is_fresh(&self, idle: usize) -> bool {
        let returns = self.returns();
        let returned = returns.len().checked_sub(idle).and_then(|at| returns.get(at));
        returned.is_some_and(|returned| returned.elapsed() < self.test_after)
    }

    fn returns(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.returns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
