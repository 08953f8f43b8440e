//! Renews the secret of a session, and extends a remembered session, as the last step of a request.
//!
//! `transfer` calls [`note_due`] after a read, and `operations` calls [`renew`] before the
//! response. After the response, `transfer` calls both. A write that replaces the secret contains
//! the parts of [`Use`]. Knows deadlines and secrets, and nothing about fields.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    exchange::Exchange,
    identity::Identity,
    response::{CookieAction, TokenOrigin},
    store_call::Load,
};
use crate::{
    auth::Assurance,
    error::Error,
    event,
    session::config::SessionConfig,
    store::{
        AuthChange, Credentials, Projection, Renew, SessionMeta, SignedIn, Touch, Update, Updated,
        Written,
    },
    token::{CookieLife, Secret, Token},
    ttl::Ttl,
};

/// Maximum duration of a renewal whose token is sent to the client. During a longer renewal,
/// another request may have signed in, and the token would overwrite its cookie. The former secret
/// stays valid.
const MAX_RENEWAL: Duration = Duration::from_secs(1);

/// After a read, notes and returns whether the secret has to be renewed or the deadlines extended.
pub(super) fn note_due(exchange: &Exchange<'_>, meta: &SessionMeta) -> bool {
    let (config, cookie_life) = (exchange.shared.config(), exchange.state.identity.cookie_life());
    let is_due =
        secret_due(config, cookie_life, meta).is_some() || is_use_due(config, cookie_life, meta);
    if is_due {
        exchange.shared.response().owes_renewal = true;
    }
    is_due
}

/// Records that a write may have to extend a remembered session.
pub(super) fn note_use(exchange: &Exchange<'_>) {
    if exchange.shared.config().outlives_idle(exchange.state.identity.cookie_life()) {
        exchange.shared.response().owes_renewal = true;
    }
}

/// Returns the age at which the secret has to be renewed, either at the configured interval or to
/// extend a remembered cookie. `None` if the secret is younger.
fn secret_due(config: &SessionConfig, cookie_life: CookieLife, meta: &SessionMeta) -> Option<Ttl> {
    let age = meta.secret_age;
    let by_age = config.renew_every.filter(|every| age >= every.as_duration());
    let life = match cookie_life {
        CookieLife::Default => config.cookie_life.map(Ttl::as_duration),
        CookieLife::Browser | CookieLife::Remembered(_) => cookie_life.remembered(),
    };
    let by_cookie = life.filter(|life| {
        // A cookie that already lasts until the absolute deadline cannot be extended.
        let can_extend = |left: Duration| left > life.saturating_sub(age);
        age >= *life / 8 && meta.absolute_remaining.is_none_or(can_extend)
    });
    let by_cookie = by_cookie.and_then(|life| Ttl::new(life / 8).ok());
    by_age.into_iter().chain(by_cookie).min()
}

/// Returns whether the use of a session that outlives the idle timeout has to be counted.
fn is_use_due(config: &SessionConfig, cookie_life: CookieLife, meta: &SessionMeta) -> bool {
    let is_due = config.idle.is_some_and(|idle| meta.idle_for >= idle.as_duration() / 8);
    config.outlives_idle(cookie_life) && (is_due || has_to_lapse(config, cookie_life, meta))
}

/// Returns whether the authentication of a remembered session has lapsed, and the store has not
/// recorded it yet.
fn has_to_lapse(config: &SessionConfig, cookie_life: CookieLife, meta: &SessionMeta) -> bool {
    let is_noted = |signed_in: SignedIn| signed_in.assurance <= Assurance::Remembered;
    config.is_lapsed(cookie_life, meta) && !meta.signed_in.is_some_and(is_noted)
}

/// The parts of an update that count a use, for a session that outlives the idle timeout.
#[derive(Default)]
pub(super) struct Use {
    pub(super) touch: Option<Touch>,
    pub(super) auth_change: Option<AuthChange<'static>>,
}

impl Use {
    /// Returns the parts that are due.
    pub(super) fn due(config: &SessionConfig, cookie_life: CookieLife, meta: &SessionMeta) -> Self {
        let idle = config.idle_of(cookie_life).filter(|_| is_use_due(config, cookie_life, meta));
        let lapses = has_to_lapse(config, cookie_life, meta);
        Self {
            touch: idle.map(|idle| Touch::new(idle, Duration::ZERO)),
            auth_change: lapses.then_some(AuthChange::Lapse(Assurance::Remembered)),
        }
    }
}

/// Renews the secret and extends the deadlines if that is due. The renewal is the last step of a
/// request. If it came earlier, the token of a slow response could overwrite the cookie of a newer
/// sign-in. After the response, only extends the deadlines.
///
/// A failure does not affect the request. If the store has replaced the secret despite the failure,
/// the former secret stays valid, because no client uses the new secret. If the store has not
/// counted the use, the next request counts it.
pub(super) async fn renew(exchange: &mut Exchange<'_>) {
    if let Err(error) = try_renew(exchange).await {
        let cause: &dyn std::error::Error = &error;
        tracing::warn!(error = cause, "the renewal or touch at the end of a request failed");
    }
}

async fn try_renew(exchange: &mut Exchange<'_>) -> Result<(), Error> {
    let config = exchange.shared.config();
    let Identity::Confirmed { id, secret: current, cookie_life, is_successor } =
        exchange.state.identity
    else {
        return Ok(());
    };
    let may_set_cookie = match exchange.shared.response() {
        response if response.check_open().is_err() => false,
        response if response.is_undecided() => true,
        // The write that set the cookie has counted the use.
        _ => return Ok(()),
    };
    if exchange.state.pending.rotation().is_some() {
        return Ok(());
    }
    let meta = match exchange.state.meta_now() {
        Some(meta) => meta,
        None => {
            let load = Load { fields: Projection::Named(&[]), touch: None };
            let Some(loaded) = exchange.attempt(None, &load).await? else { return Ok(()) };
            loaded.meta
        }
    };
    let fresh = match secret_due(config, cookie_life, &meta).filter(|_| may_set_cookie) {
        Some(every) => {
            let secret = Secret::random(cookie_life)?.with_successor(is_successor);
            let hash = secret.hash(config.layer);
            Some((secret, hash, every))
        }
        None => None,
    };
    let renew = fresh.as_ref();
    let renew = renew.map(|(_, hash, every)| Renew::new(hash, *every, config.renewal_grace));
    let Use { touch, auth_change } = Use::due(config, cookie_life, &meta);
    let update = Update { renew, touch, auth_change, ..Update::default() };
    if renew.is_none() && update.touch.is_none() && auth_change.is_none() {
        return Ok(());
    }
    let asked = Instant::now();
    let answer = exchange.shared.call_store().update(Credentials::new(&id, &current), update);
    // `NotDue`: another request has renewed the secret. Refused: the credentials are no longer
    // valid.
    let Ok(Written { answer: Updated::Applied { .. }, .. }) = answer.await? else { return Ok(()) };
    exchange.state.meta = None;
    if let Some((secret, ..)) = fresh.filter(|_| asked.elapsed() < MAX_RENEWAL) {
        let token = Token { id, secret };
        let origin = TokenOrigin::Renewal;
        if exchange.shared.offer(CookieAction::Set {
            token,
            origin,
            longest: meta.absolute_remaining,
        }) {
            event::secret_replaced(&id, "renewal");
        }
    }
    Ok(())
}
