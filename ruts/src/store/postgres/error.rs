//! Converts failures of PostgreSQL and of sqlx to [`StoreError`].
//!
//! Used by every file that sends a statement or reads a row. Keeps the `DETAIL` of a server's error
//! out of error texts, because the detail may quote a row.

use std::{fmt, io::ErrorKind};

use sqlx::{
    Error,
    error::DatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

use crate::store::{StoreError, StoreErrorKind};

pub(super) const NAME: &str = "postgres";

/// SQLSTATE of the error that a function raises at an isolation level other than `read committed`.
const ISOLATION: &str = "RUT01";

/// SQLSTATE of the error that a function raises in a transaction that the application left open.
const FOREIGN_TRANSACTION: &str = "RUT02";

/// SQLSTATE of a statement in a transaction that has failed.
pub(super) const FAILED_TRANSACTION: &str = "25P02";

/// SQLSTATE of a missing privilege.
const MISSING_RIGHT: &str = "42501";

/// The failure of a statement.
#[derive(Debug, Clone)]
pub(super) struct StatementError {
    pub(super) error: StoreError,
    /// Whether the connection is broken, has lost its state, or leads to a server that cannot run
    /// statements.
    pub(super) connection_is_dead: bool,
    /// Whether the connection is dead only because its server cannot serve, such as a standby.
    pub(super) is_unfit: bool,
    /// Whether the application has left a transaction open on the connection.
    pub(super) is_in_transaction: bool,
    /// Whether the role of the connection lacks a right.
    pub(super) lacks_right: bool,
    /// Whether the statement failed because of a concurrent statement, and may succeed if it is
    /// repeated.
    was_broken_off: bool,
    /// Whether it is certain that the statement changed nothing.
    changed_nothing: bool,
}

impl StatementError {
    const fn new(error: StoreError) -> Self {
        Self {
            error,
            connection_is_dead: false,
            is_unfit: false,
            is_in_transaction: false,
            lacks_right: false,
            was_broken_off: false,
            changed_nothing: false,
        }
    }

    /// Creates the failure of a statement that got no answer in time.
    pub(super) fn silence() -> Self {
        Self { connection_is_dead: true, ..Self::new(timed_out(StoreErrorKind::OutcomeUnknown)) }
    }

    /// Returns whether the statement can succeed, and does no harm, if it is sent again.
    pub(super) const fn can_repeat(&self, is_read: bool) -> bool {
        (self.connection_is_dead || self.was_broken_off) && (is_read || self.changed_nothing)
    }
}

impl From<StoreError> for StatementError {
    fn from(error: StoreError) -> Self {
        Self::new(error)
    }
}

impl From<StatementError> for StoreError {
    fn from(failed: StatementError) -> Self {
        failed.error
    }
}

/// An error of the server, without the detail, which may quote a row.
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

const OPEN_TRANSACTION: Unsuitable =
    Unsuitable("the application left a transaction open on a connection of the pool");

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

/// Returns the error of an operation whose runtime shut down.
pub(super) const fn shut_down() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::OutcomeUnknown)
}

/// Creates the failure of a read that a standby answered.
pub(super) fn on_standby() -> StatementError {
    StatementError {
        connection_is_dead: true,
        is_unfit: true,
        ..StatementError::new(unsupported(STANDBY))
    }
}

/// Creates the failure of a read in a transaction that the application left open.
pub(super) fn in_foreign_transaction() -> StatementError {
    let error = StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(OPEN_TRANSACTION);
    StatementError {
        connection_is_dead: true,
        is_in_transaction: true,
        ..StatementError::new(error)
    }
}

/// Returns the failure of a statement that was sent. `is_complete` is true if the server has
/// reported completion. The server reports completion before it commits.
pub(super) fn statement_error(error: Error, is_complete: bool) -> StatementError {
    let mut failed = StatementError::new(StoreError::new(NAME, StoreErrorKind::OutcomeUnknown));
    let kind = match &error {
        Error::Database(server) => {
            let code = server.code().unwrap_or_default();
            let was_closed = is_fatal(&**server);
            failed.connection_is_dead = was_closed || is_of_connection(&code);
            failed.is_unfit = !was_closed && is_unfit(&code);
            failed.is_in_transaction = matches!(&*code, FOREIGN_TRANSACTION | FAILED_TRANSACTION);
            failed.lacks_right = code == MISSING_RIGHT;
            failed.was_broken_off = is_broken_off(&code);
            // The server reports completion before it commits. A pooler may lose that report.
            failed.changed_nothing =
                if was_closed { !is_complete && is_shutdown(&code) } else { !is_lost(&code) };
            if failed.changed_nothing { kind_of(&code) } else { StoreErrorKind::OutcomeUnknown }
        }
        Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. } => StoreErrorKind::Corrupt,
        Error::Encode(_) => StoreErrorKind::Unavailable,
        // Only a write to the socket fails in this way. The request ends with a `Sync`, without
        // which the server commits nothing.
        Error::Io(error) if error.kind() == ErrorKind::BrokenPipe => {
            failed.connection_is_dead = true;
            failed.changed_nothing = true;
            StoreErrorKind::Unavailable
        }
        _ => {
            failed.connection_is_dead = true;
            StoreErrorKind::OutcomeUnknown
        }
    };
    failed.error = StoreError::new(NAME, kind).with_source(source(error));
    failed
}

/// Returns the error of an attempt to get a connection.
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

/// Returns whether the server refused a connection because the server or the role has too many
/// connections.
pub(super) fn is_full(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code == "53300")
}

/// Returns whether the server has closed the connection, perhaps long ago or after a commit.
fn is_fatal(error: &dyn DatabaseError) -> bool {
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// Returns whether the server shut down, ended the connection on request, or found it idle for too
/// long.
fn is_shutdown(code: &str) -> bool {
    matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03")
}

/// Returns whether the cause is the connection, not the statement:
///
/// - The server is gone or read-only.
/// - Prepared statements are missing or outdated.
/// - The connection began with a wrong isolation level. A new connection may have the right one.
/// - The application left a transaction open, perhaps one that has failed.
fn is_of_connection(code: &str) -> bool {
    is_lost(code)
        || is_shutdown(code)
        || is_unfit(code)
        || matches!(code, "26000" | "0A000" | FOREIGN_TRANSACTION | FAILED_TRANSACTION)
}

/// Returns whether the transactions of the server are read-only, or have an unsuitable isolation
/// level.
fn is_unfit(code: &str) -> bool {
    matches!(code, "25006" | ISOLATION)
}

/// Returns whether a pooler has lost its server.
fn is_lost(code: &str) -> bool {
    code.starts_with("08")
}

/// Returns whether the cause is a deadlock, a serialization failure, or the timeout of a lock.
fn is_broken_off(code: &str) -> bool {
    matches!(code, "40P01" | "40001" | "55P03")
}

/// Returns the kind of an SQLSTATE. The server rolls a refused statement back.
fn kind_of(code: &str) -> StoreErrorKind {
    match code {
        "53100" | "53200" | "53400" => StoreErrorKind::Full,
        // A timestamp out of range, or a missing row of the epoch.
        "22008" | "P0002" => StoreErrorKind::Corrupt,
        ISOLATION => StoreErrorKind::Unsupported,
        _ if is_configuration(code) => StoreErrorKind::Unsupported,
        _ => StoreErrorKind::Unavailable,
    }
}

/// Returns whether the password, the database, a privilege, a table or a function is wrong.
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
