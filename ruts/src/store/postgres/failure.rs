use std::fmt;

use sqlx::{
    Error,
    error::DatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

use crate::store::{StoreError, StoreErrorKind};

/// What the server said, without the detail: that may quote a row.
#[derive(Debug)]
struct Refusal {
    code: String,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)
    }
}

impl std::error::Error for Refusal {}

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer in time")]
struct NoAnswer;

pub(super) fn late(kind: StoreErrorKind) -> StoreError {
    StoreError::new(NAME, kind).with_source(NoAnswer)
}

pub(super) const NAME: &str = "postgres";

/// Why a statement has no answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: StoreError,
    pub(super) connection_is_dead: bool,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self { error, connection_is_dead: false }
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// The failure of a statement that was sent.
pub(super) fn failed(error: Error) -> Failed {
    let kind = match &error {
        Error::Database(refusal) if is_fatal(&**refusal) => StoreErrorKind::Unknown,
        Error::Database(refusal) => refused(&refusal.code().unwrap_or_default()),
        Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. } => StoreErrorKind::Corrupt,
        Error::Encode(_) => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Unknown,
    };
    let connection_is_dead = kind == StoreErrorKind::Unknown;
    Failed { error: StoreError::new(NAME, kind).with_source(source(error)), connection_is_dead }
}

/// Whether the server has closed the connection: perhaps long ago, perhaps after a commit.
fn is_fatal(refusal: &dyn DatabaseError) -> bool {
    refusal
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// The failure to get a connection.
pub(super) fn unreachable(error: Error) -> StoreError {
    let kind = match &error {
        Error::Configuration(_) | Error::Tls(_) => StoreErrorKind::Unsupported,
        Error::Database(refusal) if is_setting(&refusal.code().unwrap_or_default()) => {
            StoreErrorKind::Unsupported
        }
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(NAME, kind).with_source(source(error))
}

/// The server is not one that can keep sessions.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(pub(super) &'static str);

pub(super) const STANDBY: Unfit =
    Unfit("the server is a standby: it takes no writes and may lag behind");

pub(super) fn unfit(complaint: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unsupported).with_source(complaint)
}

pub(super) fn corrupt() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Corrupt)
}

fn source(error: Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        Error::Database(refusal) => Box::new(Refusal {
            code: refusal.code().unwrap_or_default().into_owned(),
            message: refusal.message().to_owned(),
        }),
        other => Box::new(other),
    }
}

/// By SQLSTATE. A statement that was refused was rolled back.
fn refused(code: &str) -> StoreErrorKind {
    match code {
        "53100" | "53200" | "53400" => StoreErrorKind::Full,
        // A time that cannot be.
        "22008" => StoreErrorKind::Corrupt,
        _ if is_setting(code) => StoreErrorKind::Unsupported,
        _ if code.starts_with("08") => StoreErrorKind::Unknown,
        _ => StoreErrorKind::Unavailable,
    }
}

/// Wrong password, database, privilege, or something about the tables and functions.
fn is_setting(code: &str) -> bool {
    code.starts_with("28") || code.starts_with("42") || matches!(code, "3D000" | "3F000")
}
