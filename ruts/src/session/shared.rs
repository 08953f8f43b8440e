use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    ClientFingerprint, SessionConfig, SessionContext, SessionMap,
    apply::{Group, Writing, put},
    config::Signing,
    identity::{Closed, Identity},
    memory::Memory,
    operation::{Delete, Load},
    reply::{CookieAction, Reply, ResponseClosed},
    state::State,
    value,
};
use crate::{
    codec::CodecError,
    error::Error,
    event,
    field::FieldSpec,
    sealing::{FieldAad, Plaintext},
    store::{
        AbsoluteDeadline, Change, DynStore, Precondition, Projection, SessionMeta, TakeField,
        Touch, Update, Updated,
    },
    token::{SessionId, Token},
    ttl::{CachePolicy, Ttl},
};

/// How often an `update` tries before it gives up, and the longest pause between two tries.
const TRIES: u32 = 48;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A response that comes within this time takes a cookie away that opens nothing (NIST SP 800-63B-4, 5.1).
/// A later one might take away the cookie of a sign-in that came meanwhile.
const PROMPT: Duration = Duration::from_secs(5);

/// What an `update` makes of a stored value. It may be called several times.
pub(super) type Modify<'a> =
    &'a mut (dyn FnMut(Option<&Plaintext>) -> Result<Option<Bytes>, Error> + Send);

/// The session of one request, shared by all who extracted it.
///
/// Operations run one at a time, each holding the state across its call to the store. A future
/// that is dropped on the way leaves a state that is right whether or not the store did its part:
/// what it was about to change is forgotten beforehand, and a secret that may have been installed
/// is kept as `pending_rotation`.
pub(super) struct Shared {
    context: Arc<SessionContext>,
    /// The client sent a cookie of our name, usable or not.
    presented: bool,
    /// What the client shows of itself, if that is watched.
    pub(super) client: Option<ClientFingerprint>,
    started: Instant,
    calls: AtomicU32,
    /// Reads of this request are no activity.
    passive: AtomicBool,
    state: tokio::sync::Mutex<State>,
    pub(super) reply: Mutex<Reply>,
}

impl Shared {
    pub(super) fn new(
        context: Arc<SessionContext>,
        presented: bool,
        tokens: (Option<Token>, Option<Token>),
        client: Option<ClientFingerprint>,
        closed: Option<ResponseClosed>,
    ) -> Self {
        let identity = match tokens {
            (Some(token), other) => Identity::Presented(token, other),
            (None, _) => Identity::Anonymous,
        };
        let state = State::new(identity);
        Self {
            context,
            presented,
            client,
            started: Instant::now(),
            calls: AtomicU32::new(0),
            passive: AtomicBool::new(false),
            state: tokio::sync::Mutex::new(state),
            reply: Mutex::new(Reply::new(closed)),
        }
    }

    pub(super) fn id(&self) -> Option<SessionId> {
        self.reply().id
    }

    pub(super) fn store(&self) -> &Arc<dyn DynStore> {
        &self.context.store
    }

    pub(super) fn config(&self) -> &SessionConfig {
        &self.context.config
    }

    /// The store, for a call that counts.
    pub(super) fn ask(&self) -> &dyn DynStore {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &**self.store()
    }

    pub(super) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn prepare_rotation(&self) {
        self.reply().rotate = true;
    }

    pub(super) fn be_passive(&self) {
        self.passive.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_passive(&self) -> bool {
        self.passive.load(Ordering::Relaxed)
    }

    /// What a read does to the idle deadline.
    pub(super) fn touch(&self) -> Option<Touch> {
        if self.is_passive() { None } else { self.config().touch() }
    }

    /// Ages and deadlines as they are now; `None` without a session. It is no activity.
    pub(super) async fn meta(&self) -> Result<Option<SessionMeta>, Error> {
        let mut state = self.state.lock().await;
        let load = Load { fields: Projection::Named(&[]), touch: None };
        let fallback_secret = state.fallback_secret();
        let loaded = self.attempt(&mut state, fallback_secret.as_ref(), &load).await?;
        Ok(loaded.map(|loaded| state.seen(loaded.meta)))
    }

    /// Ages and deadlines as they were when this request last learned of them.
    pub(super) async fn known_meta(&self) -> Result<Option<SessionMeta>, Error> {
        let mut state = self.state.lock().await;
        if state.meta.is_none() && state.identity.may_be_open() {
            self.load(&mut state, Projection::Named(&[])).await?;
        }
        Ok(state.meta.map(|(meta, at)| state.seen(meta.later(at.elapsed()))))
    }

    /// What to do about the cookie. From here on, none can be handed out.
    pub(super) fn seal(&self) -> CookieAction {
        let mut reply = self.reply();
        reply.closed.get_or_insert(ResponseClosed::Sent);
        match std::mem::replace(&mut reply.cookie, CookieAction::Keep) {
            CookieAction::Keep if reply.expired && self.started.elapsed() < PROMPT => {
                self.cleared()
            }
            cookie => cookie,
        }
    }

    /// Confirms the session with the store if that was not done yet.
    pub(super) async fn open(&self) -> Result<Option<SessionId>, Error> {
        let mut state = self.state.lock().await;
        if matches!(state.identity, Identity::Presented(..)) {
            self.load(&mut state, Projection::Named(&[])).await?;
        }
        Ok(self.id())
    }

    /// Tells the store of a field that a cache does not answer alone.
    pub(super) fn declare(&self, field: &FieldSpec) {
        if matches!(field.hot(), CachePolicy::Never | CachePolicy::Checked) {
            self.store().hint_cache_policy(field.name(), field.hot());
        }
    }

    /// What the field holds; fetches all of `group` if it is not known yet.
    pub(super) async fn get(&self, name: &str, group: Group) -> Result<Option<Plaintext>, Error> {
        let mut state = self.state.lock().await;
        self.learn(&mut state, name, group).await?;
        self.open_field(&state, name, state.memory.get(name))
    }

    /// A value in the clear.
    fn open_value(
        &self,
        state: &State,
        name: &str,
        stored: &Bytes,
    ) -> Result<Plaintext, CodecError> {
        let Some(id) = &state.identity.id() else { return Err(CodecError::NoKey) };
        self.config().cipher.open(FieldAad { id, field: name }, stored)
    }

    fn open_field(
        &self,
        state: &State,
        name: &str,
        stored: Option<&Bytes>,
    ) -> Result<Option<Plaintext>, Error> {
        let opened = stored.map(|stored| self.open_value(state, name, stored)).transpose();
        opened.map_err(|source| value::decode_error(name, source))
    }

    /// What these fields hold, in their order.
    pub(super) async fn get_many(
        &self,
        fields: &[&FieldSpec],
    ) -> Result<Vec<Option<Result<Plaintext, CodecError>>>, Error> {
        let mut state = self.state.lock().await;
        fields.iter().for_each(|field| self.declare(field));
        self.fetch(&mut state, fields.iter().map(|field| field.name()).collect()).await?;
        let open = |field: &&FieldSpec| {
            let stored = state.memory.get(field.name())?;
            Some(self.open_value(&state, field.name(), stored))
        };
        Ok(fields.iter().map(open).collect())
    }

    /// Everything the session holds; `None` without a session.
    pub(super) async fn get_all(&self) -> Result<Option<SessionMap>, Error> {
        let mut state = self.state.lock().await;
        if !state.identity.may_be_open() {
            return Ok(None);
        }
        if !state.memory.knows_all() {
            self.load(&mut state, Projection::All).await?;
        }
        let open = matches!(state.identity, Identity::Open { .. });
        let fields = state.memory.present();
        let fields =
            fields.map(|(name, stored)| (name.clone(), self.open_value(&state, name, stored)));
        Ok(open.then(|| SessionMap::new(fields)))
    }

    /// Applies changes together, and says how many removals and expiries found their field.
    pub(super) async fn write(
        &self,
        changes: &[Change<'_>],
        writing: Writing,
    ) -> Result<usize, Error> {
        let mut state = self.state.lock().await;
        let update = Update { changes, ..Update::default() };
        let updated = self.update(&mut state, update, &writing).await?;
        Self::confirm(&mut state)?;
        match updated {
            Updated::Applied { found } => Ok(found),
            // Nothing was expected, and nothing is renewed.
            Updated::Conflict { .. } | Updated::NotDue => Ok(0),
        }
    }

    /// Moves the absolute deadline.
    pub(super) async fn end_after(&self, ttl: Ttl) -> Result<(), Error> {
        let absolute = AbsoluteDeadline { from_now: ttl, from_creation: self.config().absolute };
        let update = Update { absolute: Some(absolute), ..Update::default() };
        self.update_existing(update, Writing::default()).await
    }

    /// Replaces the secret. Without a session there is nothing to replace.
    pub(super) async fn rotate(&self) -> Result<(), Error> {
        let writing = Writing { rotate: true, ..Writing::default() };
        self.update_existing(Update::default(), writing).await
    }

    async fn update_existing(&self, update: Update<'_>, writing: Writing) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        if !state.identity.may_create() {
            self.update(&mut state, update, &writing).await?;
        }
        Self::confirm(&mut state)
    }

    /// Atomic read-modify-write of one field: compare-and-set until it succeeds.
    pub(super) async fn modify(
        &self,
        field: &FieldSpec,
        group: Group,
        modify: Modify<'_>,
    ) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        self.declare(field);
        self.learn(&mut state, field.name(), group).await?;
        for attempt in 0..TRIES {
            let current = state.memory.get(field.name()).cloned();
            let opened = self.open_field(&state, field.name(), current.as_ref())?;
            let next = modify(opened.as_ref())?;
            let change = match &next {
                Some(value) => Change::Set(put(field, value)),
                None if current.is_none() => return Ok(()),
                None => Change::Remove(field.name()),
            };
            let expect = Some(Precondition { name: field.name(), value: current.as_ref() });
            let update = Update { changes: &[change], precondition: expect, ..Update::default() };
            let writing = Writing::of(field);
            match self.update(&mut state, update, &writing).await? {
                Updated::Applied { .. } => return Self::confirm(&mut state),
                Updated::Conflict { .. } | Updated::NotDue => pause(attempt).await,
            }
        }
        Err(Error::Conflict { field: field.name().to_owned() })
    }

    /// Removes a field and hands out what it held.
    pub(super) async fn take(&self, field: &FieldSpec) -> Result<Option<Plaintext>, Error> {
        let name = field.name();
        let mut state = self.state.lock().await;
        if !state.identity.may_be_open() {
            return Ok(None);
        }
        self.look_at_client(&mut state).await?;
        state.memory.forget(name);
        let rotation = self.begin_rotation(&mut state, field.is_rotating(), None)?;
        let hash = rotation.hash();
        let sign_out = field.is_principal();
        let take =
            TakeField { name, rotate: hash.as_ref(), touch: self.config().touch(), sign_out };
        let taken = self.attempt(&mut state, rotation.fallback_secret.as_ref(), &take).await?;
        let Some(value) = taken else { return Ok(None) };
        self.finish_rotation(&mut state, rotation).await?;
        state.memory.remember(name, None);
        if sign_out {
            state.meta = None;
            if value.is_some() {
                self.log_signing(&Signing::Out);
            }
        }
        // Nobody else gets it, so it is handed out in any case.
        if let Some(within) = state.unconfirmed.take() {
            tracing::warn!(field = name, ?within, "a cache may show what was taken");
        }
        self.open_field(&state, name, value.as_ref())
    }

    /// Ends the session.
    ///
    /// A deletion whose answer was lost counts as this request's own when it is tried again, or
    /// when the response leaves: signing out fails towards being signed out.
    pub(super) async fn delete(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        if state.identity.may_be_open() {
            state.memory = Memory::default();
            let fallback_secret = state.fallback_secret();
            let tried_before = std::mem::replace(&mut state.ending, true);
            match self.attempt(&mut state, fallback_secret.as_ref(), &Delete { tried_before }).await
            {
                Ok(Some(())) => self.log_ended(),
                Ok(None) => state.ending = tried_before,
                Err(error) => {
                    state.ending = tried_before || error.is_unknown();
                    if state.ending {
                        self.reply().cookie = self.cleared();
                    }
                    return Err(error);
                }
            }
        }
        match state.identity {
            // Another request did it, and may have signed in again: not our cookie to clear.
            Identity::Closed(Closed::Deleted) => return Ok(()),
            Identity::Closed(Closed::Lost | Closed::Gone) => return Err(Error::Ended),
            _ => {}
        }
        let unconfirmed = Self::confirm(&mut state);
        self.end(&mut state);
        unconfirmed
    }

    /// Drops what was read so far, so that the next read asks the store.
    pub(super) async fn refresh(&self) {
        let mut state = self.state.lock().await;
        state.memory = Memory::default();
        state.meta = None;
    }

    /// What is left to do about the cookie of a session that this request has ended.
    pub(super) fn cleared(&self) -> CookieAction {
        if self.presented { CookieAction::Clear } else { CookieAction::Keep }
    }

    fn log_ended(&self) {
        if let Some(id) = self.id() {
            event::ended(&id, "request");
        }
    }
}

/// Waits a random while, longer the more tries there were, so that contenders come apart.
async fn pause(attempt: u32) {
    let longest = LONGEST_PAUSE.min(Duration::from_micros(500) * 2_u32.saturating_pow(attempt));
    // Without randomness the pause is the longest: slower, never wrong.
    let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    tokio::time::sleep(longest.mul_f64(share)).await;
}
