//! [`Shared`]: the data of one request, and the lock that makes its operations run one at a time.
//!
//! Used by `own_fields` and by all files with store calls. Makes no store call itself.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use http::uri::PathAndQuery;
use tokio::time::{Instant, timeout};

use super::{
    identity::Identity,
    response::{CookieAction, ResponseClosed, ResponseState},
    state::State,
};
use crate::{
    cache_policy::CachePolicy,
    client::ClientFingerprint,
    error::Error,
    event,
    field::FieldSpec,
    session::{
        config::{SessionConfig, SessionContext},
        schemas::Schemas,
        token_status::TokenStatus,
    },
    store::DynStore,
    token::{SessionId, Token},
};

/// Maximum time that an operation waits for another operation of the same request.
const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// The data of one request, shared by all extractions of its session.
pub(super) struct Shared {
    context: Arc<SessionContext>,
    /// Whether the client sent the cookie of this layer or a bearer token, valid or not.
    has_cookie: bool,
    #[cfg_attr(not(feature = "axum"), allow(dead_code, reason = "only guards read it"))]
    target: Option<PathAndQuery>,
    /// The status of the presented token, and the session that the token names. Empty until the
    /// store was asked.
    token_status: OnceLock<(TokenStatus, SessionId)>,
    /// The fingerprint of the client. `None` without `SessionLayer::watch_clients`.
    pub(super) client: Option<ClientFingerprint>,
    arrived: Instant,
    calls: AtomicU32,
    /// Whether reads by this request do not count as activity.
    is_passive: AtomicBool,
    /// Whether a read by this request has counted as activity.
    has_counted: AtomicBool,
    /// Whether nothing is logged or counted for this request.
    pub(super) is_look: bool,
    state: tokio::sync::Mutex<State>,
    was_used: AtomicBool,
    response: Mutex<ResponseState>,
}

/// The parts of a request that concern its session, as the layer has read them.
pub(crate) struct Incoming {
    /// Whether the client sent the cookie of this layer or a bearer token, valid or not.
    pub(crate) has_cookie: bool,
    pub(crate) token: Option<Token>,
    /// Other tokens, to try if the first is refused.
    pub(crate) others: Vec<Token>,
    /// The fingerprint of the client. `None` without `SessionLayer::watch_clients`.
    pub(crate) client: Option<ClientFingerprint>,
    pub(crate) closed: Option<ResponseClosed>,
    /// The path and query of the request, if the layer has a sign-in page.
    pub(crate) target: Option<PathAndQuery>,
    /// Whether the request only reads the session. If so, its reads do not count as activity, and
    /// nothing is logged or counted.
    pub(crate) is_look: bool,
}

impl Shared {
    pub(super) fn new(context: Arc<SessionContext>, incoming: Incoming) -> Self {
        let Incoming { has_cookie, token, others, client, closed, target, is_look } = incoming;
        let identity =
            token.map_or(Identity::Anonymous, |token| Identity::Presented(token, others));
        let response = ResponseState { closed, ..ResponseState::default() };
        let is_passive = AtomicBool::new(is_look);
        let with = Self::with(context, identity, response);
        Self { has_cookie, target, client, is_look, is_passive, ..with }
    }

    /// Creates the data of a job, which works on a session without a request.
    pub(super) fn internal(context: Arc<SessionContext>, id: SessionId) -> Self {
        let closed = Some(ResponseClosed::NoRequest);
        let response = ResponseState { closed, id: Some(id), ..ResponseState::default() };
        Self::with(context, Identity::Internal(id), response)
    }

    fn with(context: Arc<SessionContext>, identity: Identity, response: ResponseState) -> Self {
        Self {
            context,
            has_cookie: false,
            target: None,
            token_status: OnceLock::new(),
            client: None,
            arrived: Instant::now(),
            calls: AtomicU32::new(0),
            is_passive: AtomicBool::new(false),
            has_counted: AtomicBool::new(false),
            is_look: false,
            state: tokio::sync::Mutex::new(State::new(identity)),
            was_used: AtomicBool::new(false),
            response: Mutex::new(response),
        }
    }

    /// Waits for exclusive use of the session. Fails if another operation of this request holds it
    /// for longer than [`LONGEST_HOLD`]. For example, the handler may have polled the future of
    /// that operation once, and then neither polled nor dropped it.
    pub(super) async fn lock(&self) -> Result<tokio::sync::MutexGuard<'_, State>, Error> {
        self.was_used.store(true, Ordering::Relaxed);
        if let Ok(state) = self.state.try_lock() {
            return Ok(state);
        }
        timeout(LONGEST_HOLD, self.state.lock()).await.map_err(|_| Error::Busy)
    }

    /// Returns the state, or `None` if an operation holds it.
    pub(super) fn try_lock(&self) -> Option<tokio::sync::MutexGuard<'_, State>> {
        self.state.try_lock().ok()
    }

    /// Returns whether the handler has used the session.
    pub(super) fn was_used(&self) -> bool {
        self.was_used.load(Ordering::Relaxed)
    }

    pub(super) fn response(&self) -> MutexGuard<'_, ResponseState> {
        self.response.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> Option<SessionId> {
        self.response().id
    }

    pub(super) fn has_created(&self, id: &SessionId) -> bool {
        self.response().created.as_ref() == Some(id)
    }

    pub(super) fn store(&self) -> &Arc<dyn DynStore> {
        &self.context.store
    }

    /// Returns the store for one call, and counts the call.
    pub(super) fn call_store(&self) -> &dyn DynStore {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &**self.store()
    }

    pub(super) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn is_of(&self, context: &SessionContext) -> bool {
        Arc::ptr_eq(&self.context.layer, &context.layer)
            && self.context.settings == context.settings
    }

    /// Returns whether the layer of a context reads its tokens from the same cookie or header.
    pub(super) fn shares_token(&self, context: &SessionContext) -> bool {
        let own = &self.context;
        own.reads_header && context.reads_header
            || own.cookie.is_some() && own.cookie == context.cookie
    }

    pub(super) fn config(&self) -> &SessionConfig {
        &self.context.config
    }

    /// Passes the cache policy of a field to the store, if a cache must not answer without the
    /// origin.
    pub(super) fn hint_cache_policy(&self, field: &FieldSpec) {
        if matches!(field.cache_policy(), CachePolicy::NoStore | CachePolicy::Revalidate) {
            self.store().hint_cache_policy(field.name(), field.cache_policy());
        }
    }

    /// Returns the schemas that share the sessions of the layer.
    pub(super) fn schemas(&self) -> &Schemas {
        &self.context.layer.schemas
    }

    /// Records the answer to the presented token, and the session that the token names. Only the
    /// first answer is kept, because later ones concern other secrets.
    pub(super) fn note_token_status(&self, status: TokenStatus, id: SessionId) {
        self.token_status.get_or_init(|| (status, id));
    }

    pub(super) fn token_status(&self) -> (TokenStatus, Option<SessionId>) {
        let without = if self.has_cookie { TokenStatus::Unreadable } else { TokenStatus::NoToken };
        self.token_status.get().map_or((without, None), |(status, id)| (*status, Some(*id)))
    }

    /// Returns the path and query of the request, if the layer has a sign-in page.
    #[cfg(feature = "axum")]
    pub(super) fn target(&self) -> Option<&str> {
        self.target.as_ref().map(PathAndQuery::as_str)
    }

    /// Returns the time since the request arrived.
    pub(super) fn elapsed(&self) -> Duration {
        self.arrived.elapsed()
    }

    pub(super) fn set_passive(&self) {
        let was_passive = self.is_passive.swap(true, Ordering::Relaxed);
        if !was_passive && self.has_counted.load(Ordering::Relaxed) {
            event::passive_too_late();
        }
    }

    /// Records that a read counts as activity.
    pub(super) fn note_activity(&self) {
        self.has_counted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_passive(&self) -> bool {
        self.is_passive.load(Ordering::Relaxed)
    }

    /// Returns the cookie action after this request has ended its session.
    pub(super) fn cookie_of_ended(&self) -> CookieAction {
        if self.has_cookie { CookieAction::Clear } else { CookieAction::Keep }
    }

    /// Returns the cookie action, and closes the response: a cookie can no longer be set.
    pub(super) fn close_response(&self) -> CookieAction {
        let mut response = self.response();
        response.closed.get_or_insert(ResponseClosed::Sent);
        std::mem::take(&mut response.cookie)
    }

    /// Puts the token of a renewal into the response, unless the response was sent or sets a
    /// different token. Returns whether the response now sets this token.
    pub(super) fn offer(&self, cookie: CookieAction) -> bool {
        let mut response = self.response();
        let may_set = response.check_open().is_ok() && response.is_undecided();
        if may_set {
            response.cookie = cookie;
        }
        may_set
    }

    /// Puts a fresh token into the response.
    pub(super) fn set_cookie(&self, id: SessionId, cookie: CookieAction) -> Result<(), Error> {
        let mut response = self.response();
        response.owes_rotation = false;
        response.require_open()?;
        response.id = Some(id);
        response.cookie = cookie;
        Ok(())
    }
}
