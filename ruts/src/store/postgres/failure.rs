use std::{fmt, time::Duration};

use sqlx::Error;

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
#[error("no answer within {0:?}")]
pub(super) struct NoAnswer(pub(super) Duration);

pub(super) const NAME: &str = "postgres";

/// The failure of a statement that was sent.
pub(super) fn failed(error: Error) -> StoreError {
    let kind = match &error {
        Error::Database(refusal) => refused(&refusal.code().unwrap_or_default()),
        Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. } => StoreErrorKind::Corrupt,
        Error::Encode(_) => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Unknown,
    };
    StoreError::new(NAME, kind).with_source(source(error))
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
        // The server is going away: the statement may have been committed before.
        "57P01" | "57P02" | "57P03" => StoreErrorKind::Unknown,
        _ if is_setting(code) => StoreErrorKind::Unsupported,
        _ if code.starts_with("08") => StoreErrorKind::Unknown,
        _ => StoreErrorKind::Unavailable,
    }
}

/// Wrong password, database, privilege, table, schema or function.
fn is_setting(code: &str) -> bool {
    code.starts_with("28") || matches!(code, "3D000" | "3F000" | "42501" | "42P01" | "42883")
}
