//! Failures of PostgreSQL and of sqlx as a [`StoreError`].
//!
//! Used by every file that sends a statement or reads a row. Keeps details of the server out of
//! error texts, because they may quote a row.

use std::fmt;

use sqlx::{
    Error,
    error::DatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

use crate::store::{StoreError, StoreErrorKind};

pub(super) const NAME: &str = "postgres";

/// The failure of a statement.
#[derive(Debug)]
pub(super) struct StatementError {
    pub(super) error: StoreError,
    pub(super) connection_is_dead: bool,
}

impl From<StoreError> for StatementError {
    fn from(error: StoreError) -> Self {
        Self { error, connection_is_dead: false }
    }
}

impl From<StatementError> for StoreError {
    fn from(failed: StatementError) -> Self {
        failed.error
    }
}

/// An error of the server, without its detail, which may quote a row.
#[derive(Debug)]
struct ServerError {
    code: String,
    message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)
    }
}

impl std::error::Error for ServerError {}

#[derive(Debug, thiserror::Error)]
#[error("the operation timed out")]
struct TimedOut;

/// A requirement that the server does not meet.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unsuitable(pub(super) &'static str);

pub(super) const STANDBY: Unsuitable =
    Unsuitable("the server is a standby, which accepts no writes and may lag behind");

pub(super) fn unsupported(reason: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unsupported).with_source(reason)
}

pub(super) fn timed_out(kind: StoreErrorKind) -> StoreError {
    StoreError::new(NAME, kind).with_source(TimedOut)
}

pub(super) const fn corrupt() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Corrupt)
}

/// The error of an operation whose runtime shut down.
pub(super) const fn shut_down() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unknown)
}

/// The error of a statement that was sent.
pub(super) fn statement_error(error: Error) -> StatementError {
    let kind = match &error {
        Error::Database(server) if is_fatal(&**server) => StoreErrorKind::Unknown,
        Error::Database(server) => kind_of(&server.code().unwrap_or_default()),
        Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. } => StoreErrorKind::Corrupt,
        Error::Encode(_) => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Unknown,
    };
    let connection_is_dead = kind == StoreErrorKind::Unknown;
    let error = StoreError::new(NAME, kind).with_source(source(error));
    StatementError { error, connection_is_dead }
}

/// The error of the attempt to get a connection.
pub(super) fn connection_error(error: Error) -> StoreError {
    let kind = match &error {
        Error::Configuration(_) | Error::Tls(_) => StoreErrorKind::Unsupported,
        Error::Database(server) if is_configuration(&server.code().unwrap_or_default()) => {
            StoreErrorKind::Unsupported
        }
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(NAME, kind).with_source(source(error))
}

/// Whether the server has closed the connection. It may have done so long ago, or after a commit.
fn is_fatal(error: &dyn DatabaseError) -> bool {
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// The kind of an SQLSTATE. The server rolls a refused statement back.
fn kind_of(code: &str) -> StoreErrorKind {
    match code {
        "53100" | "53200" | "53400" => StoreErrorKind::Full,
        // A timestamp out of range.
        "22008" => StoreErrorKind::Corrupt,
        _ if is_configuration(code) => StoreErrorKind::Unsupported,
        _ if code.starts_with("08") => StoreErrorKind::Unknown,
        _ => StoreErrorKind::Unavailable,
    }
}

/// Whether the password, the database, a privilege, a table or a function is wrong.
fn is_configuration(code: &str) -> bool {
    code.starts_with("28") || code.starts_with("42") || matches!(code, "3D000" | "3F000")
}

fn source(error: Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        Error::Database(server) => Box::new(ServerError {
            code: server.code().unwrap_or_default().into_owned(),
            message: server.message().to_owned(),
        }),
        other => Box::new(other),
    }
}
