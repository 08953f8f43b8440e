use std::{error::Error, fmt::Debug};

use ruts::store::{StoreError, StoreErrorKind};

/// The kind of a failure that must come.
pub fn kind<T: Debug>(answer: Result<T, StoreError>) -> StoreErrorKind {
    answer.expect_err("this fails").kind()
}

/// An error and all its causes.
pub fn told(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", told(source)),
        None => error.to_string(),
    }
}
