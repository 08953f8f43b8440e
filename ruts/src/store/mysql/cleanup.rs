//! Deletes expired sessions from the tables of a [`MySqlStore`](super::MySqlStore).
//!
//! Used by the store, on request and in the background. Runs the operation `DeleteExpired`. Knows
//! nothing about other operations.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{executor::Executor, operations::DeleteExpired, transaction::Transaction};
use crate::store::{StoreError, sql::Cleanup};

impl Cleanup for Executor {
    async fn delete_batch(
        self: &Arc<Self>,
        limit: usize,
        timeout: Duration,
    ) -> Result<usize, StoreError> {
        let executor = Arc::clone(self);
        let delete = Transaction { executor, operation: DeleteExpired(limit) };
        self.run(delete, Instant::now() + timeout).await.map_err(Into::into)
    }
}
