//! Reads on the thread of their caller: [`InlineReads`].
//!
//! Used by `threads`, which opens the connections. Knows nothing about the operations.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::connection::Database;
use crate::store::StoreError;

/// A read that takes longer counts as slow, because it delays the other tasks of its thread.
const SLOW: Duration = Duration::from_millis(1);

/// Length of the pause after a slow read, as a multiple of the duration of that read. During the
/// pause, all reads run on the threads of the store. So slow reads take at most about a hundredth
/// of the time of a caller's thread.
const PAUSE: u32 = 100;

/// Maximum length of such a pause. A read during which the process was suspended would otherwise
/// cause a long pause.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Connections for reads of a single session.
///
/// Such a read takes about 10 µs while its pages are in memory. Handing it to another thread would
/// take longer.
pub(super) struct InlineReads {
    /// Each connection is `None` after it was closed.
    connections: Vec<Mutex<Option<Database>>>,
    begun: Instant,
    /// End of the pause, in microseconds since `begun`.
    paused_until: AtomicU64,
}

impl InlineReads {
    pub(super) fn new(connections: Vec<Database>) -> Self {
        let connections = connections.into_iter().map(|it| Mutex::new(Some(it))).collect();
        Self { connections, begun: Instant::now(), paused_until: AtomicU64::new(0) }
    }

    /// Runs an operation that reads. `None` if a thread of the store has to run it: no connection
    /// is free, a recent read was slow, or the operation failed.
    pub(super) fn run<T>(
        &self,
        operation: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Option<T> {
        let start = self.begun.elapsed();
        if micros(start) < self.paused_until.load(Ordering::Relaxed) {
            return None;
        }
        let mut free = self.connections.iter().filter_map(|it| it.try_lock().ok());
        let mut connection = free.next()?;
        // The connection is taken out, so that a panic in the operation drops it. This ends the
        // transaction.
        let database = connection.take()?;
        let answer = database.begin_read().and_then(|()| {
            let answer = operation(&database)?;
            database.commit().map(|()| answer)
        });
        if answer.is_err() {
            database.roll_back();
        }
        *connection = Some(database);
        drop(connection);
        let end = self.begun.elapsed();
        let took = end - start;
        if took > SLOW {
            let pause = took.saturating_mul(PAUSE).min(MAX_PAUSE);
            self.paused_until.store(micros(end + pause), Ordering::Relaxed);
        }
        answer.ok()
    }

    /// Closes the connections. Waits for the reads that are running.
    pub(super) fn close(&self) {
        for connection in &self.connections {
            drop(connection.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::{
        super::connection::{ConnectionSettings, Durability},
        *,
    };

    fn one_connection() -> InlineReads {
        let settings = ConnectionSettings {
            path: None,
            durability: Durability::Normal,
            clock: Arc::default(),
        };
        InlineReads::new(vec![Database::open(&settings).unwrap()])
    }

    fn one(database: &Database) -> Result<i64, StoreError> {
        Ok(database.row("select 1", [], |row| row.get(0))?.unwrap())
    }

    #[test]
    fn a_read_runs_on_the_thread_of_its_caller() {
        let reads = one_connection();
        assert_eq!(reads.run(|_| Ok(thread::current().id())), Some(thread::current().id()));
        assert_eq!(reads.run(one), Some(1));
    }

    #[test]
    fn a_read_without_a_free_connection_is_left_to_the_threads() {
        let reads = one_connection();
        let during_another = reads.run(|_| Ok(reads.run(one)));
        assert_eq!(during_another, Some(None));
        assert_eq!(reads.run(one), Some(1));
    }

    #[test]
    fn a_read_that_fails_is_left_to_the_threads() {
        let reads = one_connection();
        let failing = |database: &Database| {
            database.execute("select * from missing", [])?;
            Ok(1)
        };
        assert_eq!(reads.run(failing), None);
        assert_eq!(reads.run(one), Some(1), "no transaction should stay open");
    }

    #[test]
    fn after_a_slow_read_the_threads_read_for_a_while() {
        let reads = one_connection();
        let slow = reads.run(|_| {
            thread::sleep(SLOW * 2);
            Ok(())
        });
        assert!(slow.is_some());
        assert_eq!(reads.run(one), None);
        reads.paused_until.store(0, Ordering::Relaxed);
        assert_eq!(reads.run(one), Some(1));
    }

    #[test]
    fn a_connection_is_unused_after_a_panic_and_after_closing() {
        let reads = one_connection();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reads.run(|_| -> Result<(), StoreError> { panic!("in an operation") })
        }));
        assert!(panicked.is_err());
        assert_eq!(reads.run(one), None);
        reads.close();
        let reads = one_connection();
        reads.close();
        assert_eq!(reads.run(one), None);
    }
}
