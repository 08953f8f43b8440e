//! [`Connections`]: the connections of a pool. After a given idle time, a connection is tested
//! before its next use.
//!
//! Used by the PostgreSQL and MySQL executors. Knows nothing about statements.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection, Database, Pool, error::DatabaseError, pool::PoolConnection};
use tokio::time::{Instant, sleep, timeout};

/// Maximum duration of the test of a connection.
const MAX_TEST: Duration = Duration::from_millis(500);

/// Time for which an operation waits only for a new connection. After this time, it also takes a
/// connection that was returned to the pool.
const MAX_CONNECT: Duration = Duration::from_secs(1);

/// Replaces `MAX_CONNECT` while the server has no room for further connections.
const FULL_CONNECT: Duration = Duration::from_millis(20);

/// After the server had no room for a connection, the store expects that it has none for this time.
const FULL_FOR: Duration = Duration::from_secs(60);

/// If the server of a new connection cannot serve, one operation opens the next connection after
/// this time. Without this limit, each operation would open connections to a standby, and close
/// those of the application.
const UNFIT_PAUSE: Duration = Duration::from_millis(100);

pub(in crate::store) struct Connections<D: Database> {
    pool: Pool<D>,
    test_after: Duration,
    test_timeout: Duration,
    return_timeout: Duration,
    /// The latest times at which the store returned a connection, at most one for each connection
    /// that the pool may have.
    ///
    /// The pool hands out the connection that was returned first. If `n` connections are idle, that
    /// connection was returned no earlier than the `n`-th latest of these times. The pool does not
    /// report idle times itself.
    returns: Mutex<VecDeque<Instant>>,
    /// Number of connections that the store uses now.
    in_use: AtomicUsize,
    /// Returns whether the server refused a connection because the server has too many connections.
    is_full: fn(&dyn DatabaseError) -> bool,
    /// The end of the time in which the store expects that the server has no room for further
    /// connections.
    full_until: Mutex<Option<Instant>>,
    /// The last time when the server of a new connection could not serve, or when an operation
    /// began to open the next one. `None` if the server of the last new connection could serve.
    unfit: Mutex<Option<Instant>>,
}

/// A connection that the store uses.
pub(in crate::store) struct Taken<D: Database> {
    pub(in crate::store) connection: PoolConnection<D>,
    /// Whether the connection was opened just now, as far as the store knows.
    pub(in crate::store) is_new: bool,
}

/// The state of an operation that meets connections whose server cannot serve.
#[derive(Default)]
pub(in crate::store) struct Replacing {
    may_replace: bool,
    has_waited: bool,
    /// The moment until which the operation waits before its next attempt. `None` if it does not
    /// wait.
    pub(in crate::store) wait: Option<Instant>,
}

impl<D: Database> Connections<D> {
    /// Wraps a pool. After an idle time of `test_after`, a connection is tested before its next
    /// use. `is_full` returns whether the server refused a connection because the server has too
    /// many connections.
    pub(in crate::store) fn new(
        pool: Pool<D>,
        test_after: Duration,
        timeout: Duration,
        is_full: fn(&dyn DatabaseError) -> bool,
    ) -> Self {
        Self {
            pool,
            test_after,
            test_timeout: (timeout / 4).min(MAX_TEST),
            return_timeout: timeout / 2,
            returns: Mutex::default(),
            in_use: AtomicUsize::new(0),
            is_full,
            full_until: Mutex::default(),
            unfit: Mutex::default(),
        }
    }

    pub(in crate::store) const fn pool(&self) -> &Pool<D> {
        &self.pool
    }

    /// Takes an idle connection. If none is idle, takes a new connection, or the next connection
    /// that is returned.
    pub(in crate::store) async fn take(&self, deadline: Instant) -> Result<Taken<D>, sqlx::Error> {
        loop {
            let idle = self.idle();
            let Some(mut connection) = self.pool.try_acquire() else {
                match self.wait(deadline).await {
                    Some(connection) => return connection.map(|new| self.used(new, true)),
                    None => continue,
                }
            };
            if self.is_fresh(idle.max(self.idle() + 1)) {
                return Ok(self.used(connection, false));
            }
            match timeout(self.test_timeout, Box::pin(connection.ping())).await {
                Ok(Ok(())) => return Ok(self.used(connection, false)),
                Ok(Err(_)) => drop(connection.detach()),
                Err(_) => {
                    drop(connection.detach());
                    self.close_idle();
                }
            }
        }
    }

    fn used(&self, connection: PoolConnection<D>, is_new: bool) -> Taken<D> {
        self.in_use.fetch_add(1, Ordering::Relaxed);
        Taken { connection, is_new }
    }

    /// Waits for a new connection, or for one that is returned. Returns `None` if a connection may
    /// be idle.
    ///
    /// After a pool has begun to open a connection, it waits for this connection. It waits even if
    /// the server has no room and other connections are idle.
    async fn wait(&self, deadline: Instant) -> Option<Result<PoolConnection<D>, sqlx::Error>> {
        // Boxed, because a future that can open a connection takes hundreds of kilobytes. The task
        // of each statement would contain this future and be moved with it.
        let mut acquiring = Box::pin(self.pool.acquire());
        let is_full = self.full_until().is_some_and(|until| Instant::now() < until);
        let mut patience = if is_full { FULL_CONNECT } else { MAX_CONNECT };
        loop {
            match timeout(patience, acquiring.as_mut()).await {
                Ok(Err(sqlx::Error::Database(error)))
                    if (self.is_full)(&*error) && Instant::now() + FULL_CONNECT < deadline =>
                {
                    self.note_full();
                    sleep(FULL_CONNECT).await;
                    return None;
                }
                Ok(answer) => return Some(answer),
                Err(_) if Instant::now() >= deadline => {
                    return Some(Err(sqlx::Error::PoolTimedOut));
                }
                Err(_) if self.idle() > 0 && self.is_opening() => {
                    self.note_full();
                    return None;
                }
                Err(_) => patience = FULL_CONNECT,
            }
        }
    }

    /// Returns whether the pool opens connections. Otherwise, a returned connection goes to the
    /// operation that has waited longest.
    fn is_opening(&self) -> bool {
        self.in_use.load(Ordering::Relaxed) + self.idle() < self.pool.size() as usize
    }

    fn note_full(&self) {
        *self.full_until() = Some(Instant::now() + FULL_FOR);
    }

    fn full_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.full_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a connection to the pool. Closes it instead if it does not answer the test of the
    /// pool.
    ///
    /// Dropping the connection is not enough. The pool would wait for the answer without a limit,
    /// and until then the connection would count towards the maximum. `return_to_pool`, which the
    /// sqlx documentation does not list, is the same step as a future that can be dropped.
    pub(in crate::store) fn give_back(&self, mut connection: PoolConnection<D>) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        let mut returns = self.returns();
        returns.push_back(Instant::now());
        if returns.len() > self.pool.options().get_max_connections() as usize {
            returns.pop_front();
        }
        drop(returns);
        tokio::spawn(timeout(self.return_timeout, connection.return_to_pool()));
    }

    /// Records that the server of a connection can serve.
    pub(in crate::store) fn note_fit(&self, is_new: bool) {
        if is_new {
            *self.unfit() = None;
        }
    }

    /// Records that the server of a connection cannot serve. Returns whether the operation closes
    /// the connection and takes another one. Otherwise it returns the connection, and gives up
    /// unless `replacing` has a `wait`.
    ///
    /// As long as the server of no new connection was unfit, for example after a failover, each
    /// operation replaces the connections that it meets.
    pub(in crate::store) fn note_unfit(&self, is_new: bool, replacing: &mut Replacing) -> bool {
        let (mut unfit, now) = (self.unfit(), Instant::now());
        if is_new {
            *unfit = Some(now);
            replacing.may_replace = false;
        }
        let Some(since) = *unfit else { return true };
        let next = since + UNFIT_PAUSE;
        if !replacing.may_replace && now >= next {
            *unfit = Some(now);
            replacing.may_replace = true;
        }
        let waits = !replacing.may_replace && !replacing.has_waited;
        replacing.has_waited |= waits;
        replacing.wait = waits.then_some(next);
        replacing.may_replace
    }

    fn unfit(&self) -> MutexGuard<'_, Option<Instant>> {
        self.unfit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes a broken connection. The idle connections may be broken for the same reason, so each
    /// of them is tested before its next use.
    pub(in crate::store) fn discard(&self, connection: PoolConnection<D>) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        // The connection is detached, because the pool would wait for an answer of a connection
        // that is returned to it.
        drop(connection.detach());
        self.returns().clear();
    }

    /// Closes the idle connections, because one connection did not answer. Testing the idle
    /// connections instead could take up to [`MAX_TEST`] for each of them.
    fn close_idle(&self) {
        for _ in 0..self.idle() {
            self.pool.try_acquire().map(PoolConnection::detach);
        }
    }

    /// Returns the number of idle connections. The pool updates its own count shortly after a
    /// connection moves, so that count can wrap from zero to the maximum of its type.
    fn idle(&self) -> usize {
        self.pool.num_idle().min(self.pool.size() as usize)
    }

    /// Returns whether the connection that has been idle longest needs no test. `idle` is the
    /// number of idle connections.
    fn is_fresh(&self, idle: usize) -> bool {
        let returns = self.returns();
        let returned = returns.len().checked_sub(idle).and_then(|at| returns.get(at));
        returned.is_some_and(|returned| returned.elapsed() < self.test_after)
    }

    fn returns(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.returns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
