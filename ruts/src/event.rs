//! Reports what happens to sessions: as log events and, with the feature `metrics`, as counters and
//! histograms.
//!
//! Called by the layer, the session and the stores. An event names a session by its id, and never
//! contains a secret.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::token::SessionId;

/// Increments a counter, with the feature `metrics`.
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)*) => {
        #[cfg(feature = "metrics")]
        metrics::counter!($name $(, $label => $value)*).increment(1);
    };
}

/// Records a duration in a histogram, with the feature `metrics`.
macro_rules! time {
    ($name:literal, $time:expr $(, $label:literal => $value:expr)*) => {
        #[cfg(feature = "metrics")]
        metrics::histogram!($name $(, $label => $value)*).record($time);
        #[cfg(not(feature = "metrics"))]
        let _ = ($time, $($value),*);
    };
}

/// A layer was applied. An alert notices an increase only of a counter that already exists. So the
/// counters of rare events are created here, with the value 0.
pub(crate) fn layer_applied() {
    #[cfg(feature = "metrics")]
    for name in [
        "ruts_duplicate_cookies_total",
        "ruts_limits_reached_total",
        "ruts_revoked_everyone_total",
        "ruts_secrets_reused_total",
        "ruts_unknown_tokens_total",
        "ruts_unreadable_tokens_total",
    ] {
        metrics::counter!(name).increment(0);
    }
}

/// A session called its store.
pub(crate) fn store_called(
    store: &'static str,
    operation: &'static str,
    time: Duration,
    is_done: bool,
) {
    let outcome = outcome(is_done);
    time!(
        "ruts_store_seconds", time,
        "store" => store, "operation" => operation, "outcome" => outcome
    );
}

/// A layered store called its cache or its origin.
#[cfg(feature = "layered-store")]
pub(crate) fn tier_called(tier: &'static str, store: &'static str, time: Duration, is_done: bool) {
    let outcome = outcome(is_done);
    time!("ruts_tier_seconds", time, "tier" => tier, "store" => store, "outcome" => outcome);
}

fn outcome(is_done: bool) -> &'static str {
    if is_done { "done" } else { "failed" }
}

/// A read of a layered store has asked the cache (`hit`, `miss`, `failed`) or has bypassed it
/// (`passed`).
#[cfg(feature = "layered-store")]
pub(crate) fn cache_read(outcome: &'static str) {
    count!("ruts_cache_reads_total", "outcome" => outcome);
    let _ = outcome;
}

/// A read of the origin offers its answer to the cache (`offered`), or does not (`refused`). The
/// answer is not offered in any of these cases:
///
/// - The read bypassed the cache.
/// - A write or too many fills are in progress.
/// - The fields must not be cached.
#[cfg(feature = "layered-store")]
pub(crate) fn cache_fill(outcome: &'static str) {
    count!("ruts_cache_fills_total", "outcome" => outcome);
    let _ = outcome;
}

pub(crate) fn created(id: &SessionId) {
    count!("ruts_sessions_created_total");
    tracing::info!(%id, "session created");
}

/// The secret was replaced: by a write, or by a renewal.
pub(crate) fn secret_replaced(id: &SessionId, cause: &'static str) {
    count!("ruts_secrets_replaced_total", "cause" => cause);
    tracing::info!(%id, cause, "session secret replaced");
}

pub(crate) fn signed_in(id: &SessionId, assurance: u8) {
    count!("ruts_sign_ins_total", "assurance" => assurance.to_string());
    tracing::info!(%id, assurance, "signed in");
}

pub(crate) fn principal_removed(id: &SessionId) {
    count!("ruts_principals_removed_total");
    tracing::info!(%id, "principal removed from session");
}

pub(crate) fn ended(id: &SessionId, cause: &'static str) {
    count!("ruts_sessions_ended_total", "cause" => cause);
    tracing::info!(%id, cause, "session ended");
}

pub(crate) fn all_ended() {
    count!("ruts_revoked_everyone_total");
    tracing::warn!("all sessions ended");
}

/// A sign-in was refused by the session limit.
pub(crate) fn limit_reached() {
    count!("ruts_limits_reached_total");
    tracing::warn!("session limit of a principal reached");
}

/// A request that is not late presented a secret that was replaced, or the secret of a deleted
/// session. Its token is a stale or stolen copy.
pub(crate) fn reuse(id: &SessionId, ago: Duration) {
    count!("ruts_secrets_reused_total");
    tracing::warn!(%id, ?ago, "reuse of a former session secret");
}

/// A request has several session cookies. One of them may have been set by a different host of the
/// domain, or for a different path.
pub(crate) fn duplicate_cookies() {
    count!("ruts_duplicate_cookies_total");
    tracing::warn!("several session cookies in one request");
}

/// A response sets two cookies of one name, so one of them is lost.
pub(crate) fn cookie_set_twice(name: &str) {
    tracing::error!(
        name,
        "the response sets two cookies of one name: give each session layer a different cookie name"
    );
}

/// Two nested layers take each other's tokens for their own.
pub(crate) fn token_shared(layer: &str) {
    tracing::error!(
        layer,
        "two nested session layers read the same cookie or header: give each of them a different cookie name"
    );
}

/// A guard refuses the guests who ask for the sign-in page.
#[cfg(feature = "axum")]
pub(crate) fn sign_in_page_guarded(page: &str) {
    tracing::error!(page, "a guard covers the sign-in page itself, so guests cannot sign in");
}

/// `set_passive` was called after a read that has counted as activity.
pub(crate) fn passive_too_late() {
    tracing::warn!(
        "`set_passive` has no effect: the request has already read the session, which counts"
    );
}

/// The client of a request differs from the client that signed in.
pub(crate) fn client_changed(id: &SessionId, changed: &[&str], action: &'static str) {
    count!("ruts_clients_changed_total", "action" => action);
    tracing::warn!(%id, ?changed, action, "the client has changed since the sign-in");
}

/// The signed-in user no longer exists, or has a stamp that the session does not accept.
pub(crate) fn user_changed(id: Option<&SessionId>, reason: &'static str) {
    count!("ruts_users_changed_total");
    tracing::info!(id = id.map(tracing::field::display), reason, "the signed-in user has changed");
}

/// An encrypted value was decrypted, with the first key of the ring or with a former one. As long
/// as the counter of `former` grows, the ring needs its former keys.
pub(crate) fn decrypted(field: &str, by_first: bool) {
    let key = if by_first { "first" } else { "former" };
    count!("ruts_decryptions_total", "field" => field.to_owned(), "key" => key);
    let _ = (field, key);
}

/// A signed or encrypted cookie was read, with the first key of the ring or with a former one.
#[cfg(any(feature = "signed", feature = "private"))]
pub(crate) fn cookie_read(by_first: bool) {
    let key = if by_first { "first" } else { "former" };
    count!("ruts_cookies_read_total", "key" => key);
    let _ = key;
}

/// A declared field was read. The label `shape` is `own` if the field's own type wrote the value,
/// and `other` if a different type wrote it. It is `unknown` if the value does not have the
/// fingerprint of a single type.
#[cfg(feature = "metrics")]
pub(crate) fn field_read(field: &'static str, version: u16, shape: &'static str) {
    count!(
        "ruts_field_reads_total",
        "field" => field, "version" => version.to_string(), "shape" => shape
    );
}

/// A stored value cannot be read, and the layer treats it as absent. Logged once for each field,
/// because there may be many such values.
pub(crate) fn unreadable(field: &str, error: &dyn std::error::Error) {
    static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    count!("ruts_unreadable_fields_total", "field" => field.to_owned());
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    // A field name may come from a client, so the set is bounded.
    if logged.len() < 1000 && logged.insert(field.to_owned()) {
        tracing::warn!(field, %error, "unreadable values of this session field are read as absent");
    }
}

/// A request presented a session cookie or header without a readable token. It was signed or
/// encrypted with a key that the layer does not have, or was altered.
pub(crate) fn unreadable_token() {
    count!("ruts_unreadable_tokens_total");
    tracing::info!("unreadable session token");
}

/// A request presented a token that does not belong to a live session: the session has expired or
/// was revoked, or the token was guessed.
pub(crate) fn unknown_token(id: &SessionId) {
    count!("ruts_unknown_tokens_total");
    tracing::info!(%id, "unknown session token");
}
