use std::borrow::Cow;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    client::RECORD,
    config::Signing,
    identity::Identity,
    memory::Memory,
    operation::Load,
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
    sealing::{CipherError, FieldAad},
    store::{
        AuthChange, Change, Create, FieldWrite, Loaded, Projection, SessionMeta, Update, Updated,
    },
    token::{Secret, SessionId, Token},
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

    fn to_encrypt<'a>(&self, change: &Change<'a>) -> Option<FieldWrite<'a>> {
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
            self.load(state, Projection::Named(&names)).await?;
        }
        Ok(())
    }

    pub(super) async fn load(
        &self,
        state: &mut State,
        fields: Projection<'_>,
    ) -> Result<(), Error> {
        let mut names = Vec::new();
        let fields = match fields {
            Projection::Named(asked) if self.client.is_some() && !state.memory.knows(RECORD) => {
                names.extend(asked.iter().copied().chain([RECORD]));
                Projection::Named(&names)
            }
            fields => fields,
        };
        let load = Load { fields, touch: self.touch() };
        let fallback_secret = state.fallback_secret();
        let loaded = self.attempt(state, fallback_secret.as_ref(), &load).await?;
        if let Some(Loaded { meta, fields: stored }) = loaded {
            let stored = stored.into_iter().map(|field| (field.name, field.value));
            match fields {
                Projection::All => state.memory.learn_all(stored),
                Projection::Named(names) => state.memory.learn(names, stored),
            }
            state.meta = Some((meta, Instant::now()));
            self.loaded(state, meta).await?;
        }
        // A use that a cache was not told of changes nothing that was read.
        state.unconfirmed = None;
        Ok(())
    }

    /// What is to be done once the session was read.
    async fn loaded(&self, state: &mut State, meta: SessionMeta) -> Result<(), Error> {
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
        let sign = self.config().sign(writing.signing.as_ref());
        let is_sign_in = writing.is_sign_in();
        if !is_sign_in {
            self.look_at_client(state).await?;
        }
        if !writing.encrypted.is_empty() && state.identity.is_ambiguous() {
            Box::pin(self.load(state, Projection::Named(&[]))).await?;
        }
        if let Some(id) = state.identity.id() {
            let values = self.encrypt(&id, update.changes, writing)?;
            let client = self.client_record(&id, writing);
            let changes = with_values(update.changes, writing, &values, client.as_ref());
            for change in update.changes {
                state.memory.forget(change.name());
            }
            let rotation = self.begin_rotation(state, writing.rotate, writing.signing)?;
            if is_sign_in {
                let mut reply = self.reply();
                reply.unverified = reply.sets_fresh();
            }
            let hash = rotation.hash();
            let touch = self.config().touch();
            let update = Update { changes: &changes, rotate: hash.as_ref(), touch, sign, ..update };
            let answer = match self.attempt(state, rotation.fallback_secret.as_ref(), &update).await
            {
                Err(error) => return Err(self.refused(state, &rotation, error)),
                Ok(answer) => answer,
            };
            if is_sign_in {
                self.reply().unverified = false;
            }
            match answer {
                Some(Updated::Applied { found }) => {
                    self.finish_rotation(state, rotation).await?;
                    remember(&mut state.memory, update.changes);
                    if is_sign_in {
                        (state.client_seen, state.downgraded) = (true, false);
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
                    if let Some(expect) = update.precondition {
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
            self.reply().unverified = false;
        }
        match &error {
            Error::TooManySessions => {
                self.abandon_rotation(state, rotation);
                event::limit_reached();
            }
            Error::Ended => self.mark_ended(state),
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
        if update.precondition.is_some_and(|expect| expect.value.is_some()) {
            return Ok(Updated::Conflict { current: None });
        }
        let id = SessionId::random()?;
        let values = self.encrypt(&id, update.changes, writing)?;
        let client = self.client_record(&id, writing);
        let changes = with_values(update.changes, writing, &values, client.as_ref());
        let fields = outcome(&changes);
        if fields.is_empty() {
            return Ok(Updated::Applied { found: 0 });
        }
        self.reply().check_open()?;
        let secret = Secret::random()?;
        let hash = secret.hash(self.config().layer);
        let create = Create {
            id: &id,
            secret: &hash,
            idle: self.config().idle,
            absolute: self.config().absolute,
            fields: &fields,
            sign_in: match self.config().sign(writing.signing.as_ref()) {
                Some(AuthChange::In { who, .. }) => Some(who),
                Some(AuthChange::Out) | None => None,
            },
        };
        if let Err(error) = self.ask().create(create).await.map_err(Error::from) {
            if matches!(error, Error::TooManySessions) {
                event::limit_reached();
            }
            return Err(error);
        }
        self.issue_cookie(Token { id, secret }, &hash).await?;
        event::created(&id);
        *state = State::new(Identity::Open { id, secret: hash });
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
        id: &SessionId,
        changes: &[Change<'_>],
        writing: &Writing,
    ) -> Result<Vec<Bytes>, Error> {
        let puts = changes.iter().filter_map(|change| writing.to_encrypt(change));
        puts.map(|put| {
            let place = FieldAad { id, field: put.name };
            self.config().cipher.seal(place, put.value).map_err(|error| match error {
                CipherError::NoKey => value::encode_error(put.name, CodecError::NoKey),
                #[cfg(feature = "encrypt")]
                CipherError::Random(error) => error.into(),
            })
        })
        .collect()
    }

    pub(super) fn log_signing(&self, signing: &Signing) {
        let Some(id) = self.id() else { return };
        match signing {
            Signing::In(_, assurance) => event::signed_in(&id, assurance.level()),
            Signing::Out => event::signed_out(&id),
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
        Some(put) => {
            values.next().map_or(*change, |value| Change::Set(FieldWrite { value, ..put }))
        }
        None => *change,
    };
    let client = client.map(|value| Change::Set(Shared::put_client(value)));
    changes.iter().map(sealed).chain(client).collect()
}

/// The write of `value` that a field's declaration asks for.
pub(super) fn put<'a>(field: &FieldSpec, value: &'a Bytes) -> FieldWrite<'a> {
    FieldWrite { name: field.name(), value, ttl: field.ttl(), hot: field.hot() }
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
fn outcome<'a>(changes: &[Change<'a>]) -> Vec<FieldWrite<'a>> {
    let mut fields: Vec<FieldWrite<'a>> = Vec::with_capacity(changes.len());
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
