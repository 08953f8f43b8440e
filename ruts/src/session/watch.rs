//! [`until_change`]: waits until a session ends or its principal changes.
//!
//! Called by `Session::watch`. Calls the store directly, because the wait can outlive the request.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use crate::{
    auth::PrincipalKey,
    store::{DynStore, SessionMeta, SignedIn, StoreError},
    token::SessionId,
};

/// Maximum time between two checks. A check finds changes that the store does not report.
const INTERVAL: Duration = Duration::from_secs(5);

/// Returns the time until the next check. It varies by up to a fifth, so that many watchers do not
/// check at the same time after a lost notification.
fn interval() -> Duration {
    let share = getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX));
    INTERVAL.mul_f64(1.0 - share / 5.0)
}

/// The change of a watched session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionChange {
    /// The session has ended.
    Ended,
    /// Another principal has signed in, or the principal has signed out.
    PrincipalChanged,
}

/// Waits until a session ends, or its principal is no longer `watched`.
pub(super) async fn until_change(
    store: Arc<dyn DynStore>,
    id: Option<SessionId>,
    watched: Option<PrincipalKey>,
) -> SessionChange {
    let Some(id) = id else { return SessionChange::Ended };
    loop {
        // Created before the check, so that no change is missed in between.
        let changed = store.wait_for_change(&id);
        let left = match store.inspect(&id).await {
            Ok(None) => return SessionChange::Ended,
            Ok(Some(meta)) if principal_of(meta.signed_in) != watched => {
                return SessionChange::PrincipalChanged;
            }
            Ok(Some(meta)) => left(&meta),
            Err(error) => {
                log_unchecked(&error);
                sleep(interval()).await;
                continue;
            }
        };
        let _ = timeout(interval().min(left), changed).await;
    }
}

/// Logs a failure of the store, but at most once per interval, because the checks of all watchers
/// fail at the same time.
// A function of its own, because the reference to the error is not `Send`.
fn log_unchecked(error: &StoreError) {
    static LOGGED: Mutex<Option<Instant>> = Mutex::new(None);
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.is_some_and(|logged| logged.elapsed() < INTERVAL) {
        return;
    }
    *logged = Some(Instant::now());
    let cause: &dyn std::error::Error = error;
    tracing::warn!(error = cause, "a watched session could not be checked for changes");
}

pub(super) fn principal_of(signed_in: Option<SignedIn>) -> Option<PrincipalKey> {
    signed_in.map(|signed_in| signed_in.principal)
}

/// Returns the time until the next deadline.
fn left(meta: &SessionMeta) -> Duration {
    // The store may have rounded down by a part of a millisecond, so one millisecond is added.
    let deadlines = [meta.idle_remaining, meta.absolute_remaining].into_iter().flatten();
    deadlines.min().map_or(INTERVAL, |left| left + Duration::from_millis(1))
}
