//! [`contended`]: the error of a sign-in that failed because too many other sign-ins of its
//! principal were in progress.
//!
//! Used by the stores that repeat a sign-in at a session limit. Knows nothing about lists or tiers.

use super::{StoreError, StoreErrorKind};

/// Maximum number of attempts at a sign-in that the limit refuses. Before each further attempt, a
/// sign-in in a different process has taken the room.
pub(in crate::store) const SIGN_IN_ATTEMPTS: usize = 64;

/// Other sign-ins of the principal have taken the room at each attempt, or kept their turns.
#[derive(Debug, thiserror::Error)]
#[error("too many sign-ins of the principal are in progress")]
struct Contended;

pub(in crate::store) fn contended(store: &'static str) -> StoreError {
    StoreError::new(store, StoreErrorKind::Unavailable).with_source(Contended)
}
