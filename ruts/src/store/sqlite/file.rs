//! The files of a database. [`DatabaseFile`] checks that the paths still lead to the opened files.
//! [`Reserve`] is space that is freed on a full disk.
//!
//! Used by `connection`, `threads` and the writer. Knows nothing about SQL.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use super::error::unavailable;
use crate::store::StoreError;

/// Bytes of the reserve: enough for a checkpoint of a small log, and for many short transactions.
const RESERVE: u64 = 1024 * 1024;

/// The files of an open database.
pub(super) struct DatabaseFile {
    path: PathBuf,
    identity: Identity,
    /// The paths of the write-ahead log and of its index, which is in shared memory.
    log: [PathBuf; 2],
    /// The log that the connection writes to. Empty until its first write.
    own_log: OnceLock<Arc<Log>>,
}

/// The files of a write-ahead log: the log and its index.
type Log = [Identity; 2];

impl DatabaseFile {
    /// Creates the file if it is missing, readable only by its owner. SQLite gives the other files
    /// the same permissions.
    pub(super) fn create(path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => created.map(drop),
        }
    }

    /// Remembers the file that was opened.
    pub(super) fn opened(path: &Path) -> io::Result<Self> {
        let identity = identity(&fs::metadata(path)?);
        let log = ["-wal", "-shm"].map(|suffix| beside(path, suffix));
        Ok(Self { path: path.to_owned(), identity, log, own_log: OnceLock::new() })
    }

    /// Fails if a path leads to a different file, or to no file, because writes to a removed file
    /// are lost.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if identity(&metadata) == self.identity => {}
            _ => return Err(unavailable("the file of the database was removed or replaced")),
        }
        // Locked until the comparison, so that no connection records a different log in between.
        let logs = open_logs();
        let found = self.found_log();
        match logs.get(&self.identity).and_then(Weak::upgrade) {
            // Another process removes the log if this process has lost its locks. It loses them by
            // closing a second handle of the database, for example after copying the file. If the
            // index is missing, another process creates a new index. The two processes then do not
            // see each other's writes and locks.
            Some(log) if found != Some(*log) => Err(unavailable(
                "the write-ahead log of the database, or its index, was removed or replaced",
            )),
            _ => Ok(()),
        }
    }

    /// Remembers the log, after the connection has begun a write. From now on, SQLite keeps the log
    /// until the last such connection closes.
    pub(super) fn note_log(&self) {
        if self.own_log.get().is_some() {
            return;
        }
        let Some(found) = self.found_log() else { return };
        let mut logs = open_logs();
        logs.retain(|_, log| log.strong_count() > 0);
        let known = logs.get(&self.identity).and_then(Weak::upgrade);
        let log = known.unwrap_or_else(|| Arc::new(found));
        logs.insert(self.identity, Arc::downgrade(&log));
        let _ = self.own_log.set(log);
    }

    /// Returns the log to which the paths lead. `None` if a file is missing.
    fn found_log(&self) -> Option<Log> {
        let [log, index] = &self.log;
        let found = |path| fs::metadata(path).ok().map(|metadata| identity(&metadata));
        Some([found(log)?, found(index)?])
    }
}

/// Returns the write-ahead logs that connections of this process have open, by their databases.
fn open_logs() -> MutexGuard<'static, BTreeMap<Identity, Weak<Log>>> {
    static LOGS: Mutex<BTreeMap<Identity, Weak<Log>>> = Mutex::new(BTreeMap::new());
    LOGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the path of the file with this suffix next to the database. As in SQLite, if the path of
/// the database is a symbolic link, that file is next to the target of the link.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let database = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let mut path = database.into_os_string();
    path.push(suffix);
    path.into()
}

#[cfg(unix)]
type Identity = (u64, u64);

/// Returns the device and the inode of a file. While this file is open, no other file has both.
#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
type Identity = Option<std::time::SystemTime>;

#[cfg(not(unix))]
fn identity(metadata: &fs::Metadata) -> Identity {
    metadata.created().ok()
}

/// A file of zeros next to the database. On a full disk, its removal makes room for deletions,
/// revocations and rotations.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Returns the reserve of a database. Does not create the file.
    pub(super) fn beside(database: &Path) -> Self {
        Self { path: beside(database, "-reserve") }
    }

    /// Writes the file unless it exists. If the disk is too full for the file, removes the file
    /// again.
    pub(super) fn fill(&self) {
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() >= RESERVE) {
            return;
        }
        let filled = File::create(&self.path).and_then(|mut file| {
            let zeros = [0; 64 * 1024];
            (0..RESERVE / zeros.len() as u64).try_for_each(|_| file.write_all(&zeros))
        });
        if filled.is_err() {
            self.release();
        }
    }

    /// Removes the file. Another process may already have removed it.
    pub(super) fn release(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
