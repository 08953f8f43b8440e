//! Converts failures of SQLite and of its file to [`StoreError`].
//!
//! Used by every file that runs a statement. The source of an error, if there is one, is SQLite's
//! error code with its fixed text, a `Reason` or a path. It contains no statement and no value.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Error, ErrorCode, ffi};

use crate::store::{StoreError, StoreErrorKind};

pub(super) const NAME: &str = "sqlite";

/// A reason that SQLite itself does not report.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(&'static str);

#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be opened", path.display())]
struct CannotOpen {
    path: PathBuf,
    source: io::Error,
}

/// Returns the error of a failed statement. SQLite or the writer rolls the statement back, so
/// nothing was changed.
pub(super) fn statement_error(error: &Error) -> StoreError {
    let Error::SqliteFailure(failure, _) = error else {
        // A value of a type or length that no release writes.
        return corrupt();
    };
    let kind = match failure.code {
        ErrorCode::DiskFull | ErrorCode::OutOfMemory => StoreErrorKind::Full,
        // The disk has no space for the shared memory of the log.
        _ if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => StoreErrorKind::Full,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreErrorKind::Corrupt,
        // A table or column is missing.
        ErrorCode::Unknown => StoreErrorKind::Unsupported,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(NAME, kind).with_source(*failure)
}

/// Returns the error of a failed commit. After an I/O error, the commit may or may not be on the
/// disk.
pub(super) fn commit_error(error: &Error) -> StoreError {
    match error.sqlite_error() {
        Some(failure) if failure.code == ErrorCode::SystemIoFailure => {
            StoreError::new(NAME, StoreErrorKind::OutcomeUnknown).with_source(*failure)
        }
        _ => statement_error(error),
    }
}

pub(super) const fn corrupt() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Corrupt)
}

pub(super) fn unsupported(reason: &'static str) -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unsupported).with_source(Reason(reason))
}

pub(super) fn unavailable(reason: &'static str) -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(Reason(reason))
}

/// Returns the error of a file that cannot be created or opened.
pub(super) fn cannot_open(path: &Path, source: io::Error) -> StoreError {
    let reason = CannotOpen { path: path.to_owned(), source };
    StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(reason)
}

/// Returns the error of an operation whose thread ended before it answered.
pub(super) fn lost() -> StoreError {
    let reason = Reason("the thread of the store ended");
    StoreError::new(NAME, StoreErrorKind::OutcomeUnknown).with_source(reason)
}
