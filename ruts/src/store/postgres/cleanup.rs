//! Deletes expired sessions from the tables of a [`PostgresStore`](super::PostgresStore).
//!
//! Used by the store, on request and in the background. Knows nothing about the store's operations.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{bind::Statement, decode::deleted_count, executor::Executor};
use crate::store::{StoreError, sql::Cleanup};

impl Cleanup for Executor {
    async fn delete_batch(
        self: &Arc<Self>,
        limit: usize,
        timeout: Duration,
    ) -> Result<usize, StoreError> {
        let statement = Statement::new(&self.statements.delete_expired)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        deleted_count(&self.fetch_one(statement, Instant::now() + timeout).await?)
    }
}
