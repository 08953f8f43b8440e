//! The threads that run read operations.
//!
//! Started by `threads`. They put several reads into one transaction, and know nothing about the
//! operations.

use super::{
    connection::Database,
    queue::{AbandonOnDrop, Queue},
    task::Task,
};

/// Maximum number of reads in one transaction, so that it does not delay a checkpoint.
const BATCH: usize = 16;

/// Carries out reads until the queue is closed.
///
/// Reads that wait together share a transaction. The transaction begins after they were queued, so
/// each read sees every write that was answered before the read began.
pub(super) fn run(database: &Database, queue: &Queue<Box<dyn Task>>) {
    let _abandon = AbandonOnDrop(queue);
    let mut batch = Vec::with_capacity(BATCH);
    while queue.take(&mut batch, BATCH, None) {
        let begun = database.begin_read();
        for mut task in batch.drain(..) {
            let outcome = begun.clone().and_then(|()| task.run(database));
            task.finish(outcome);
        }
        if begun.is_ok() && database.commit().is_err() {
            database.roll_back();
        }
    }
}
