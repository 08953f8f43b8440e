//! [`Retry`]: decides whether an operation on a SQL server is attempted again.
//!
//! Used by the executors, after each failed attempt. Knows nothing about statements.

use sqlx::{Database, Pool};
use tokio::time::{Instant, sleep_until};

use super::{connections::Replacing, dispatch::Dispatch};

/// The failed attempts of one operation.
pub(in crate::store) struct Retry {
    pub(in crate::store) replacing: Replacing,
    /// Maximum number of further attempts after a dead connection. Each dead connection is closed,
    /// so the last of these attempts gets a new connection.
    spare: u32,
    deadline: Instant,
}

impl Retry {
    pub(in crate::store) fn new<D: Database>(pool: &Pool<D>, deadline: Instant) -> Self {
        Self { replacing: Replacing::default(), spare: pool.size().max(1), deadline }
    }

    /// Returns whether the operation is attempted again, and waits until then. `can_repeat` is
    /// whether a second attempt may succeed and does no harm.
    pub(in crate::store) async fn attempt_again(
        &mut self,
        can_repeat: bool,
        connection_is_dead: bool,
        dispatch: &Dispatch,
    ) -> bool {
        let wait = self.replacing.wait.take();
        let has_connection = self.spare > 0 || !connection_is_dead;
        let is_in_time = wait.unwrap_or_else(Instant::now) < self.deadline;
        if !((wait.is_some() || can_repeat) && has_connection && is_in_time && dispatch.take_back())
        {
            return false;
        }
        self.spare -= u32::from(connection_is_dead);
        if let Some(until) = wait {
            sleep_until(until).await;
        }
        true
    }
}
