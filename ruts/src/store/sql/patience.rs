//! [`Patience`]: how long a caller waits for a statement, and when its connection is closed.
//!
//! Used by the executors. Knows nothing about statements.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout_at},
};

/// Maximum time of a statement, as a multiple of the timeout. During this time, the statement holds
/// its connection, or a permit to give the connection up, even if its caller is gone.
const MAX_TIMEOUTS: u32 = 3;

pub(in crate::store) struct Patience {
    timeout: Duration,
    /// Permits to give up the connection of a statement without an answer: half as many as the pool
    /// has connections. Giving up a connection makes room for a new one. So a stuck server works on
    /// at most about as many statements as there are connections and permits together.
    given_up: Arc<Semaphore>,
}

impl Patience {
    /// Creates the patience for a pool of `connections`.
    pub(in crate::store) fn new(connections: u32, timeout: Duration) -> Self {
        let permits = (connections as usize / 2).max(1);
        Self { timeout, given_up: Arc::new(Semaphore::new(permits)) }
    }

    /// Waits for the answer of a statement. At the deadline it returns `None` if a permit to give
    /// up the connection is free, and otherwise waits for up to two more timeouts. After `None`,
    /// the caller has to close the connection.
    pub(in crate::store) async fn wait<T>(
        &self,
        running: impl Future<Output = T>,
        deadline: Instant,
    ) -> Option<T> {
        let end = deadline + self.timeout * (MAX_TIMEOUTS - 1);
        let mut running = pin!(running);
        if let Ok(answer) = timeout_at(deadline, running.as_mut()).await {
            return Some(answer);
        }
        if let Ok(permit) = Arc::clone(&self.given_up).try_acquire_owned() {
            // The permit is held until `end`, because the server may work on the statement until
            // then.
            tokio::spawn(async move {
                sleep_until(end).await;
                drop(permit);
            });
            return None;
        }
        timeout_at(end, running).await.ok()
    }
}
