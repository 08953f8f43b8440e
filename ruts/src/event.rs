//! What happens to sessions, for logs and, with the feature `metrics`, for counters. A session is named by
//! its id, never by a secret.

use std::time::Duration;

use crate::token::SessionId;

/// Counts something up, if there is anything to count with.
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)*) => {
        #[cfg(feature = "metrics")]
        metrics::counter!($name $(, $label => $value)*).increment(1);
    };
}

/// Notes how long something took, if there is anything to note it with.
macro_rules! time {
    ($name:literal, $time:expr $(, $label:literal => $value:expr)*) => {
        #[cfg(feature = "metrics")]
        metrics::histogram!($name $(, $label => $value)*).record($time);
        #[cfg(not(feature = "metrics"))]
        let _ = ($time, $($value),*);
    };
}

/// A call of a session to its store.
pub(crate) fn store_called(
    store: &'static str,
    operation: &'static str,
    time: Duration,
    is_done: bool,
) {
    let outcome = if is_done { "done" } else { "failed" };
    time!("ruts_store_seconds", time, "store" => store, "operation" => operation, "outcome" => outcome);
}

/// A command or an operation of a layered store.
#[cfg(feature = "layered-store")]
pub(crate) fn tier_called(tier: &'static str, store: &'static str, time: Duration, is_done: bool) {
    let outcome = if is_done { "done" } else { "failed" };
    time!("ruts_tier_seconds", time, "tier" => tier, "store" => store, "outcome" => outcome);
}

/// A read through a cache: `hit`, `miss`, `failed`, or `passed` if it was not asked.
#[cfg(feature = "layered-store")]
pub(crate) fn cache_read(outcome: &'static str) {
    count!("ruts_cache_reads_total", "outcome" => outcome);
    let _ = outcome;
}

/// What a read brought for a cache: `offered`, or `refused` because somebody writes, the cache is busy, or
/// the fields are not for it.
#[cfg(feature = "layered-store")]
pub(crate) fn cache_fill(outcome: &'static str) {
    count!("ruts_cache_fills_total", "outcome" => outcome);
    let _ = outcome;
}

pub(crate) fn created(id: &SessionId) {
    count!("ruts_sessions_created_total");
    tracing::info!(%id, "session created");
}

/// The secret was replaced because of what was written, or because it was time.
pub(crate) fn rotated(id: &SessionId, cause: &'static str) {
    count!("ruts_sessions_rotated_total", "cause" => cause);
    tracing::info!(%id, cause, "session rotated");
}

pub(crate) fn signed_in(id: &SessionId, assurance: u8) {
    count!("ruts_sign_ins_total", "assurance" => assurance.to_string());
    tracing::info!(%id, assurance, "signed in");
}

pub(crate) fn signed_out(id: &SessionId) {
    count!("ruts_sign_outs_total");
    tracing::info!(%id, "signed out");
}

pub(crate) fn ended(id: &SessionId, cause: &'static str) {
    count!("ruts_sessions_ended_total", "cause" => cause);
    tracing::info!(%id, cause, "session ended");
}

pub(crate) fn everybody_ended() {
    count!("ruts_revoked_everyone_total");
    tracing::warn!("all sessions ended");
}

/// A sign-in was refused, because there are as many sessions as there may be.
pub(crate) fn limit_reached() {
    count!("ruts_limits_reached_total");
    tracing::warn!("too many sessions of one principal");
}

/// Somebody has a secret that was replaced a while ago: a stale copy, or a stolen one.
pub(crate) fn reuse(id: &SessionId, ago: Duration) {
    count!("ruts_secrets_reused_total");
    tracing::warn!(%id, ?ago, "reuse of a former session secret");
}

/// There are several cookies of our name: one was planted, from another site of the domain or for another
/// path.
pub(crate) fn several_cookies() {
    count!("ruts_duplicate_cookies_total");
    tracing::warn!("several session cookies in one request");
}

/// A client does not look as it did when somebody signed in with it.
pub(crate) fn client_changed(id: &SessionId, changed: &[&str], risk: &'static str) {
    count!("ruts_clients_changed_total", "risk" => risk);
    tracing::warn!(%id, ?changed, risk, "a session's client has changed");
}

/// Somebody has a token that opens nothing: of a session that is over, or guessed.
pub(crate) fn unknown_token(id: &SessionId) {
    count!("ruts_unknown_tokens_total");
    tracing::info!(%id, "unknown session token");
}
