use std::borrow::Cow;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    client::RECORD,
    identity::Identity,
    memory::Memory,
    operation::Load,
    policy::Signing,
    shared::Shared,
    state::{Rotation, State},
    value,
};
use crate::{
    codec::CodecError,
    error::Error,
    event,
    field::FieldSpec,
    schema::SessionSchema,
    sealing::{Place, SealError},
    store::{Change, Create, Fields, Loaded, Meta, Put, Sign, Update, Updated},
    token::{Handle, Secret, Token},
};

/// The schema whose eager fields are fetched along with one that is not known yet.
pub(super) type Group = Option<&'static SessionSchema>;

/// What a write does besides its changes.
#[derive(Default)]
pub(super) struct Writing {
    /// Replace the secret.
    pub(super) rotate: bool,
    pub(super) signing: Option<Signing>,
    /// The fields whose values are to be encrypted.
    pub(super) encrypted: Vec<&'static str>,
}

impl Writing {
    /// What a field's declaration asks for.
    pub(super) fn of(field: &FieldSpec) -> Self {
        let encrypted = if field.is_encrypted() { vec![field.name()] } else { Vec::new() };
        Self { rotate: field.is_rotating(), signing: None, encrypted }
    }

    pub(super) fn is_sign_in(&self) -> bool {
        matches!(self.signing, Some(Signing::In(..)))
    }

    fn to_encrypt<'a>(&self, change: &Change<'a>) -> Option<Put<'a>> {
        match *change {
            Change::Set(put) if self.encrypted.contains(&put.name) => Some(put),
            _ => None,
        }
    }
}

/// How reads and writes reach the store, and what is remembered of them.
impl Shared {
    /// Learns a field if it is not known yet, and its group along with it.
    pub(super) async fn learn(
        &self,
        state: &mut State,
        name: &str,
        group: Group,
    ) -> Result<(), Error> {
        if state.memory.knows(name) || !state.identity.may_be_open() {
            return Ok(());
        }
        let others = group.map_or(0, |schema| schema.fields().len());
        let mut names = Vec::with_capacity(1 + others);
        names.push(name);
        for field in group.into_iter().flat_map(SessionSchema::eager) {
            if field.name() != name {
                names.push(field.name());
            }
        }
        self.fetch(state, names).await
    }

    /// Learns those of the named fields that are not known yet.
    pub(super) async fn fetch(&self, state: &mut State, mut names: Vec<&str>) -> Result<(), Error> {
        names.retain(|name| !state.memory.knows(name));
        if !names.is_empty() {
            self.load(state, Fields::Named(&names)).await?;
        }
        Ok(())
    }

    pub(super) async fn load(&self, state: &mut State, fields: Fields<'_>) -> Result<(), Error> {
        let mut names = Vec::new();
        let fields = match fields {
            Fields::Named(asked) if self.client.is_some() && !state.memory.knows(RECORD) => {
                names.extend(asked.iter().copied().chain([RECORD]));
                Fields::Named(&names)
            }
            fields => fields,
        };
        let load = Load { fields, touch: self.touch() };
        let earlier = state.earlier();
        let loaded = self.attempt(state, earlier.as_ref(), &load).await?;
        if let Some(Loaded { meta, fields: stored }) = loaded {
            let stored = stored.into_iter().map(|field| (field.name, field.value));
            match fields {
                Fields::All => state.memory.learn_all(stored),
                Fields::Named(names) => state.memory.learn(names, stored),
            }
            state.meta = Some((meta, Instant::now()));
            self.loaded(state, meta).await?;
        }
        // A use that a cache was not told of changes nothing that was read.
        state.unconfirmed = None;
        Ok(())
    }

    /// What is to be done once the session was read.
    async fn loaded(&self, state: &mut State, meta: Meta) -> Result<(), Error> {
        self.judge_client(state).await?;
        self.renew(state, &meta).await;
        Ok(())
    }

    /// Changes the session, or starts one if there is none and this request may.
    pub(super) async fn update(
        &self,
        state: &mut State,
        update: Update<'_>,
        writing: &Writing,
    ) -> Result<Updated, Error> {
        let sign = self.policy().sign(writing.signing.as_ref());
        let is_sign_in = writing.is_sign_in();
        if !is_sign_in {
            self.look_at_client(state).await?;
        }
        if !writing.encrypted.is_empty() && state.identity.is_ambiguous() {
            Box::pin(self.load(state, Fields::Named(&[]))).await?;
        }
        if let Some(handle) = state.identity.handle() {
            let values = self.encrypt(&handle, update.changes, writing)?;
            let client = self.client_record(&handle, writing);
            let changes = with_values(update.changes, writing, &values, client.as_ref());
            for change in update.changes {
                state.memory.forget(change.name());
            }
            let rotation = self.begin_rotation(state, writing.rotate, writing.signing)?;
            if is_sign_in {
                let mut reply = self.reply();
                reply.in_doubt = reply.sets_fresh();
            }
            let hash = rotation.hash();
            let touch = self.policy().touch();
            let update = Update { changes: &changes, rotate: hash.as_ref(), touch, sign, ..update };
            let answer = match self.attempt(state, rotation.earlier.as_ref(), &update).await {
                Err(error) => return Err(self.refused(state, &rotation, error)),
                Ok(answer) => answer,
            };
            if is_sign_in {
                self.reply().in_doubt = false;
            }
            match answer {
                Some(Updated::Applied { found }) => {
                    self.finish_rotation(state, rotation).await?;
                    remember(&mut state.memory, update.changes);
                    if is_sign_in {
                        (state.client_seen, state.distrusted) = (true, false);
                    }
                    if update.sign.is_some() || update.absolute.is_some() {
                        state.meta = None;
                    }
                    if let Some(signing) = writing.signing.filter(|_| is_sign_in || found > 0) {
                        self.log_signing(&signing);
                    }
                    return Ok(Updated::Applied { found });
                }
                Some(Updated::NotDue) => return Ok(Updated::NotDue),
                Some(Updated::Conflict { current }) => {
                    if let Some(expect) = update.expect {
                        state.memory.remember(expect.name, current.clone());
                    }
                    self.abandon_rotation(state, &rotation);
                    return Ok(Updated::Conflict { current });
                }
                None => {}
            }
        }
        let may =
            if is_sign_in { state.identity.may_sign_in() } else { state.identity.may_create() };
        if !may {
            return Err(Error::Ended);
        }
        self.create(state, update, writing).await
    }

    /// What a refused sign-in means for the session and its caller.
    fn refused(&self, state: &mut State, rotation: &Rotation, error: Error) -> Error {
        if !error.is_unknown() {
            self.reply().in_doubt = false;
        }
        match &error {
            Error::TooManySessions => {
                self.abandon_rotation(state, rotation);
                event::limit_reached();
            }
            Error::Ended => self.lose(state),
            _ => {}
        }
        error
    }

    /// Starts a session with what an update would have left behind.
    async fn create(
        &self,
        state: &mut State,
        update: Update<'_>,
        writing: &Writing,
    ) -> Result<Updated, Error> {
        if update.expect.is_some_and(|expect| expect.value.is_some()) {
            return Ok(Updated::Conflict { current: None });
        }
        let handle = Handle::random()?;
        let values = self.encrypt(&handle, update.changes, writing)?;
        let client = self.client_record(&handle, writing);
        let changes = with_values(update.changes, writing, &values, client.as_ref());
        let fields = outcome(&changes);
        if fields.is_empty() {
            return Ok(Updated::Applied { found: 0 });
        }
        self.reply().check_open()?;
        let secret = Secret::random()?;
        let hash = secret.hash(self.policy().layer);
        let create = Create {
            handle: &handle,
            secret: &hash,
            idle: self.policy().idle,
            absolute: self.policy().absolute,
            fields: &fields,
            sign_in: match self.policy().sign(writing.signing.as_ref()) {
                Some(Sign::In { who, .. }) => Some(who),
                Some(Sign::Out) | None => None,
            },
        };
        if let Err(error) = self.ask().create(create).await.map_err(Error::from) {
            if matches!(error, Error::TooManySessions) {
                event::limit_reached();
            }
            return Err(error);
        }
        self.hand_out(Token { handle, secret }, &hash).await?;
        event::created(&handle);
        *state = State::new(Identity::Open { handle, secret: hash });
        state.memory = Memory::empty();
        state.client_seen = true;
        remember(&mut state.memory, &changes);
        if let Some(signing) = writing.signing.filter(|_| writing.is_sign_in()) {
            self.log_signing(&signing);
        }
        Ok(Updated::Applied { found: 0 })
    }

    /// The values of a session's fields that are to be encrypted, in the order of the changes.
    fn encrypt(
        &self,
        handle: &Handle,
        changes: &[Change<'_>],
        writing: &Writing,
    ) -> Result<Vec<Bytes>, Error> {
        let puts = changes.iter().filter_map(|change| writing.to_encrypt(change));
        puts.map(|put| {
            let place = Place { handle, field: put.name };
            self.policy().sealer.seal(place, put.value).map_err(|error| match error {
                SealError::NoKey => value::encode_error(put.name, CodecError::NoKey),
                #[cfg(feature = "encrypt")]
                SealError::Random(error) => error.into(),
            })
        })
        .collect()
    }

    pub(super) fn log_signing(&self, signing: &Signing) {
        let Some(handle) = self.handle() else { return };
        match signing {
            Signing::In(_, assurance) => event::signed_in(&handle, assurance.level()),
            Signing::Out => event::signed_out(&handle),
        }
    }
}

/// The same changes, with these values in place of those that are to be encrypted, and what is to be kept
/// of the client.
fn with_values<'a>(
    changes: &'a [Change<'a>],
    writing: &Writing,
    values: &'a [Bytes],
    client: Option<&'a Bytes>,
) -> Cow<'a, [Change<'a>]> {
    if values.is_empty() && client.is_none() {
        return Cow::Borrowed(changes);
    }
    let mut values = values.iter();
    let sealed = |change: &Change<'a>| match writing.to_encrypt(change) {
        Some(put) => values.next().map_or(*change, |value| Change::Set(Put { value, ..put })),
        None => *change,
    };
    let client = client.map(|value| Change::Set(Shared::put_client(value)));
    changes.iter().map(sealed).chain(client).collect()
}

/// The write of `value` that a field's declaration asks for.
pub(super) fn put<'a>(field: &FieldSpec, value: &'a Bytes) -> Put<'a> {
    Put { name: field.name(), value, ttl: field.ttl(), hot: field.hot() }
}

/// Remembers changes that the store has confirmed.
fn remember(memory: &mut Memory, changes: &[Change<'_>]) {
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
