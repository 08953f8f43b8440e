//! The files of a database: a check that the path still leads to the file that was opened, and a reserve
//! for a full disk.
//!
//! Used by `connection`, `threads` and the writer. Knows nothing of SQL.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::error::unavailable;
use crate::store::StoreError;

/// Bytes of the reserve: enough for a checkpoint of a small log, and for many short transactions.
const RESERVE: u64 = 1024 * 1024;

/// The file of an open database.
#[derive(Clone)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    identity: Identity,
}

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
        Ok(Self { path: path.to_owned(), identity })
    }

    /// Fails if the path leads to another file, or to none, because writes to a removed file are lost.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if identity(&metadata) == self.identity => Ok(()),
            _ => Err(unavailable("the file of the database was removed or replaced")),
        }
    }
}

#[cfg(unix)]
type Identity = (u64, u64);

/// Returns device and inode of a file, which no other file shares while this one is open.
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

/// A file of zeros beside the database. On a full disk, its removal makes room for deletions, revocations
/// and rotations.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Returns the reserve of a database. Does not create the file.
    pub(super) fn beside(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-reserve");
        Self { path: path.into() }
    }

    /// Writes the file unless it exists. If the disk is too full for the file, removes the file again.
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
