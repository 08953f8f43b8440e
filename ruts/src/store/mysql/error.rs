//! Converts failures of the server and of sqlx to [`StoreError`].
//!
//! Used by every file that sends a statement or reads a row. Keeps the server's error texts out of
//! errors, because these texts quote keys and statements.

use std::io::ErrorKind;

use sqlx::{Error, error::DatabaseError, mysql::MySqlDatabaseError};

use crate::store::{StoreError, StoreErrorKind};

pub(super) const NAME: &str = "mysql";

/// The failure of a statement.
#[derive(Debug, Clone)]
pub(super) struct StatementError {
    pub(super) error: StoreError,
    /// Whether the connection is broken, or its server is read-only.
    pub(super) connection_is_dead: bool,
    /// Whether the connection is dead only because its server cannot serve, such as a read-only
    /// server.
    pub(super) is_unfit: bool,
    /// Whether an insertion failed because a row with its key exists.
    pub(super) is_duplicate: bool,
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
            is_duplicate: false,
            was_broken_off: false,
            changed_nothing: false,
        }
    }

    /// Creates the error of a statement that got no answer in time.
    pub(super) fn silence(can_change: bool) -> Self {
        let kind =
            if can_change { StoreErrorKind::OutcomeUnknown } else { StoreErrorKind::Unavailable };
        Self {
            connection_is_dead: true,
            changed_nothing: !can_change,
            ..Self::new(timed_out(kind))
        }
    }

    /// Creates the error of a script that the server has carried out only in part, without
    /// reporting an error.
    pub(super) fn broken_off_silently() -> Self {
        let reason = Reason("the server aborted a statement without reporting an error");
        Self::new(StoreError::new(NAME, StoreErrorKind::OutcomeUnknown).with_source(reason))
    }

    /// Returns whether it is useful and safe to send the statement again.
    pub(super) const fn can_repeat(&self) -> bool {
        (self.connection_is_dead || self.was_broken_off) && self.changed_nothing
    }

    /// Allows one more attempt if an insertion found its key in use. That attempt finds the row.
    pub(super) fn broken_off_by_duplicate(mut self) -> Self {
        self.was_broken_off |= self.is_duplicate;
        self
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

/// An error of the server, without its text.
#[derive(Debug, thiserror::Error)]
#[error("server error {number} (SQLSTATE {state})")]
struct ServerError {
    number: u16,
    state: String,
}

/// A reason that the server does not report as an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Reason(pub(super) &'static str);

pub(super) fn unsupported(reason: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unsupported).with_source(reason)
}

pub(super) fn timed_out(kind: StoreErrorKind) -> StoreError {
    StoreError::new(NAME, kind).with_source(Reason("the operation timed out"))
}

/// Returns the error of a statement that is too large for the server.
pub(super) fn too_large() -> StoreError {
    let reason = Reason("the values are larger than half of `max_allowed_packet` of the server");
    StoreError::new(NAME, StoreErrorKind::Full).with_source(reason)
}

pub(super) const fn corrupt() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Corrupt)
}

/// Returns the error of an operation whose runtime shut down.
pub(super) const fn shut_down() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::OutcomeUnknown)
}

/// Returns the error for a server that accepts no writes, and may lag behind.
pub(super) fn read_only() -> StatementError {
    StatementError {
        connection_is_dead: true,
        is_unfit: true,
        changed_nothing: true,
        ..StatementError::new(unsupported(READ_ONLY))
    }
}

pub(super) const READ_ONLY: Reason =
    Reason("the server is read-only, like a replica, and may lag behind");

pub(super) const ROWS_ARE_MISSING: Reason = Reason(
    "the table of locks or of the epoch lacks rows: call `create_tables(true)`, or run the SQL of the \
     builder",
);

/// Returns the error for a value with a type or length that no release writes.
pub(super) fn decode_error(_: Error) -> StoreError {
    corrupt()
}

/// Returns the error of a script that was sent. `can_change` is true if the script can commit a
/// change. `begun` is true if the server has answered a statement of the script.
pub(super) fn statement_error(error: Error, can_change: bool, begun: bool) -> StatementError {
    let mut failed = StatementError::new(StoreError::new(NAME, StoreErrorKind::OutcomeUnknown));
    let mut kind = StoreErrorKind::Unavailable;
    failed.changed_nothing = true;
    match &error {
        Error::Database(server) => {
            let number = number(&**server);
            failed.connection_is_dead = is_of_connection(number);
            failed.is_unfit = is_unfit(number);
            failed.is_duplicate = number == 1062;
            failed.was_broken_off = is_broken_off(number);
            failed.changed_nothing = !(can_change && begun && is_in_doubt(number));
            kind = kind_of(number);
        }
        // Only sending fails with this error, and the server does not run an incomplete packet.
        Error::Io(error) if error.kind() == ErrorKind::BrokenPipe => {
            failed.connection_is_dead = true;
        }
        _ => {
            failed.connection_is_dead = true;
            failed.changed_nothing = !can_change;
        }
    }
    if !failed.changed_nothing {
        kind = StoreErrorKind::OutcomeUnknown;
    }
    failed.error = StoreError::new(NAME, kind).with_source(source(error));
    failed
}

/// Returns the error of a failed attempt to get a connection.
pub(super) fn connection_error(error: Error) -> StoreError {
    let kind = match &error {
        Error::Configuration(_) | Error::Tls(_) => StoreErrorKind::Unsupported,
        Error::Database(server) => match kind_of(number(&**server)) {
            StoreErrorKind::Unsupported => StoreErrorKind::Unsupported,
            _ => StoreErrorKind::Unavailable,
        },
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(NAME, kind).with_source(source(error))
}

/// Returns whether the server refused a connection because the server or the user has too many
/// connections.
pub(super) fn is_full(error: &dyn DatabaseError) -> bool {
    matches!(number(error), 1040 | 1203 | 1226)
}

fn number(error: &dyn DatabaseError) -> u16 {
    error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number)
}

/// Returns whether the cause is the connection, not the statement:
///
/// - The server or an administrator ended the connection.
/// - The connection was idle for too long.
/// - A proxy has lost its server.
/// - The server is read-only.
fn is_of_connection(number: u16) -> bool {
    is_in_doubt(number) || is_unfit(number) || matches!(number, 1184 | 4031)
}

/// Returns whether the server is read-only, or has left its cluster.
fn is_unfit(number: u16) -> bool {
    matches!(number, 1047 | 1290 | 1792 | 1836)
}

/// Returns whether the server or a proxy may report the error after a commit.
fn is_in_doubt(number: u16) -> bool {
    matches!(number, 1053 | 1152 | 1158..=1161 | 1180 | 1927 | 2006 | 2013)
}

/// Returns whether the cause is a deadlock, a lock that was not granted in time, a row that
/// changed, or a conflict in a cluster.
fn is_broken_off(number: u16) -> bool {
    matches!(number, 1020 | 1205 | 1213 | 3101)
}

/// Returns the kind of an error after which nothing was changed.
fn kind_of(number: u16) -> StoreErrorKind {
    match number {
        // The disk, a table or the memory is full, or a value is larger than a packet may be.
        1021 | 1037 | 1038 | 1041 | 1114 | 1153 => StoreErrorKind::Full,
        // The password, the database, a privilege, a table, a column or a setting is wrong.
        1044..=1046
        | 1049
        | 1054
        | 1064
        | 1142
        | 1143
        | 1146
        | 1227
        | 1251
        | 1370
        | 1665
        | 1698 => StoreErrorKind::Unsupported,
        // A row, or a whole table, is damaged.
        1034 | 1194 | 1712 => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    }
}

fn source(error: Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        Error::Database(server) => Box::new(ServerError {
            number: number(&*server),
            state: server.code().unwrap_or_default().into_owned(),
        }),
        other => Box::new(other),
    }
}
