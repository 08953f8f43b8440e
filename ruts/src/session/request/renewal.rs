//! Replaces a secret because of its age: [`note_due`], then [`renew`].

use super::{
    exchange::Exchange,
    response::{CookieAction, TokenOrigin},
};
use crate::{
    event,
    store::{Credentials, Renew, SessionMeta, Update, Updated, Written},
    token::{Secret, Token},
};

/// Notes that the secret is old enough to be replaced, after a read.
pub(super) fn note_due(exchange: &Exchange<'_>, meta: &SessionMeta) {
    let Some(renewal) = exchange.shared.config().renewal else { return };
    let is_due = meta.secret_age >= renewal.every.as_duration();
    if is_due && !exchange.shared.is_passive() {
        exchange.shared.response().owes_renewal = true;
    }
}

/// Replaces the secret as the last step of a request: a token that waits in a slow response could
/// overwrite the cookie of a newer sign-in.
///
/// A failure does not concern the request: the former secret stays valid until the client has used the
/// new one, and for the grace period after.
pub(super) async fn renew(exchange: &mut Exchange<'_>) {
    let config = exchange.shared.config();
    let (Some(renewal), true) = (config.renewal, may_renew(exchange)) else { return };
    let (Some((id, current)), Ok(secret)) = (exchange.credentials(), Secret::random()) else {
        return;
    };
    let hash = secret.hash(config.layer);
    let renew = Renew::new(&hash, renewal.every, renewal.grace);
    let update = Update { renew: Some(renew), ..Update::default() };
    let answer = exchange.shared.call_store().update(Credentials::new(&id, &current), update);
    match answer.await {
        Ok(Ok(Written { answer: Updated::Applied { .. }, .. })) => {
            let origin = TokenOrigin::Renewal;
            if exchange.shared.offer(CookieAction::Set { token: Token { id, secret }, origin }) {
                event::rotated(&id, "renewal");
            }
        }
        // Another request was faster, or the session has just ended.
        Ok(_) => {}
        Err(error) => {
            let cause: &dyn std::error::Error = &error;
            tracing::warn!(error = cause, "a session secret could not be renewed");
        }
    }
}

/// Not while another secret is pending.
fn may_renew(exchange: &Exchange<'_>) -> bool {
    let response = exchange.shared.response();
    exchange.state.pending.rotation().is_none()
        && response.check_open().is_ok()
        && response.is_undecided()
}
