//! What happens to sessions, for logs. A session is named by its handle, never by a secret.

use std::time::Duration;

use crate::token::Handle;

pub(crate) fn created(handle: &Handle) {
    tracing::info!(%handle, "session created");
}

/// The secret was replaced because of what was written, or because it was time.
pub(crate) fn rotated(handle: &Handle, cause: &'static str) {
    tracing::info!(%handle, cause, "session rotated");
}

pub(crate) fn signed_in(handle: &Handle, assurance: u8) {
    tracing::info!(%handle, assurance, "signed in");
}

pub(crate) fn signed_out(handle: &Handle) {
    tracing::info!(%handle, "signed out");
}

pub(crate) fn ended(handle: &Handle, cause: &'static str) {
    tracing::info!(%handle, cause, "session ended");
}

pub(crate) fn everybody_ended() {
    tracing::warn!("all sessions ended");
}

/// A sign-in was refused, because there are as many sessions as there may be.
pub(crate) fn limit_reached() {
    tracing::warn!("too many sessions of one principal");
}

/// Somebody has a secret that was replaced a while ago: a stale copy, or a stolen one.
pub(crate) fn reuse(handle: &Handle, ago: Duration) {
    tracing::warn!(%handle, ?ago, "reuse of a former session secret");
}

/// There are several cookies of our name: one was planted, from another site of the domain or for another
/// path.
pub(crate) fn several_cookies() {
    tracing::warn!("several session cookies in one request");
}

/// Somebody has a token that opens nothing: of a session that is over, or guessed.
pub(crate) fn unknown_token(handle: &Handle) {
    tracing::info!(%handle, "unknown session token");
}
