//! Checks of errors.

use std::{error::Error, fmt::Debug};

use ruts::store::{StoreError, StoreErrorKind};

/// Returns the kind of a failure that must occur.
pub fn error_kind<T: Debug>(answer: Result<T, StoreError>) -> StoreErrorKind {
    answer.expect_err("the operation fails").kind()
}

/// Returns the text of an error and of all its causes.
pub fn error_chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", error_chain(source)),
        None => error.to_string(),
    }
}
