//! The rules of a session, independent of any backend: [`SessionRecord`].
//!
//! Used by every [`RecordStore`](super::RecordStore), by `SqliteStore` and `MySqlStore`, and by the
//! model in `tests/stores/tests/model.rs`. A record does not read the clock and does no I/O. The
//! caller passes the time and stores the result.

mod encoding;

use std::{collections::HashMap, time::Duration};

use bytes::{Buf, BufMut, Bytes};

use self::encoding::{
    get_array, get_bytes, get_moment, get_optional, millis, put_bytes, put_optional,
};
use super::{
    contract::{ENDED_RETENTION, REVOKED_RETENTION},
    request::{
        AbsoluteDeadline, AuthChange, Change, Create, FieldWrite, NewSignIn, Precondition,
        Projection, Proof, TakeField, Touch, Update,
    },
    response::{Expiry, Loaded, Refused, SessionMeta, SignedIn, StoredField, Updated},
};
use crate::{
    auth::{Assurance, PrincipalKey},
    cache_policy::CachePolicy,
    field::FieldName,
    token::SecretHash,
    ttl::Ttl,
};

/// The version of the format that [`SessionRecord::encode`] writes. It is the first byte.
const VERSION: u8 = 1;

/// Bytes that this release cannot decode as a [`SessionRecord`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes hold no session record of a known version")]
pub struct CorruptRecord;

/// A session as a store keeps it, with the operations of the [`Store`](super::Store) contract as
/// pure functions of the record and the time.
///
/// A moment is a [`Duration`] since a point in time that the store chooses once, such as 1970. At the exact
/// moment of a deadline, the deadline has passed.
///
/// ```
/// use std::time::Duration;
/// use ruts::store::{Create, Projection, Refused, SessionRecord};
/// use ruts::{Ttl, token::{SecretHash, SessionId}};
///
/// let (id, secret) = (SessionId::from_bytes([1; 16]), SecretHash::from_bytes([2; 32]));
/// let create = Create::new(&id, &secret).idle(Ttl::from_secs(60));
/// let mut record = SessionRecord::new(&create, Duration::ZERO);
///
/// let loaded = record.load(&secret, Projection::All, None, Duration::from_secs(1));
/// assert_eq!(loaded.map(|loaded| loaded.meta.age), Ok(Duration::from_secs(1)));
/// let late = record.load(&secret, Projection::All, None, Duration::from_secs(60));
/// assert_eq!(late, Err(Refused::NotFound));
/// ```
#[derive(Debug, Clone)]
pub struct SessionRecord {
    secret: SecretHash,
    /// The secret that the latest rotation or renewal replaced.
    replaced: Option<SecretHash>,
    grace: Grace,
    created: Duration,
    /// When the current secret was issued.
    issued: Duration,
    used: Duration,
    idle: Option<Duration>,
    absolute: Option<Duration>,
    ended: Option<Duration>,
    /// Whether the session was revoked. If so, `absolute` is the time at which this record can be freed.
    revoked: bool,
    signed_in: Option<Authentication>,
    /// The absolute deadline that a sign-in set. No later update moves `absolute` beyond it.
    latest: Option<Duration>,
    fields: HashMap<FieldName, FieldRecord>,
    modified: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Authentication {
    pub(in crate::store) principal: PrincipalKey,
    pub(in crate::store) assurance: Assurance,
    pub(in crate::store) at: Duration,
}

/// How long the replaced secret is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Grace {
    /// Not at all. A past moment would be wrong here: if the clock stepped back, the moment would be in the
    /// future again.
    None,
    /// Until the first use of the current secret, and for this time after that use.
    Pending(Duration),
    Until(Duration),
}

#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) struct FieldRecord {
    pub(in crate::store) value: Bytes,
    pub(in crate::store) expires: Option<Duration>,
    pub(in crate::store) cache_policy: CachePolicy,
}

/// The proof that a session accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenedBy {
    Current,
    /// The former secret, before the first use of the current secret. Until that use, both are equally valid.
    Former,
    /// The former secret in its grace period.
    FormerInGrace,
    /// No secret: the credentials are internal.
    Internal,
}

impl OpenedBy {
    /// Returns whether the presented proof permits an update that [needs the current
    /// secret](super::Update::needs_current_secret).
    const fn has_all_rights(self) -> bool {
        matches!(self, Self::Current | Self::Former)
    }

    /// Returns whether a [`Touch`] takes effect.
    const fn may_touch(self) -> bool {
        self.has_all_rights() || matches!(self, Self::Internal)
    }
}

impl SessionRecord {
    /// Creates the record of a new session.
    pub fn new(create: &Create<'_>, now: Duration) -> Self {
        let mut record = Self {
            secret: *create.secret,
            replaced: None,
            grace: Grace::None,
            created: now,
            issued: now,
            used: now,
            idle: None,
            absolute: None,
            ended: None,
            revoked: false,
            signed_in: None,
            latest: None,
            fields: HashMap::with_capacity(create.fields.len()),
            modified: true,
        };
        record.begin(create.idle, create.absolute, now);
        if let Some(who) = &create.sign_in {
            record.sign_in(who, now);
        }
        for write in create.fields {
            record.set(write, now);
        }
        record
    }

    /// Returns the moment from which the record can be freed, unless a use of the session moves that
    /// moment.
    pub fn deadline(&self) -> Option<Duration> {
        match self.ended {
            Some(ended) if !self.revoked => Some(ended.saturating_add(ENDED_RETENTION)),
            Some(_) | None => self.idle.into_iter().chain(self.absolute).min(),
        }
    }

    /// Returns whether the record has to be kept: the session is live, or its secret is still recognised as
    /// the secret of an ended session.
    pub fn is_retained(&self, now: Duration) -> bool {
        self.deadline().is_none_or(|deadline| now < deadline)
    }

    /// Returns whether the session is live.
    pub fn is_live(&self, now: Duration) -> bool {
        self.ended.is_none() && self.is_retained(now)
    }

    /// Returns whether the session was deleted or revoked.
    pub const fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Returns whether the session was [revoked](Self::revoke). A backend that lacks space may remove the
    /// record of a revoked session. The secret is then refused with [`Refused::NotFound`].
    pub const fn is_revoked(&self) -> bool {
        self.revoked
    }

    /// Returns the signed-in principal of a session that was not deleted or revoked.
    pub fn principal(&self) -> Option<PrincipalKey> {
        self.signed_in.filter(|_| self.ended.is_none()).map(|signed_in| signed_in.principal)
    }

    /// Returns whether the session is live and the principal is signed in.
    pub fn belongs_to(&self, principal: &PrincipalKey, now: Duration) -> bool {
        self.is_live(now) && self.principal() == Some(*principal)
    }

    /// Returns when the principal signed in.
    pub fn signed_in_at(&self) -> Option<Duration> {
        self.signed_in.map(|signed_in| signed_in.at)
    }

    /// Returns whether an operation has changed the record since it was created, decoded or
    /// [saved](Self::set_saved). Only a modified record has to be written back.
    pub const fn is_modified(&self) -> bool {
        self.modified
    }

    /// Records that the record was written to the backend.
    pub const fn set_saved(&mut self) {
        self.modified = false;
    }

    /// Reads fields: [`Store::load`](super::Store::load).
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] if the session does not accept the proof.
    pub fn load<'p>(
        &mut self,
        proof: impl Into<Proof<'p>>,
        fields: Projection<'_>,
        touch: Option<Touch>,
        now: Duration,
    ) -> Result<Loaded, Refused> {
        let opened = self.open(proof.into(), now)?;
        if opened.may_touch() && touch.is_some() {
            self.confirm(opened, now);
            self.touch(touch, now);
        }
        Ok(Loaded::new(self.meta(opened, now), self.project(fields, now)))
    }

    /// Reads fields for a principal, without a secret: [`Store::list_by_principal`](super::Store).
    /// Returns `None` unless the session is live and the principal is signed in.
    pub fn load_for(
        &self,
        principal: &PrincipalKey,
        fields: Projection<'_>,
        now: Duration,
    ) -> Option<Loaded> {
        let meta = self.inspect(now).filter(|_| self.belongs_to(principal, now))?;
        Some(Loaded::new(meta, self.project(fields, now)))
    }

    /// Returns the metadata of a live session: [`Store::inspect`](super::Store::inspect).
    pub fn inspect(&self, now: Duration) -> Option<SessionMeta> {
        self.is_live(now).then(|| self.meta(OpenedBy::Current, now))
    }

    /// Returns the deadline that ended the session: [`Store::expiry`](super::Store::expiry).
    pub fn expiry(&self, now: Duration) -> Option<Expiry> {
        if self.ended.is_some() || self.is_retained(now) {
            return None;
        }
        let is_idle =
            self.absolute.is_none_or(|absolute| self.idle.is_some_and(|it| it < absolute));
        Some(if is_idle { Expiry::Idle } else { Expiry::Absolute })
    }

    /// Returns whether [`update`](Self::update) would apply the update.
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] if the session does not accept the proof. Also returns it if the proof does not
    /// permit an update that [needs the current secret](super::Update::needs_current_secret).
    pub fn would_apply<'p>(
        &self,
        proof: impl Into<Proof<'p>>,
        update: &Update<'_>,
        now: Duration,
    ) -> Result<bool, Refused> {
        let opened = self.open(proof.into(), now)?;
        self.check(update, opened, now).map(|refusal| refusal.is_none())
    }

    /// Applies an update: [`Store::update`](super::Store::update). Before a sign-in, the store has to
    /// enforce the limit on the principal's sessions.
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] if the session does not accept the proof. Also returns it if the proof does not
    /// permit an update that [needs the current secret](super::Update::needs_current_secret).
    pub fn update<'p>(
        &mut self,
        proof: impl Into<Proof<'p>>,
        update: &Update<'_>,
        now: Duration,
    ) -> Result<Updated, Refused> {
        let proof = proof.into();
        let opened = self.open(proof, now)?;
        let refusal = self.check(update, opened, now)?;
        self.confirm(opened, now);
        if let Some(refusal) = refusal {
            return Ok(refusal);
        }
        self.modified = true;
        self.prune(now);
        if opened.may_touch() {
            self.touch(update.touch, now);
        }
        if let Some(renew) = update.renew.filter(|renew| *renew.secret != self.secret) {
            self.rotate(proof, renew.secret, now);
            self.grace = Grace::Pending(renew.grace);
        }
        if let Some(fresh) = update.rotate {
            self.rotate(proof, fresh, now);
        }
        match update.auth_change {
            Some(AuthChange::In { who, idle, absolute }) => {
                let replaces =
                    self.principal().is_some_and(|signed_in| signed_in != *who.principal);
                if replaces && !who.keep_fields {
                    self.fields.clear();
                }
                self.begin(idle, absolute, now);
                self.sign_in(&who, now);
            }
            Some(AuthChange::Lapse(assurance)) => {
                self.signed_in = self.signed_in.map(|it| Authentication { assurance, ..it });
            }
            Some(AuthChange::Out) => self.signed_in = None,
            None => {}
        }
        self.limit_absolute(update.absolute, now);
        let found = update.changes.iter().filter(|change| self.apply(change, now)).count();
        Ok(Updated::Applied { found })
    }

    /// Removes a field and returns its value: [`Store::take`](super::Store::take).
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] if the session does not accept the proof. Also returns it if the proof does not
    /// permit a request that [needs the current secret](super::TakeField::needs_current_secret).
    pub fn take<'p>(
        &mut self,
        proof: impl Into<Proof<'p>>,
        take: &TakeField<'_>,
        now: Duration,
    ) -> Result<Option<Bytes>, Refused> {
        let proof = proof.into();
        let opened = self.open(proof, now)?;
        if !opened.has_all_rights() && take.needs_current_secret() {
            return Err(self.replaced(now));
        }
        if opened.may_touch() {
            self.touch(take.touch, now);
        }
        self.confirm(opened, now);
        self.modified = true;
        if let Some(fresh) = take.rotate {
            self.rotate(proof, fresh, now);
        }
        if take.sign_out {
            self.signed_in = None;
        }
        match self.get(take.name, now) {
            Some(field) if take.keeps(&field.value) => Ok(Some(field.value.clone())),
            _ => Ok(self.remove(take.name, now)),
        }
    }

    /// Ends the session and drops its fields: [`Store::delete`](super::Store::delete).
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] if the session does not accept the proof.
    pub fn delete<'p>(
        &mut self,
        proof: impl Into<Proof<'p>>,
        now: Duration,
    ) -> Result<(), Refused> {
        self.open(proof.into(), now)?;
        self.modified = true;
        self.ended = Some(now);
        self.fields = HashMap::new();
        Ok(())
    }

    /// Ends the session without its secret, and drops its fields:
    /// [`Store::revoke`](super::Store::revoke). The session has to be live.
    pub fn revoke(&mut self, now: Duration) {
        let longest = now.saturating_add(REVOKED_RETENTION);
        self.absolute =
            self.deadline().map_or(Some(longest), |deadline| Some(deadline.min(longest)));
        self.idle = None;
        self.ended = Some(now);
        self.revoked = true;
        self.signed_in = None;
        self.fields = HashMap::new();
        self.modified = true;
    }

    /// Frees the fields that have expired.
    pub fn prune(&mut self, now: Duration) {
        self.fields.retain(|_, field| field.is_live(now));
    }

    /// Returns the fields, for a backend that stores each field separately.
    #[cfg(any(feature = "mysql-store", feature = "sqlite-store"))]
    pub(in crate::store) const fn fields(&self) -> &HashMap<FieldName, FieldRecord> {
        &self.fields
    }

    /// Encodes the record as bytes. Every later release can decode them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.put_u8(VERSION);
        out.put_slice(self.secret.as_bytes());
        out.put_u8(self.replaced.is_some().into());
        out.put_slice(self.replaced.as_ref().map_or(&[], |secret| secret.as_bytes()));
        let (kind, grace) = match self.grace {
            Grace::Until(until) => (0, until),
            Grace::Pending(grace) => (1, grace),
            Grace::None => (2, Duration::ZERO),
        };
        out.put_u8(kind);
        for moment in [grace, self.created, self.issued, self.used] {
            out.put_u64(millis(moment));
        }
        for moment in [self.idle, self.absolute, self.ended, self.latest] {
            put_optional(&mut out, moment);
        }
        out.put_u8(self.revoked.into());
        put_optional(&mut out, self.signed_in.map(|signed_in| signed_in.at));
        if let Some(Authentication { principal, assurance, .. }) = self.signed_in {
            out.put_u8(assurance.level());
            out.put_slice(principal.as_bytes());
        }
        out.put_u32(self.fields.len() as u32);
        for (name, FieldRecord { value, expires, cache_policy }) in &self.fields {
            put_bytes(&mut out, name.as_bytes());
            put_bytes(&mut out, value);
            put_optional(&mut out, *expires);
            let (kind, max_age) = match cache_policy {
                CachePolicy::Default => (0, 0),
                CachePolicy::NoStore => (1, 0),
                CachePolicy::Revalidate => (2, 0),
                CachePolicy::MaxAge(ttl) => (3, ttl.as_millis()),
            };
            out.put_u8(kind);
            out.put_u64(max_age);
        }
        out
    }

    /// Decodes a record. Values share the memory of `bytes`.
    ///
    /// # Errors
    ///
    /// Returns [`CorruptRecord`] if the bytes are not a record, or have a version that this release does
    /// not know.
    pub fn decode(mut bytes: Bytes) -> Result<Self, CorruptRecord> {
        let record = Self::decode_prefix(&mut bytes).ok_or(CorruptRecord)?;
        if bytes.is_empty() { Ok(record) } else { Err(CorruptRecord) }
    }

    fn decode_prefix(bytes: &mut Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let secret = SecretHash::from_bytes(get_array(bytes)?);
        let replaced = match bytes.try_get_u8().ok()? {
            0 => None,
            1 => Some(SecretHash::from_bytes(get_array(bytes)?)),
            _ => return None,
        };
        let (kind, grace) = (bytes.try_get_u8().ok()?, get_moment(bytes)?);
        let grace = match kind {
            0 => Grace::Until(grace),
            1 => Grace::Pending(grace),
            2 => Grace::None,
            _ => return None,
        };
        let (created, issued, used) = (get_moment(bytes)?, get_moment(bytes)?, get_moment(bytes)?);
        let (idle, absolute) = (get_optional(bytes)?, get_optional(bytes)?);
        let (ended, latest) = (get_optional(bytes)?, get_optional(bytes)?);
        let revoked = bytes.try_get_u8().ok()? == 1;
        let signed_in = match get_optional(bytes)? {
            Some(at) => {
                let assurance = Assurance::from_level(bytes.try_get_u8().ok()?)?;
                let principal = PrincipalKey::from_bytes(get_array(bytes)?);
                Some(Authentication { principal, assurance, at })
            }
            None => None,
        };
        let mut fields = HashMap::new();
        for _ in 0..bytes.try_get_u32().ok()? {
            let name = FieldName::from(std::str::from_utf8(&get_bytes(bytes)?).ok()?);
            let (value, expires) = (get_bytes(bytes)?, get_optional(bytes)?);
            let (kind, max_age) = (bytes.try_get_u8().ok()?, bytes.try_get_u64().ok()?);
            let cache_policy = match kind {
                0 => CachePolicy::Default,
                1 => CachePolicy::NoStore,
                2 => CachePolicy::Revalidate,
                3 => CachePolicy::MaxAge(Ttl::new(Duration::from_millis(max_age)).ok()?),
                _ => return None,
            };
            fields.insert(name, FieldRecord { value, expires, cache_policy });
        }
        Some(Self {
            secret,
            replaced,
            grace,
            created,
            issued,
            used,
            idle,
            absolute,
            ended,
            revoked,
            signed_in,
            latest,
            fields,
            modified: false,
        })
    }

    /// Checks the proof, and returns which kind of proof it is.
    fn open(&self, proof: Proof<'_>, now: Duration) -> Result<OpenedBy, Refused> {
        if !self.is_retained(now) {
            return Err(Refused::NotFound);
        }
        let opened = match proof {
            Proof::Internal => OpenedBy::Internal,
            Proof::Secret(secret) if self.secret == *secret => OpenedBy::Current,
            Proof::Secret(secret) if self.replaced.is_some_and(|former| former == *secret) => {
                match self.grace {
                    // No secret of a revoked session is valid, not even one that is newer than the presented
                    // one. So the response may remove the client's cookie.
                    _ if self.revoked => return Err(Refused::Revoked),
                    Grace::Pending(_) => OpenedBy::Former,
                    Grace::Until(until) if now < until => OpenedBy::FormerInGrace,
                    Grace::Until(_) | Grace::None => return Err(self.replaced(now)),
                }
            }
            Proof::Secret(_) => return Err(Refused::NotFound),
        };
        match self.ended {
            Some(_) if self.revoked => Err(Refused::Revoked),
            Some(ended) => Err(Refused::Ended { ago: now.saturating_sub(ended) }),
            None => Ok(opened),
        }
    }

    /// Returns the refusal of a former secret that is no longer valid. If a request needs the current secret,
    /// a former secret in its grace period and internal credentials get the same refusal.
    fn replaced(&self, now: Duration) -> Refused {
        let since = match self.grace {
            Grace::Until(until) => until,
            Grace::Pending(_) => now,
            Grace::None => self.issued,
        };
        Refused::Replaced { ago: now.saturating_sub(since) }
    }

    /// Returns the answer to an update that does not apply, or `None` if it applies.
    fn check(
        &self,
        update: &Update<'_>,
        opened: OpenedBy,
        now: Duration,
    ) -> Result<Option<Updated>, Refused> {
        if !opened.has_all_rights() && update.needs_current_secret() {
            return Err(self.replaced(now));
        }
        let age = now.saturating_sub(self.issued);
        if update.renew.is_some_and(|renew| age < renew.every.as_duration()) {
            return Ok(Some(Updated::NotDue));
        }
        let Some(Precondition { name, value }) = update.precondition else { return Ok(None) };
        let current = self.get(name, now).map(|field| &field.value);
        Ok((current != value).then(|| Updated::Conflict { current: current.cloned() }))
    }

    /// Starts the grace period of the former secret at the first use of the current secret.
    fn confirm(&mut self, opened: OpenedBy, now: Duration) {
        if let (OpenedBy::Current, Grace::Pending(grace)) = (opened, self.grace) {
            self.grace = Grace::Until(now.saturating_add(grace));
            self.modified = true;
        }
    }

    fn touch(&mut self, touch: Option<Touch>, now: Duration) {
        let (Some(touch), Some(deadline)) = (touch, self.idle) else { return };
        let granted = touch.idle.as_duration();
        if granted.saturating_sub(deadline.saturating_sub(now)) >= touch.after {
            self.idle = Some(now.saturating_add(granted));
            self.used = now;
            self.modified = true;
        }
    }

    /// Replaces the current secret. The presented one becomes the former secret.
    fn rotate(&mut self, presented: Proof<'_>, fresh: &SecretHash, now: Duration) {
        if let Proof::Secret(presented) = presented
            && *fresh != self.secret
        {
            self.replaced = Some(*presented);
            self.secret = *fresh;
            self.issued = now;
            self.grace = Grace::None;
        }
    }

    /// Sets both deadlines.
    fn begin(&mut self, idle: Option<Ttl>, absolute: Option<Ttl>, now: Duration) {
        let from_now = |ttl: Ttl| now.saturating_add(ttl.as_duration());
        self.idle = idle.map(from_now);
        self.absolute = absolute.map(from_now);
        self.used = now;
    }

    fn sign_in(&mut self, who: &NewSignIn<'_>, now: Duration) {
        let NewSignIn { principal, assurance, .. } = *who;
        self.signed_in = Some(Authentication { principal: *principal, assurance, at: now });
        self.latest = self.absolute;
    }

    fn limit_absolute(&mut self, deadline: Option<AbsoluteDeadline>, now: Duration) {
        let Some(AbsoluteDeadline { from_now, from_creation }) = deadline else { return };
        let from_creation = from_creation.map(|ttl| self.created.saturating_add(ttl.as_duration()));
        let from_now = Some(now.saturating_add(from_now.as_duration()));
        // If a sign-in has set a deadline, that deadline replaces `from_creation`.
        let latest = self.latest.or(from_creation);
        self.absolute = latest.into_iter().chain(from_now).min();
    }

    fn meta(&self, opened: OpenedBy, now: Duration) -> SessionMeta {
        let since = |moment: Duration| now.saturating_sub(moment);
        let left = |deadline: Duration| deadline.saturating_sub(now);
        SessionMeta {
            age: since(self.created),
            secret_age: since(self.issued),
            idle_for: since(self.used),
            idle_remaining: self.idle.map(left),
            absolute_remaining: self.absolute.map(left),
            signed_in: self.signed_in.map(|signed_in| {
                SignedIn::new(signed_in.principal, signed_in.assurance, since(signed_in.at))
            }),
            by_former_secret: matches!(opened, OpenedBy::Former | OpenedBy::FormerInGrace),
        }
    }

    fn project(&self, fields: Projection<'_>, now: Duration) -> Vec<StoredField> {
        let stored = |name: FieldName, field: &FieldRecord| StoredField {
            name,
            value: field.value.clone(),
            ttl: field.expires.map(|expires| expires.saturating_sub(now)),
            cache_policy: field.cache_policy,
        };
        match fields {
            Projection::All => (self.fields.iter())
                .filter(|(_, field)| field.is_live(now))
                .map(|(name, field)| stored(name.clone(), field))
                .collect(),
            Projection::Named(names) => (names.iter())
                .filter_map(|name| self.get(name, now).map(|field| stored((*name).into(), field)))
                .collect(),
        }
    }

    /// Applies a change. Returns whether a removal or expiry found its field.
    fn apply(&mut self, change: &Change<'_>, now: Duration) -> bool {
        match change {
            Change::Set(write) => {
                self.set(write, now);
                false
            }
            Change::Remove(name) => self.remove(name, now).is_some(),
            Change::Expire(name, ttl) => match self.fields.get_mut(*name) {
                Some(field) if field.is_live(now) => {
                    field.expires = Some(now.saturating_add(ttl.as_duration()));
                    true
                }
                _ => false,
            },
        }
    }

    fn remove(&mut self, name: &str, now: Duration) -> Option<Bytes> {
        self.fields.remove(name).filter(|field| field.is_live(now)).map(|field| field.value)
    }

    fn get(&self, name: &str, now: Duration) -> Option<&FieldRecord> {
        self.fields.get(name).filter(|field| field.is_live(now))
    }

    fn set(&mut self, write: &FieldWrite<'_>, now: Duration) {
        let field = FieldRecord {
            value: write.value.clone(),
            expires: write.ttl.map(|ttl| now.saturating_add(ttl.as_duration())),
            cache_policy: write.cache_policy,
        };
        match self.fields.get_mut(write.name) {
            Some(held) => *held = field,
            None => {
                self.fields.insert(write.name.into(), field);
            }
        }
    }
}

/// A [`SessionRecord`] without its fields, for a backend that keeps the parts of a record in columns.
/// The backend stores the head if an operation has changed it.
#[cfg(any(feature = "mysql-store", feature = "sqlite-store"))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct RecordHead {
    pub(in crate::store) secret: SecretHash,
    pub(in crate::store) replaced: Option<SecretHash>,
    pub(in crate::store) grace: Grace,
    pub(in crate::store) created: Duration,
    pub(in crate::store) issued: Duration,
    pub(in crate::store) used: Duration,
    pub(in crate::store) idle: Option<Duration>,
    pub(in crate::store) absolute: Option<Duration>,
    pub(in crate::store) ended: Option<Duration>,
    pub(in crate::store) revoked: bool,
    pub(in crate::store) signed_in: Option<Authentication>,
    pub(in crate::store) latest: Option<Duration>,
}

#[cfg(any(feature = "mysql-store", feature = "sqlite-store"))]
impl RecordHead {
    /// Marks the session as revoked by `revoke_everyone`, which does not record a moment for each session.
    pub(in crate::store) fn revoke_with_all(&mut self) {
        if self.ended.is_none() {
            // The moment of the end is not known. Nothing needs it: `ended` only has to be present.
            (self.ended, self.revoked, self.signed_in) = (Some(self.used), true, None);
        }
    }

    /// Returns the head of a record.
    pub(in crate::store) fn of(record: &SessionRecord) -> Self {
        Self {
            secret: record.secret,
            replaced: record.replaced,
            grace: record.grace,
            created: record.created,
            issued: record.issued,
            used: record.used,
            idle: record.idle,
            absolute: record.absolute,
            ended: record.ended,
            revoked: record.revoked,
            signed_in: record.signed_in,
            latest: record.latest,
        }
    }

    /// Returns a record with these fields, which have to include every field that the next operation
    /// reads, removes or expires.
    pub(in crate::store) fn with_fields(
        self,
        fields: HashMap<FieldName, FieldRecord>,
    ) -> SessionRecord {
        SessionRecord {
            secret: self.secret,
            replaced: self.replaced,
            grace: self.grace,
            created: self.created,
            issued: self.issued,
            used: self.used,
            idle: self.idle,
            absolute: self.absolute,
            ended: self.ended,
            revoked: self.revoked,
            signed_in: self.signed_in,
            latest: self.latest,
            fields,
            modified: false,
        }
    }
}

impl FieldRecord {
    fn is_live(&self, now: Duration) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Shows only the length of the value.
impl std::fmt::Debug for FieldRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FieldRecord")
            .field("bytes", &self.value.len())
            .field("expires", &self.expires)
            .field("cache_policy", &self.cache_policy)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{AuthChange, Create, FieldWrite, NewSignIn, Projection, Renew, Update},
        token::SessionId,
    };

    fn record() -> (SessionRecord, SecretHash) {
        let (id, value) = (SessionId::from_bytes([1; 16]), Bytes::from_static(b"value"));
        let [first, second] = [[2; 32], [3; 32]].map(SecretHash::from_bytes);
        let fields = [
            FieldWrite::new("plain", &value),
            FieldWrite::new("short", &value).ttl(Ttl::from_secs(5)),
            FieldWrite::new("age", &value).cache_policy(CachePolicy::MaxAge(Ttl::MAX)),
            FieldWrite::new("never", &value).cache_policy(CachePolicy::NoStore),
        ];
        let create = Create::new(&id, &first).idle(Ttl::from_secs(60)).fields(&fields);
        let mut record = SessionRecord::new(&create, Duration::from_secs(100));
        let principal = PrincipalKey::from_bytes([4; 32]);
        let who = NewSignIn::new(&principal, Assurance::Aal2);
        let sign = AuthChange::In { who, idle: Some(Ttl::from_secs(60)), absolute: None };
        let renew = Renew::new(&second, Ttl::from_millis(1), Duration::from_secs(9));
        let update = Update::new(&[]).auth_change(sign).renew(renew);
        record.update(&first, &update, Duration::from_secs(101)).unwrap();
        (record, first)
    }

    #[test]
    fn a_decoded_record_answers_like_the_original() {
        let (mut record, secret) = record();
        let mut decoded = SessionRecord::decode(record.encode().into()).unwrap();
        assert!(!decoded.is_modified());
        for now in [102, 104, 105, 161].map(Duration::from_secs) {
            let sorted = |record: &mut SessionRecord| {
                record.load(&secret, Projection::All, None, now).map(|mut loaded| {
                    loaded.fields.sort_by(|a, b| a.name.cmp(&b.name));
                    loaded
                })
            };
            assert_eq!(sorted(&mut record), sorted(&mut decoded));
        }
        record.delete(&secret, Duration::from_secs(110)).unwrap();
        let mut ended = SessionRecord::decode(record.encode().into()).unwrap();
        let now = Duration::from_secs(111);
        assert_eq!(
            ended.load(&secret, Projection::All, None, now),
            record.load(&secret, Projection::All, None, now)
        );
    }

    #[test]
    fn a_revoked_session_without_a_deadline_is_recognised_for_a_limited_time() {
        let (id, secret) = (SessionId::from_bytes([1; 16]), SecretHash::from_bytes([2; 32]));
        let mut record = SessionRecord::new(&Create::new(&id, &secret), Duration::ZERO);
        assert_eq!(record.deadline(), None);
        let now = Duration::from_secs(9);
        record.revoke(now);
        assert_eq!(record.deadline(), Some(now + REVOKED_RETENTION));
    }

    /// The clock of a server may step back to a moment before the replacement.
    #[test]
    fn a_replaced_secret_stays_invalid_before_its_replacement() {
        let (mut record, _) = record();
        let [current, fresh] = [[3; 32], [5; 32]].map(SecretHash::from_bytes);
        let rotate = Update::new(&[]).rotate(&fresh);
        record.update(&current, &rotate, Duration::from_secs(120)).unwrap();
        let mut decoded = SessionRecord::decode(record.encode().into()).unwrap();
        for record in [&mut record, &mut decoded] {
            for (now, ago) in [(100, 0), (120, 0), (130, 10)] {
                let now = Duration::from_secs(now);
                let refused = record.load(&current, Projection::All, None, now).err();
                let ago = Duration::from_secs(ago);
                assert_eq!(refused, Some(Refused::Replaced { ago }), "{now:?}");
            }
        }
    }

    #[test]
    fn truncated_extended_and_foreign_bytes_are_corrupt() {
        let whole = record().0.encode();
        for length in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..length]);
            assert!(SessionRecord::decode(cut).is_err(), "{length}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(SessionRecord::decode(longer.into()).is_err());
        let newer = [&[VERSION + 1], &whole[1..]].concat();
        assert!(SessionRecord::decode(newer.into()).is_err());
    }
}
