//! A connection to a database, set up as every thread needs it: [`Database`].
//!
//! Opened by `threads`. Used by every file that runs a statement. Knows nothing about the
//! statements of operations.

use std::{
    cell::{Cell, RefCell},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row};

use super::{
    clock::Clock,
    error::{cannot_open, commit_error, statement_error, unsupported},
    file::DatabaseFile,
};
use crate::{store::StoreError, token::SessionId};

/// The oldest supported version of SQLite. In earlier versions, two connections that write and
/// checkpoint at the same time could corrupt the database.
const OLDEST: i32 = 3_051_003;

/// Maximum number of statements that a connection keeps prepared: more than the store has.
const PREPARED: usize = 48;

/// Size to which the log is truncated after a reader made it grow: its usual size between
/// checkpoints.
const LOG_BYTES: i64 = 4 * 1024 * 1024;

/// Whether a commit is on the disk before its operations are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Every commit is on the disk before its operations are answered. A power cut does not undo
    /// answered operations.
    Full,
    /// Commits are on the disk after the next checkpoint. A power cut may undo the commits since
    /// the last checkpoint, so that a deleted session is live again. Nothing is lost when the
    /// process is killed.
    Normal,
}

/// A connection of one thread.
pub(super) struct Database {
    /// The files, or `None` if the database is in memory. This field is dropped before the
    /// connection. The connection may then remove the log.
    file: Option<DatabaseFile>,
    connection: Connection,
    clock: Arc<Clock>,
    /// Sessions that ended or changed their principal in this transaction. `None` stands for all.
    changed: RefCell<Vec<Option<SessionId>>>,
}

/// The settings of all connections of a store.
#[derive(Debug, Clone)]
pub(super) struct ConnectionSettings {
    /// The path of the file, or `None` if the database is in memory.
    pub(super) path: Option<PathBuf>,
    pub(super) durability: Durability,
    pub(super) clock: Arc<Clock>,
}

impl Database {
    /// Opens the database, and creates its file if it is missing.
    pub(super) fn open(settings: &ConnectionSettings) -> Result<Self, StoreError> {
        if rusqlite::version_number() < OLDEST {
            return Err(unsupported("SQLite 3.51.3 or later is needed"));
        }
        let (connection, file) = match &settings.path {
            Some(path) => {
                let (connection, file) = open_file(path)?;
                (connection, Some(file))
            }
            None => (Connection::open_in_memory().map_err(|error| statement_error(&error))?, None),
        };
        let clock = Arc::clone(&settings.clock);
        let mut database = Self { file, connection, clock, changed: RefCell::default() };
        database.set_up().map_err(|error| statement_error(&error))?;
        if database.file.is_some() {
            database.use_write_ahead_log()?;
        }
        database.set_durability(settings.durability).map_err(|error| statement_error(&error))?;
        Ok(database)
    }

    fn set_up(&mut self) -> rusqlite::Result<()> {
        let connection = &mut self.connection;
        connection.busy_handler(Some(wait_for_lock as fn(i32) -> bool))?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
        // SQLite overwrites removed values with zeros if this needs no additional write.
        connection.pragma_update(None, "secure_delete", "fast")
    }

    /// Switches the file to a write-ahead log, unless an earlier process has switched it. The file
    /// keeps that mode.
    ///
    /// The switch is a commit with a rollback journal. With a `synchronous` setting below `extra`,
    /// SQLite does not sync the removal of that journal. After a power cut the journal could exist
    /// again, and undo the switch.
    fn use_write_ahead_log(&self) -> Result<(), StoreError> {
        let connection = &self.connection;
        let extra = connection.pragma_update(None, "synchronous", "extra");
        extra.map_err(|error| statement_error(&error))?;
        let mut attempts = 0;
        let mode = loop {
            let mode = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| {
                row.get::<_, String>(0)
            });
            match mode {
                // SQLite does not call the busy handler here, because two processes that switch at
                // the same time might wait for each other. So this loop waits.
                Err(error) if is_busy(&error) && wait_for_lock(attempts) => attempts += 1,
                mode => break mode.map_err(|error| statement_error(&error))?,
            }
        };
        match &*mode {
            "wal" => Ok(()),
            _ => Err(unsupported("the file system of the database does not support shared memory")),
        }
    }

    fn set_durability(&self, durability: Durability) -> rusqlite::Result<()> {
        let synchronous = match durability {
            Durability::Full => "full",
            Durability::Normal => "normal",
        };
        self.connection.pragma_update(None, "synchronous", synchronous)
    }

    /// Returns the time, which operations pass to the rules of a session.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Records that a session ended or changed its principal. `None` stands for all sessions.
    pub(super) fn note_change(&self, id: impl Into<Option<SessionId>>) {
        self.changed.borrow_mut().push(id.into());
    }

    /// Returns the recorded changes, and forgets them.
    pub(super) fn take_changes(&self) -> Vec<Option<SessionId>> {
        self.changed.take()
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.borrow().is_empty()
    }

    /// Begins a transaction that may write. Waits until no other process writes.
    pub(super) fn begin_write(&self) -> Result<(), StoreError> {
        self.check_file()?;
        self.execute("begin immediate", [])?;
        self.file.iter().for_each(DatabaseFile::note_log);
        Ok(())
    }

    /// Begins a transaction that reads one state of the database.
    pub(super) fn begin_read(&self) -> Result<(), StoreError> {
        self.check_file()?;
        self.execute("begin", []).map(drop)
    }

    pub(super) fn commit(&self) -> Result<(), StoreError> {
        let committed = self.connection.prepare_cached("commit").and_then(|mut it| it.execute([]));
        committed.map(drop).map_err(|error| commit_error(&error))
    }

    /// Undoes the transaction. SQLite has already done so after some failures.
    pub(super) fn roll_back(&self) {
        self.changed.take();
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("rollback")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        let executed = self.connection.prepare_cached(sql).and_then(|mut it| it.execute(params));
        executed.map_err(|error| statement_error(&error))
    }

    pub(super) fn execute_all(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(|error| statement_error(&error))
    }

    pub(super) fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        decode: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(sql).map_err(|error| statement_error(&error))?;
        let row = statement.query_row(params, decode).optional();
        row.map_err(|error| statement_error(&error))
    }

    /// Runs a statement that finds at most one row, once for each of several parameters.
    pub(super) fn row_of_each<P: Params, T, C: FromIterator<T>>(
        &self,
        sql: &str,
        params: impl IntoIterator<Item = P>,
        decode: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<C, StoreError> {
        let mut statement =
            self.connection.prepare_cached(sql).map_err(|error| statement_error(&error))?;
        let rows = params
            .into_iter()
            .filter_map(|params| statement.query_row(params, &decode).optional().transpose());
        rows.collect::<Result<_, _>>().map_err(|error| statement_error(&error))
    }

    pub(super) fn rows<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        params: impl Params,
        decode: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<C, StoreError> {
        let mut statement =
            self.connection.prepare_cached(sql).map_err(|error| statement_error(&error))?;
        let rows = statement.query_map(params, decode).and_then(Iterator::collect);
        rows.map_err(|error| statement_error(&error))
    }

    fn check_file(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::check)
    }
}

fn open_file(path: &Path) -> Result<(Connection, DatabaseFile), StoreError> {
    DatabaseFile::create(path).map_err(|error| cannot_open(path, error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| statement_error(&error))?;
    // SQLite also opens a file without write permission, but then only for reads.
    if connection.is_readonly("main").map_err(|error| statement_error(&error))? {
        return Err(unsupported("the file of the database is read-only"));
    }
    let file = DatabaseFile::opened(path).map_err(|error| cannot_open(path, error))?;
    Ok((connection, file))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

thread_local! {
    /// The lock timeout of this thread, and the start of its current wait for a lock.
    static LOCK_WAIT: Cell<(Duration, Option<Instant>)> =
        const { Cell::new((Duration::ZERO, None)) };
}

/// Sets how long the connections of this thread wait for a lock.
pub(super) fn set_lock_timeout(timeout: Duration) {
    LOCK_WAIT.set((timeout, None));
}

/// Waits for a lock of another connection, and returns whether to try again.
///
/// SQLite's own handler sleeps for up to 100 ms and is unfair: with four processes, writes waited
/// up to 1.9 s. With these short sleeps they waited up to 99 ms.
fn wait_for_lock(attempts: i32) -> bool {
    let (timeout, since) = LOCK_WAIT.get();
    let now = Instant::now();
    let since = since.filter(|_| attempts > 0).unwrap_or(now);
    LOCK_WAIT.set((timeout, Some(since)));
    if now.duration_since(since) >= timeout {
        return false;
    }
    thread::sleep(Duration::from_micros(if attempts < 5 { 100 } else { 1000 }));
    true
}
