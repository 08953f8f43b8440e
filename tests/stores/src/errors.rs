//! Checks of the errors that stores return: their kinds and texts.

use std::{error::Error, fmt::Debug};

use ruts::store::{Store, StoreError, StoreErrorKind};
use ruts_tests_support::{APPLIED, TestSession};

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

/// Checks a session whose field `a` is malformed, and whose field `b` is `2`: reads of `b` succeed,
/// and a write replaces `a`.
///
/// # Panics
///
/// Panics if a check fails.
pub async fn assert_replaceable<S: Store>(session: &TestSession<S>) {
    assert_eq!(error_kind(session.load().await), StoreErrorKind::Corrupt);
    let other = session.get("b").await.unwrap().unwrap();
    assert_eq!(other, "2", "the other fields should be readable");
    let replaced = session.set("a", "1").await.unwrap();
    assert_eq!(replaced, APPLIED, "a write should replace the unreadable value");
    assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
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
