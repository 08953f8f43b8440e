use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Policy,
    identity::Identity,
    memory::Memory,
    operation::{Delete, Load, Operation},
    reply::{Reply, Verdict},
};
use crate::{
    error::Error,
    field::FieldSpec,
    store::{
        Access, Change, Create, ErasedStore, Expect, Fields, LATE, Lookup, Put, Take, Update,
        Updated,
    },
    token::{Handle, Secret, Token},
    ttl::Ttl,
};

/// How often an `update` tries before it gives up, and the longest pause between two tries.
const TRIES: u32 = 48;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What an `update` makes of a stored value. It may be called several times.
pub(super) type Modify<'a> =
    &'a mut (dyn FnMut(Option<&Bytes>) -> Result<Option<Bytes>, Error> + Send);

/// The session of one request, shared by all who extracted it.
///
/// Operations run one at a time, each holding the state across its call to the store. A future
/// that is dropped on the way leaves a state that is right whether or not the store did its part:
/// what it was about to change is forgotten beforehand, and a secret that may have been installed
/// is kept as `unsettled`.
pub(super) struct Shared {
    store: Arc<dyn ErasedStore>,
    policy: Arc<Policy>,
    /// The client sent a cookie of our name, usable or not.
    presented: bool,
    state: tokio::sync::Mutex<State>,
    reply: Mutex<Reply>,
}

struct State {
    identity: Identity,
    memory: Memory,
    /// The secret of a rotation of which the store has not said whether it took place.
    unsettled: Option<Secret>,
}

/// The two secrets of an operation that may rotate.
struct Rotation {
    /// To be tried if the current secret opens nothing: it may have been installed unnoticed.
    earlier: Option<Secret>,
    /// To be installed.
    fresh: Option<Secret>,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn ErasedStore>,
        policy: Arc<Policy>,
        token: Option<Token>,
        presented: bool,
    ) -> Self {
        let identity = token.map_or(Identity::Anonymous, Identity::Presented);
        let state = State { identity, memory: Memory::default(), unsettled: None };
        let reply = Reply { verdict: Verdict::Keep, handle: None, rotate: false, sent: false };
        Self {
            store,
            policy,
            presented,
            state: tokio::sync::Mutex::new(state),
            reply: Mutex::new(reply),
        }
    }

    pub(super) fn store(&self) -> &dyn ErasedStore {
        &*self.store
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        self.reply().handle
    }

    pub(super) fn prepare_rotation(&self) {
        self.reply().rotate = true;
    }

    /// What to do about the cookie. From here on, none can be handed out.
    pub(super) fn seal(&self) -> Verdict {
        let mut reply = self.reply();
        reply.sent = true;
        std::mem::replace(&mut reply.verdict, Verdict::Keep)
    }

    /// Confirms the session with the store if that was not done yet.
    pub(super) async fn open(&self) -> Result<Option<Handle>, Error> {
        let mut state = self.state.lock().await;
        if matches!(state.identity, Identity::Presented(_)) {
            self.load(&mut state, Fields::Named(&[])).await?;
        }
        Ok(self.handle())
    }

    /// What the field holds; fetches all of `names` if it is not known yet.
    pub(super) async fn get(&self, name: &str, names: &[&str]) -> Result<Option<Bytes>, Error> {
        let mut state = self.state.lock().await;
        if !state.memory.knows(name) {
            self.fetch(&mut state, names).await?;
        }
        Ok(state.memory.get(name).cloned())
    }

    /// What these fields hold, in their order.
    pub(super) async fn get_many(&self, names: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut state = self.state.lock().await;
        self.fetch(&mut state, names).await?;
        Ok(names.iter().map(|name| state.memory.get(name).cloned()).collect())
    }

    /// Everything the session holds; `None` without a session.
    pub(super) async fn get_all(&self) -> Result<Option<Vec<(String, Bytes)>>, Error> {
        let mut state = self.state.lock().await;
        if state.identity.credentials().is_none() {
            return Ok(None);
        }
        if !state.memory.knows_all() {
            self.load(&mut state, Fields::All).await?;
        }
        let open = matches!(state.identity, Identity::Open { .. });
        let fields = state.memory.present();
        Ok(open.then(|| fields.map(|(name, value)| (name.to_owned(), value.clone())).collect()))
    }

    /// Applies changes together, and says how many removals and expiries found their field.
    pub(super) async fn write(&self, changes: &[Change<'_>], rotate: bool) -> Result<usize, Error> {
        let mut state = self.state.lock().await;
        let update = Update { changes, ..Update::default() };
        match self.update(&mut state, update, rotate).await? {
            Updated::Applied { found } => Ok(found),
            // Without an expectation there is nothing to conflict with.
            Updated::Conflict { .. } => Ok(0),
        }
    }

    /// Moves the absolute deadline.
    pub(super) async fn end_after(&self, ttl: Ttl) -> Result<(), Error> {
        let ttl = self.policy.absolute.map_or(ttl, |most| ttl.min(most));
        self.update_existing(Update { absolute: Some(ttl), ..Update::default() }, false).await
    }

    /// Replaces the secret. Without a session there is nothing to replace.
    pub(super) async fn rotate(&self) -> Result<(), Error> {
        self.update_existing(Update::default(), true).await
    }

    async fn update_existing(&self, update: Update<'_>, rotate: bool) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        if !state.identity.may_create() {
            self.update(&mut state, update, rotate).await?;
        }
        Ok(())
    }

    /// Atomic read-modify-write of one field: compare-and-set until it succeeds.
    pub(super) async fn modify(
        &self,
        field: &FieldSpec,
        names: &[&str],
        modify: Modify<'_>,
    ) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        if !state.memory.knows(field.name()) {
            self.fetch(&mut state, names).await?;
        }
        for attempt in 0..TRIES {
            let current = state.memory.get(field.name()).cloned();
            let next = modify(current.as_ref())?;
            let change = match &next {
                Some(value) => Change::Set(put(field, value)),
                None if current.is_none() => return Ok(()),
                None => Change::Remove(field.name()),
            };
            let expect = Some(Expect { name: field.name(), value: current.as_ref() });
            let update = Update { changes: &[change], expect, ..Update::default() };
            match self.update(&mut state, update, field.is_rotating()).await? {
                Updated::Applied { .. } => return Ok(()),
                Updated::Conflict { .. } => pause(attempt).await,
            }
        }
        Err(Error::Conflict { field: field.name().to_owned() })
    }

    /// Removes a field and hands out what it held.
    pub(super) async fn take(&self, name: &str, rotate: bool) -> Result<Option<Bytes>, Error> {
        let mut state = self.state.lock().await;
        if state.identity.credentials().is_none() {
            return Ok(None);
        }
        state.memory.forget(name);
        let rotation = self.begin_rotation(&mut state, rotate)?;
        let hash = rotation.fresh.as_ref().map(Secret::hash);
        let take = Take { name, rotate: hash.as_ref(), touch: self.policy.touch() };
        let Lookup::Found(value) =
            self.attempt(&mut state, rotation.earlier.as_ref(), &take).await?
        else {
            return Ok(None);
        };
        self.finish_rotation(&mut state, rotation)?;
        state.memory.remember(name, None);
        Ok(value)
    }

    /// Ends the session.
    pub(super) async fn delete(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        match &state.identity {
            Identity::Late | Identity::Lost => return Err(Error::Ended),
            Identity::Anonymous | Identity::Ended => {}
            Identity::Presented(_) | Identity::Open { .. } => {
                state.memory = Memory::default();
                let earlier = state.unsettled.clone();
                match self.attempt(&mut state, earlier.as_ref(), &Delete).await? {
                    Lookup::Found(()) => self.log_ended(),
                    // Another request did it, and may have signed in again: not our cookie to clear.
                    Lookup::Ended { .. } => return Ok(()),
                    Lookup::Replaced { .. } if !state.identity.may_create() => {
                        return Err(Error::Ended);
                    }
                    Lookup::Replaced { .. } | Lookup::NotFound => {}
                }
            }
        }
        *state = State { identity: Identity::Ended, memory: Memory::default(), unsettled: None };
        let mut reply = self.reply();
        reply.verdict = if self.presented { Verdict::Clear } else { Verdict::Keep };
        reply.handle = None;
        reply.rotate = false;
        Ok(())
    }

    /// Drops what was read so far, so that the next read asks the store.
    pub(super) async fn refresh(&self) {
        self.state.lock().await.memory = Memory::default();
    }

    fn reply(&self) -> MutexGuard<'_, Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns those of the named fields that are not known yet.
    async fn fetch(&self, state: &mut State, names: &[&str]) -> Result<(), Error> {
        let missing: Vec<&str> =
            names.iter().copied().filter(|name| !state.memory.knows(name)).collect();
        if !missing.is_empty() {
            self.load(state, Fields::Named(&missing)).await?;
        }
        Ok(())
    }

    async fn load(&self, state: &mut State, fields: Fields<'_>) -> Result<(), Error> {
        let load = Load { fields, touch: self.policy.touch() };
        let earlier = state.unsettled.clone();
        if let Lookup::Found(loaded) = self.attempt(state, earlier.as_ref(), &load).await? {
            let stored = loaded.fields.into_iter().map(|field| (field.name, field.value));
            match fields {
                Fields::All => state.memory.learn_all(stored),
                Fields::Named(names) => {
                    names.iter().for_each(|name| state.memory.remember(name, None));
                    stored.for_each(|(name, value)| state.memory.remember(&name, Some(value)));
                }
            }
        }
        Ok(())
    }

    /// Changes the session, or starts one if there is none and this request may.
    async fn update(
        &self,
        state: &mut State,
        update: Update<'_>,
        rotate: bool,
    ) -> Result<Updated, Error> {
        if state.identity.credentials().is_some() {
            for change in update.changes {
                state.memory.forget(change.name());
            }
            let rotation = self.begin_rotation(state, rotate)?;
            let hash = rotation.fresh.as_ref().map(Secret::hash);
            let update = Update { rotate: hash.as_ref(), touch: self.policy.touch(), ..update };
            match self.attempt(state, rotation.earlier.as_ref(), &update).await? {
                Lookup::Found(Updated::Applied { found }) => {
                    self.finish_rotation(state, rotation)?;
                    learn(&mut state.memory, update.changes);
                    return Ok(Updated::Applied { found });
                }
                Lookup::Found(Updated::Conflict { current }) => {
                    if let Some(expect) = update.expect {
                        state.memory.remember(expect.name, current.clone());
                    }
                    state.unsettled = None;
                    return Ok(Updated::Conflict { current });
                }
                Lookup::Replaced { .. } | Lookup::Ended { .. } | Lookup::NotFound => {}
            }
        }
        if !state.identity.may_create() {
            return Err(Error::Ended);
        }
        self.create(state, update).await
    }

    /// Starts a session with what an update would have left behind.
    async fn create(&self, state: &mut State, update: Update<'_>) -> Result<Updated, Error> {
        if update.expect.is_some_and(|expect| expect.value.is_some()) {
            return Ok(Updated::Conflict { current: None });
        }
        let fields = outcome(update.changes);
        if fields.is_empty() {
            return Ok(Updated::Applied { found: 0 });
        }
        self.may_reply()?;
        let (handle, secret) = (Handle::random()?, Secret::random()?);
        let hash = secret.hash();
        let create = Create {
            handle: &handle,
            secret: &hash,
            idle: self.policy.idle,
            absolute: self.policy.absolute,
            fields: &fields,
        };
        self.store.create(create).await?;
        if let Err(error) = self.hand_out(Token { handle, secret }) {
            // Nobody will ever know its secret. If this fails too, its deadline frees it.
            let _ = self.store.delete(Access { handle: &handle, secret: &hash }).await;
            return Err(error);
        }
        tracing::info!(%handle, "session created");
        let mut memory = Memory::empty();
        learn(&mut memory, update.changes);
        *state =
            State { identity: Identity::Open { handle, secret: hash }, memory, unsettled: None };
        Ok(Updated::Applied { found: 0 })
    }

    /// Prepares to replace the secret, if that is asked for now or was before.
    ///
    /// An attempt of unknown outcome is repeated with the same secret, so that it does not matter
    /// which of them took place.
    fn begin_rotation(&self, state: &mut State, rotate: bool) -> Result<Rotation, Error> {
        let earlier = state.unsettled.clone();
        if !rotate && !self.reply().rotate {
            return Ok(Rotation { earlier, fresh: None });
        }
        self.may_reply()?;
        let fresh = match &earlier {
            Some(secret) => secret.clone(),
            None => Secret::random()?,
        };
        self.reply().rotate = true;
        state.unsettled = Some(fresh.clone());
        Ok(Rotation { earlier, fresh: Some(fresh) })
    }

    fn finish_rotation(&self, state: &mut State, rotation: Rotation) -> Result<(), Error> {
        let (Some(secret), Some((handle, _))) = (rotation.fresh, state.identity.credentials())
        else {
            return Ok(());
        };
        self.adopt(state, handle, secret)?;
        tracing::info!(%handle, "session rotated");
        Ok(())
    }

    /// Takes a secret that the store has installed for the session's own.
    fn adopt(&self, state: &mut State, handle: Handle, secret: Secret) -> Result<(), Error> {
        state.identity = Identity::Open { handle, secret: secret.hash() };
        state.unsettled = None;
        self.hand_out(Token { handle, secret })
    }

    fn may_reply(&self) -> Result<(), Error> {
        if self.reply().sent { Err(Error::ResponseSent) } else { Ok(()) }
    }

    fn hand_out(&self, token: Token) -> Result<(), Error> {
        let mut reply = self.reply();
        reply.rotate = false;
        if reply.sent {
            return Err(Error::ResponseSent);
        }
        reply.handle = Some(token.handle);
        reply.verdict = Verdict::Set(token);
        Ok(())
    }

    /// Asks the store with what the client presented, and learns from the answer who it is.
    async fn attempt<O: Operation>(
        &self,
        state: &mut State,
        earlier: Option<&Secret>,
        operation: &O,
    ) -> Result<Lookup<O::Answer>, Error> {
        let Some((handle, secret)) = state.identity.credentials() else {
            return Ok(Lookup::NotFound);
        };
        let access = Access { handle: &handle, secret: &secret };
        let mut lookup = operation.run(&*self.store, access).await?;
        if let (Some(earlier), false) = (earlier, matches!(lookup, Lookup::Found(_))) {
            let hash = earlier.hash();
            let access = Access { handle: &handle, secret: &hash };
            lookup = operation.run(&*self.store, access).await?;
            if matches!(lookup, Lookup::Found(_)) {
                self.adopt(state, handle, earlier.clone())?;
            }
        }
        match &lookup {
            Lookup::Found(_) => {
                if let Identity::Presented(_) = state.identity {
                    state.identity = Identity::Open { handle, secret };
                    self.reply().handle = Some(handle);
                }
            }
            Lookup::Replaced { ago } | Lookup::Ended { ago } => {
                self.shut(state, handle, Some(*ago));
            }
            Lookup::NotFound => self.shut(state, handle, None),
        }
        Ok(lookup)
    }

    /// The store does not open the session, or not any more.
    fn shut(&self, state: &mut State, handle: Handle, good_until: Option<Duration>) {
        state.memory = Memory::default();
        state.unsettled = None;
        state.identity = match (&state.identity, good_until) {
            (Identity::Open { .. }, _) => Identity::Lost,
            (_, Some(ago)) if ago < LATE => Identity::Late,
            (_, Some(ago)) => {
                tracing::warn!(%handle, ?ago, "reuse of a former session secret");
                Identity::Anonymous
            }
            (_, None) => {
                tracing::info!(%handle, "unknown session token");
                Identity::Anonymous
            }
        };
        let mut reply = self.reply();
        reply.handle = None;
        // A cookie for a session that is gone would overwrite the one that may have followed it.
        reply.verdict = Verdict::Keep;
    }

    fn log_ended(&self) {
        if let Some(handle) = self.handle() {
            tracing::info!(%handle, "session ended");
        }
    }
}

/// The write of `value` that a field's declaration asks for.
pub(super) fn put<'a>(field: &FieldSpec, value: &'a Bytes) -> Put<'a> {
    Put { name: field.name(), value, ttl: field.ttl(), hot: field.hot() }
}

/// Remembers changes that the store has confirmed.
fn learn(memory: &mut Memory, changes: &[Change<'_>]) {
    for change in changes {
        match change {
            Change::Set(put) => memory.remember(put.name, Some(put.value.clone())),
            Change::Remove(name) => memory.remember(name, None),
            Change::Expire(..) => {}
        }
    }
}

/// The fields that changes leave behind where nothing was before.
fn outcome<'a>(changes: &[Change<'a>]) -> Vec<Put<'a>> {
    let mut fields: Vec<Put<'a>> = Vec::with_capacity(changes.len());
    for change in changes {
        match *change {
            Change::Set(put) => {
                fields.retain(|field| field.name != put.name);
                fields.push(put);
            }
            Change::Remove(name) => fields.retain(|field| field.name != name),
            Change::Expire(name, ttl) => fields
                .iter_mut()
                .filter(|field| field.name == name)
                .for_each(|field| field.ttl = Some(ttl)),
        }
    }
    fields
}

/// Waits a random while, longer the more tries there were, so that contenders come apart.
async fn pause(attempt: u32) {
    let longest = LONGEST_PAUSE.min(Duration::from_micros(500) * 2_u32.saturating_pow(attempt));
    // Without randomness the pause is the longest: slower, never wrong.
    let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    tokio::time::sleep(longest.mul_f64(share)).await;
}
