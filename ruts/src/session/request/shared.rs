//! The data of one request: [`Shared`].

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{
    identity::Identity,
    response::{CookieAction, ResponseClosed, ResponseState},
    state::State,
};
use crate::{
    client::ClientFingerprint,
    error::Error,
    session::config::{SessionConfig, SessionContext},
    store::{DynStore, Touch},
    token::{CookieLife, SessionId, Token},
};

/// How long an operation waits for another one of the same request.
const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// The data of one request, shared by all who extracted its session.
pub(super) struct Shared {
    context: Arc<SessionContext>,
    /// The client sent a cookie of this layer, usable or not.
    presented_cookie: bool,
    /// The fingerprint of the client, if clients are watched.
    pub(super) client: Option<ClientFingerprint>,
    arrived: Instant,
    calls: AtomicU32,
    /// Reads of this request are no activity.
    is_passive: AtomicBool,
    state: tokio::sync::Mutex<State>,
    was_used: AtomicBool,
    response: Mutex<ResponseState>,
}

impl Shared {
    pub(super) fn new(
        context: Arc<SessionContext>,
        presented_cookie: bool,
        tokens: (Option<Token>, Vec<Token>),
        client: Option<ClientFingerprint>,
        closed: Option<ResponseClosed>,
    ) -> Self {
        let identity = match tokens {
            (Some(token), others) => Identity::Presented(token, others),
            (None, _) => Identity::Anonymous,
        };
        Self {
            context,
            presented_cookie,
            client,
            arrived: Instant::now(),
            calls: AtomicU32::new(0),
            is_passive: AtomicBool::new(false),
            state: tokio::sync::Mutex::new(State::new(identity)),
            was_used: AtomicBool::new(false),
            response: Mutex::new(ResponseState { closed, ..ResponseState::default() }),
        }
    }

    /// Waits for the right to use the session. Fails if another operation of this request holds it for too
    /// long: a future that was polled once and is then held would hold it for ever.
    pub(super) async fn lock(&self) -> Result<tokio::sync::MutexGuard<'_, State>, Error> {
        self.was_used.store(true, Ordering::Relaxed);
        if let Ok(state) = self.state.try_lock() {
            return Ok(state);
        }
        timeout(LONGEST_HOLD, self.state.lock()).await.map_err(|_| Error::Busy)
    }

    /// Returns the state if no operation holds it.
    pub(super) fn try_lock(&self) -> Option<tokio::sync::MutexGuard<'_, State>> {
        self.state.try_lock().ok()
    }

    /// Whether the handler has used the session.
    pub(super) fn was_used(&self) -> bool {
        self.was_used.load(Ordering::Relaxed)
    }

    pub(super) fn response(&self) -> MutexGuard<'_, ResponseState> {
        self.response.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> Option<SessionId> {
        self.response().id
    }

    pub(super) fn store(&self) -> &Arc<dyn DynStore> {
        &self.context.store
    }

    /// Returns the store for a call that is counted.
    pub(super) fn call_store(&self) -> &dyn DynStore {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &**self.store()
    }

    pub(super) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn is_of(&self, context: &SessionContext) -> bool {
        Arc::ptr_eq(&self.context.layer, &context.layer)
    }

    pub(super) fn config(&self) -> &SessionConfig {
        &self.context.config
    }

    /// Returns the time since the request arrived.
    pub(super) fn elapsed(&self) -> Duration {
        self.arrived.elapsed()
    }

    pub(super) fn set_passive(&self) {
        self.is_passive.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_passive(&self) -> bool {
        self.is_passive.load(Ordering::Relaxed)
    }

    /// Returns what a read does to the idle deadline.
    pub(super) fn touch(&self, cookie: CookieLife) -> Option<Touch> {
        if self.is_passive() { None } else { self.config().touch(cookie) }
    }

    /// Returns what is left to do about the cookie of a session that this request has ended.
    pub(super) fn cookie_of_ended(&self) -> CookieAction {
        if self.presented_cookie { CookieAction::Clear } else { CookieAction::Keep }
    }

    /// Returns what to do about the cookie, and closes the response: no cookie can be set any more.
    pub(super) fn close_response(&self) -> CookieAction {
        let mut response = self.response();
        response.closed.get_or_insert(ResponseClosed::Sent);
        std::mem::take(&mut response.cookie)
    }

    /// Has the response carry the token of a renewal, unless it has left or sets another cookie.
    /// Returns whether it does.
    pub(super) fn offer(&self, cookie: CookieAction) -> bool {
        let mut response = self.response();
        let may_set = response.check_open().is_ok() && response.is_undecided();
        if may_set {
            response.cookie = cookie;
        }
        may_set
    }

    /// Has the response carry a fresh token.
    pub(super) fn set_cookie(&self, id: SessionId, cookie: CookieAction) -> Result<(), Error> {
        let mut response = self.response();
        response.owes_rotation = false;
        response.require_open()?;
        response.id = Some(id);
        response.cookie = cookie;
        Ok(())
    }
}
