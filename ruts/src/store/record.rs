//! A session as a store keeps it, independent of any backend: [`SessionRecord`].
//!
//! Used by every [`RecordStore`](super::RecordStore), by `SqliteStore` and `MySqlStore`, and by the
//! model in `tests/stores/tests/model.rs`. A record does not read the clock and does no I/O. The
//! caller passes the time and stores the result.

mod encoding;
mod field;
mod head;

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;

use self::head::AcceptedProof;
pub(in crate::store) use self::{
    field::FieldRecord,
    head::{Authentication, Grace, RecordHead},
};
use super::{
    request::{
        AuthChange, Change, Create, FieldWrite, Precondition, Projection, Proof, TakeField, Touch,
        Update,
    },
    response::{Expiry, Loaded, Refused, SessionMeta, StoredField, Updated},
};
use crate::{auth::PrincipalKey, field::FieldName};

/// Bytes that this release cannot decode as a [`SessionRecord`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes hold no session record of a known version")]
pub struct CorruptRecord;

/// A session as a store keeps it, with the operations of the [`Store`](super::Store) contract as
/// pure functions of the record and the time.
///
/// A moment is a [`Duration`] since a point in time that the store chooses once, such as 1970. At
/// the exact moment of a deadline, the deadline has passed.
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
    head: RecordHead,
    fields: HashMap<FieldName, FieldRecord>,
    modified: bool,
}

impl SessionRecord {
    /// Creates the record of a new session.
    pub fn new(create: &Create<'_>, now: Duration) -> Self {
        let mut head = RecordHead::new(*create.secret, now);
        head.set_deadlines(create.idle, create.absolute, now);
        if let Some(who) = &create.sign_in {
            head.sign_in(who, now);
        }
        let fields = HashMap::with_capacity(create.fields.len());
        let mut record = Self { head, fields, modified: true };
        for write in create.fields {
            record.set(write, now);
        }
        record
    }

    /// Returns the moment from which the record can be freed, unless a use of the session moves
    /// that moment.
    pub fn deadline(&self) -> Option<Duration> {
        self.head.deadline()
    }

    /// Returns whether the record has to be kept: the session is live, or its secret is still
    /// recognised as the secret of an ended session.
    pub fn is_retained(&self, now: Duration) -> bool {
        self.head.is_retained(now)
    }

    /// Returns whether the session is live.
    pub fn is_live(&self, now: Duration) -> bool {
        self.head.is_live(now)
    }

    /// Returns whether the session was deleted or revoked.
    pub const fn is_ended(&self) -> bool {
        self.head.ended.is_some()
    }

    /// Returns whether the session was [revoked](Self::revoke). A backend that lacks space may
    /// remove the record of a revoked session. The secret is then refused with
    /// [`Refused::NotFound`].
    pub const fn is_revoked(&self) -> bool {
        self.head.revoked
    }

    /// Returns the signed-in principal of a session that was not deleted or revoked.
    pub fn principal(&self) -> Option<PrincipalKey> {
        self.head.principal()
    }

    /// Returns whether the session is live and the principal is signed in.
    pub fn belongs_to(&self, principal: &PrincipalKey, now: Duration) -> bool {
        self.is_live(now) && self.principal() == Some(*principal)
    }

    /// Returns when the principal signed in.
    pub fn signed_in_at(&self) -> Option<Duration> {
        self.head.signed_in.map(|signed_in| signed_in.at)
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
        let accepted = self.head.authenticate(proof.into(), now)?;
        if accepted.may_touch() && touch.is_some() {
            self.modified |= self.head.start_grace(accepted, now);
            self.modified |= self.head.extend_idle(touch, now);
        }
        Ok(Loaded::new(self.head.meta(accepted, now), self.project(fields, now)))
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
        self.is_live(now).then(|| self.head.meta(AcceptedProof::Current, now))
    }

    /// Returns the deadline that ended the session: [`Store::expiry`](super::Store::expiry).
    pub fn expiry(&self, now: Duration) -> Option<Expiry> {
        self.head.expiry(now)
    }

    /// Returns whether [`update`](Self::update) would apply the update.
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] if the session does not accept the proof. Also returns it if the proof
    /// does not permit an update that [needs the current
    /// secret](super::Update::needs_current_secret).
    pub fn would_apply<'p>(
        &self,
        proof: impl Into<Proof<'p>>,
        update: &Update<'_>,
        now: Duration,
    ) -> Result<bool, Refused> {
        let accepted = self.head.authenticate(proof.into(), now)?;
        self.check(update, accepted, now).map(|refusal| refusal.is_none())
    }

    /// Applies an update: [`Store::update`](super::Store::update). Before a sign-in, the store has
    /// to enforce the limit on the principal's sessions.
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] if the session does not accept the proof. Also returns it if the proof
    /// does not permit an update that [needs the current
    /// secret](super::Update::needs_current_secret).
    pub fn update<'p>(
        &mut self,
        proof: impl Into<Proof<'p>>,
        update: &Update<'_>,
        now: Duration,
    ) -> Result<Updated, Refused> {
        let proof = proof.into();
        let accepted = self.head.authenticate(proof, now)?;
        let refusal = self.check(update, accepted, now)?;
        self.modified |= self.head.start_grace(accepted, now);
        if let Some(refusal) = refusal {
            return Ok(refusal);
        }
        self.modified = true;
        self.prune(now);
        if accepted.may_touch() {
            self.head.extend_idle(update.touch, now);
        }
        if let Some(renew) = update.renew.filter(|renew| *renew.secret != self.head.secret) {
            self.head.rotate(proof, renew.secret, now);
            self.head.grace = Grace::Pending(renew.grace);
        }
        if let Some(fresh) = update.rotate {
            self.head.rotate(proof, fresh, now);
        }
        match update.auth_change {
            Some(AuthChange::In { who, idle, absolute }) => {
                let replaces =
                    self.principal().is_some_and(|signed_in| signed_in != *who.principal);
                if replaces && !who.keep_fields {
                    self.fields.clear();
                }
                self.head.set_deadlines(idle, absolute, now);
                self.head.sign_in(&who, now);
            }
            Some(AuthChange::Lapse(assurance)) => {
                self.head.signed_in =
                    self.head.signed_in.map(|it| Authentication { assurance, ..it });
            }
            Some(AuthChange::Out) => self.head.signed_in = None,
            None => {}
        }
        self.head.limit_absolute(update.absolute, now);
        let found = update.changes.iter().filter(|change| self.apply(change, now)).count();
        Ok(Updated::Applied { found })
    }

    /// Removes a field and returns its value: [`Store::take`](super::Store::take).
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] if the session does not accept the proof. Also returns it if the proof
    /// does not permit a request that [needs the current
    /// secret](super::TakeField::needs_current_secret).
    pub fn take<'p>(
        &mut self,
        proof: impl Into<Proof<'p>>,
        take: &TakeField<'_>,
        now: Duration,
    ) -> Result<Option<Bytes>, Refused> {
        let proof = proof.into();
        let accepted = self.head.authenticate(proof, now)?;
        if !accepted.has_all_rights() && take.needs_current_secret() {
            return Err(self.head.refusal_of_former(now));
        }
        if accepted.may_touch() {
            self.head.extend_idle(take.touch, now);
        }
        self.head.start_grace(accepted, now);
        self.modified = true;
        if let Some(fresh) = take.rotate {
            self.head.rotate(proof, fresh, now);
        }
        if take.sign_out {
            self.head.signed_in = None;
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
        self.head.authenticate(proof.into(), now)?;
        self.modified = true;
        self.head.ended = Some(now);
        self.fields = HashMap::new();
        Ok(())
    }

    /// Ends the session without its secret, and drops its fields:
    /// [`Store::revoke`](super::Store::revoke). The session has to be live.
    pub fn revoke(&mut self, now: Duration) {
        self.head.revoke(now);
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

    /// Returns the record without its fields, for a backend that keeps the parts of a record in
    /// columns.
    #[cfg(any(feature = "mysql-store", feature = "sqlite-store"))]
    pub(in crate::store) const fn head(&self) -> &RecordHead {
        &self.head
    }

    /// Returns a record with these fields, which have to include every field that the next
    /// operation reads, removes or expires.
    #[cfg(any(feature = "mysql-store", feature = "sqlite-store"))]
    pub(in crate::store) const fn from_parts(
        head: RecordHead,
        fields: HashMap<FieldName, FieldRecord>,
    ) -> Self {
        Self { head, fields, modified: false }
    }

    /// Encodes the record as bytes. Every later release can decode them.
    pub fn encode(&self) -> Vec<u8> {
        encoding::encode(&self.head, &self.fields)
    }

    /// Decodes a record. Values share the memory of `bytes`.
    ///
    /// # Errors
    ///
    /// Returns [`CorruptRecord`] if the bytes are not a record, or have a version that this release
    /// does not know.
    pub fn decode(mut bytes: Bytes) -> Result<Self, CorruptRecord> {
        let (head, fields) = encoding::decode(&mut bytes).ok_or(CorruptRecord)?;
        let record = Self { head, fields, modified: false };
        if bytes.is_empty() { Ok(record) } else { Err(CorruptRecord) }
    }

    /// Returns the answer to an update that does not apply, or `None` if it applies.
    fn check(
        &self,
        update: &Update<'_>,
        accepted: AcceptedProof,
        now: Duration,
    ) -> Result<Option<Updated>, Refused> {
        if !accepted.has_all_rights() && update.needs_current_secret() {
            return Err(self.head.refusal_of_former(now));
        }
        let age = now.saturating_sub(self.head.issued);
        if update.renew.is_some_and(|renew| age < renew.every.as_duration()) {
            return Ok(Some(Updated::NotDue));
        }
        let Some(Precondition { name, value }) = update.precondition else { return Ok(None) };
        let current = self.get(name, now).map(|field| &field.value);
        Ok((current != value).then(|| Updated::Conflict { current: current.cloned() }))
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
        let field = FieldRecord::new(write, now);
        match self.fields.get_mut(write.name) {
            Some(held) => *held = field,
            None => {
                self.fields.insert(write.name.into(), field);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::Assurance,
        cache_policy::CachePolicy,
        store::{NewSignIn, REVOKED_RETENTION, Renew},
        token::{SecretHash, SessionId},
        ttl::Ttl,
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

    /// After the first release, these bytes never change: custom stores keep them.
    #[test]
    fn the_stored_form_stays() {
        let (id, value) = (SessionId::from_bytes([1; 16]), Bytes::from_static(b"value"));
        let secret = SecretHash::from_bytes([2; 32]);
        let principal = PrincipalKey::from_bytes([4; 32]);
        let max_age = CachePolicy::MaxAge(Ttl::from_secs(5));
        let fields = [FieldWrite::new("age", &value).ttl(Ttl::from_secs(7)).cache_policy(max_age)];
        let create = Create::new(&id, &secret)
            .idle(Ttl::from_secs(60))
            .fields(&fields)
            .sign_in(NewSignIn::new(&principal, Assurance::Aal2));
        let record = SessionRecord::new(&create, Duration::from_secs(100));
        let hex: String = record.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [
            "01",
            &"02".repeat(32),
            "00",
            "020000000000000000",
            &"00000000000186a0".repeat(3),
            "0000000000027101",
            &"0000000000000000".repeat(3),
            "00",
            "00000000000186a1",
            "02",
            &"04".repeat(32),
            "00000001",
            "00000003616765",
            "0000000576616c7565",
            "000000000001a1f9",
            "0000000000001388",
        ];
        assert_eq!(hex, parts.concat());
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
        let newer = [&[encoding::VERSION + 1], &whole[1..]].concat();
        assert!(SessionRecord::decode(newer.into()).is_err());
    }
}
