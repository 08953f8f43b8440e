//! A SQLite file, and the faults of other connections to it: [`SqliteFile`]. Used by the systems.

use std::{path::PathBuf, time::Duration};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::fault::SqliteFault;

/// Maximum time that the other connection waits for a lock.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file in a folder of its own.
pub struct SqliteFile {
    folder: TempDir,
}

impl SqliteFile {
    /// Chooses the file. A store creates it.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("the temporary folder should be created") }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("sessions.db")
    }

    /// Causes a fault, waits for `duration`, and ends it.
    pub async fn strike(&self, fault: SqliteFault, duration: Duration) {
        let path = self.path();
        let strike = move || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(PATIENCE)?;
            match fault {
                SqliteFault::WriteLock => {
                    connection.execute_batch("begin immediate")?;
                    std::thread::sleep(duration);
                    connection.execute_batch("rollback")
                }
                SqliteFault::LongRead => {
                    connection.execute_batch("begin; select count(*) from ruts_sessions")?;
                    std::thread::sleep(duration);
                    connection.execute_batch("rollback")
                }
                SqliteFault::Checkpoint => {
                    connection.execute_batch("pragma wal_checkpoint(truncate)")
                }
            }
        };
        spawn_blocking(strike)
            .await
            .expect("the fault should not panic")
            .expect("the other connection should cause the fault");
    }
}
