//! Checks of the errors that stores return: their kinds and texts.

use std::{error::Error, fmt::Debug};

use ruts::store::{StoreError, StoreErrorKind};

/// Returns the kind of a failure that must occur.
pub fn error_kind<T: Debug>(answer: Result<T, StoreError>) -> StoreErrorKind {
    answer.expect_err("the operation should fail").kind()
}

/// Returns the text of an error and of all its causes.
pub fn error_chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", error_chain(source)),
        None => error.to_string(),
    }
}

/// Checks that an error is of the kind `Unsupported`, and that its text contains `reason`.
///
/// # Panics
///
/// Panics on any other answer.
#[track_caller]
pub fn assert_unsupported<T>(answer: Result<T, StoreError>, reason: &str) {
    let error = answer.err().expect("the operation should be refused");
    let text = error_chain(&error);
    assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{text}");
    assert!(text.contains(reason), "{text}");
}
