//! The requests that a caller passes to a [`Store`](super::Store).
//!
//! Built by the session, by wrapping stores and by tests. Read by stores. Knows nothing about
//! answers, types or HTTP. Every struct is `#[non_exhaustive]` and has a constructor, so a new part
//! does not break code that builds a request.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{
    auth::{Assurance, PrincipalKey},
    cache_policy::CachePolicy,
    token::{SecretHash, SessionId},
    ttl::Ttl,
};

/// The right to use a session: its id, and a proof.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Credentials<'a> {
    /// Id of the session.
    pub id: &'a SessionId,
    /// Proof of the right to use the session.
    pub proof: Proof<'a>,
}

impl<'a> Credentials<'a> {
    /// Creates the credentials of a client of the session `id`.
    pub const fn new(id: &'a SessionId, secret: &'a SecretHash) -> Self {
        Self { id, proof: Proof::Secret(secret) }
    }

    /// Creates internal credentials, for a job that works on the session `id` without a request.
    pub const fn internal(id: &'a SessionId) -> Self {
        Self { id, proof: Proof::Internal }
    }

    /// Returns the hash of the presented secret. `None` for [internal](Self::internal) credentials.
    pub const fn secret(&self) -> Option<&'a SecretHash> {
        match self.proof {
            Proof::Secret(secret) => Some(secret),
            Proof::Internal => None,
        }
    }
}

/// The proof of [`Credentials`].
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// Hash of the secret that a client presented.
    Secret(&'a SecretHash),
    /// No secret: the credentials are internal. No client can present this proof.
    ///
    /// A store accepts this proof for any live session. The proof has the rights of a former secret
    /// in its grace period: to read the session, change its fields and delete it. Unlike such a
    /// secret, this proof can [touch](Touch) the session. Its use does not start the grace period
    /// of a former secret. An update that [needs the current secret](Update::needs_current_secret)
    /// is refused with [`Refused::Replaced`](super::Refused::Replaced).
    Internal,
}

impl<'a> From<&'a SecretHash> for Proof<'a> {
    fn from(secret: &'a SecretHash) -> Self {
        Self::Secret(secret)
    }
}

/// The fields to read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Projection<'a> {
    /// All fields.
    All,
    /// The fields with these names. The caller lists each name only once. An empty list reads only
    /// the metadata.
    Named(&'a [&'a str]),
}

/// Records a use of the session, which moves its idle deadline.
///
/// The idle deadline moves to `idle` from now if at least `after` of the idle time has passed, so
/// most reads write nothing. The new deadline can be earlier than the old one. A session without an
/// idle deadline gets none. The absolute deadline still applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Touch {
    /// Idle time to grant.
    pub idle: Ttl,
    /// Part of the idle time that has to pass before the deadline moves.
    pub after: Duration,
}

impl Touch {
    /// Creates a touch that grants `idle` when `after` of the idle time has passed.
    pub const fn new(idle: Ttl, after: Duration) -> Self {
        Self { idle, after }
    }
}

/// A session to create.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Create<'a> {
    /// Id of the session.
    pub id: &'a SessionId,
    /// Hash of the secret of the session.
    pub secret: &'a SecretHash,
    /// Time until the idle deadline.
    pub idle: Option<Ttl>,
    /// Time until the absolute deadline.
    pub absolute: Option<Ttl>,
    /// First fields.
    pub fields: &'a [FieldWrite<'a>],
    /// The principal that signs in to the session as it is created.
    pub sign_in: Option<NewSignIn<'a>>,
}

impl<'a> Create<'a> {
    /// Creates a request for a session without fields, deadlines or a principal.
    pub const fn new(id: &'a SessionId, secret: &'a SecretHash) -> Self {
        Self { id, secret, idle: None, absolute: None, fields: &[], sign_in: None }
    }

    /// Sets the time until the idle deadline.
    #[must_use]
    pub fn idle(mut self, idle: impl Into<Option<Ttl>>) -> Self {
        self.idle = idle.into();
        self
    }

    /// Sets the time until the absolute deadline.
    #[must_use]
    pub fn absolute(mut self, absolute: impl Into<Option<Ttl>>) -> Self {
        self.absolute = absolute.into();
        self
    }

    /// Sets the first fields.
    #[must_use]
    pub const fn fields(mut self, fields: &'a [FieldWrite<'a>]) -> Self {
        self.fields = fields;
        self
    }

    /// Signs a principal in.
    #[must_use]
    pub fn sign_in(mut self, sign_in: impl Into<Option<NewSignIn<'a>>>) -> Self {
        self.sign_in = sign_in.into();
        self
    }
}

/// A principal that signs in.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct NewSignIn<'a> {
    /// The principal.
    pub principal: &'a PrincipalKey,
    /// Strength of the authentication.
    pub assurance: Assurance,
    /// Limit on the principal's live sessions.
    pub limit: Option<SessionLimit>,
    /// Whether to keep the fields of a session to which a different principal is signed in. By
    /// default, these fields are removed, so that the new user does not see them. If the same
    /// principal or no principal is signed in, the fields always stay.
    pub keep_fields: bool,
}

impl<'a> NewSignIn<'a> {
    /// Creates a sign-in without a limit.
    pub const fn new(principal: &'a PrincipalKey, assurance: Assurance) -> Self {
        Self { principal, assurance, limit: None, keep_fields: false }
    }

    /// Sets whether to keep the fields of a session to which a different principal is signed in.
    /// Defaults to `false`.
    #[must_use]
    pub const fn keep_fields(mut self, keep: bool) -> Self {
        self.keep_fields = keep;
        self
    }

    /// Limits the principal's live sessions.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<Option<SessionLimit>>) -> Self {
        self.limit = limit.into();
        self
    }
}

/// Limit on the live sessions of a principal, including the new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionLimit {
    /// Maximum number of sessions, at least one.
    pub sessions: u32,
    /// The reaction to a sign-in beyond the limit.
    pub on_limit: OnLimit,
}

impl SessionLimit {
    /// Creates a limit of `sessions`. Zero counts as one.
    pub const fn new(sessions: u32, on_limit: OnLimit) -> Self {
        Self { sessions, on_limit }
    }

    /// Returns the same limit, which refuses a sign-in instead of ending other sessions.
    pub(crate) fn rejecting(self) -> Self {
        Self::new(self.sessions, OnLimit::Reject)
    }

    /// Returns the sessions that have to end before one more sign-in. Returns `None` if the sign-in
    /// is refused.
    ///
    /// `live` holds the other live sessions of the principal, each with the time of its sign-in. If
    /// two times are equal, the first of the two sessions ends first.
    pub(in crate::store) fn beyond(
        self,
        mut live: Vec<(Duration, SessionId)>,
    ) -> Option<Vec<SessionId>> {
        let beyond = (live.len() + 1).saturating_sub(self.sessions.max(1) as usize);
        if beyond > 0 && self.on_limit == OnLimit::Reject {
            return None;
        }
        live.sort_by_key(|(signed_in_at, _)| *signed_in_at);
        Some(live.into_iter().take(beyond).map(|(_, id)| id).collect())
    }
}

/// The reaction to a sign-in beyond a [`SessionLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLimit {
    /// The sign-in is refused.
    Reject,
    /// The sessions with the oldest sign-ins end. A sign-in that is refused or does not apply ends
    /// none. The limit refuses no sign-in, even if several run at the same time. Each of those may
    /// end a session that another one has just signed in to.
    EndOldest,
}

/// A field to write.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct FieldWrite<'a> {
    /// Name of the field.
    pub name: &'a str,
    /// Value of the field.
    pub value: &'a Bytes,
    /// The field's own TTL, counted from now. `None` removes an earlier TTL.
    pub ttl: Option<Ttl>,
    /// How a cache may serve the field.
    pub cache_policy: CachePolicy,
}

impl<'a> FieldWrite<'a> {
    /// Creates a write of a field without a TTL of its own, under the default cache policy.
    pub const fn new(name: &'a str, value: &'a Bytes) -> Self {
        Self { name, value, ttl: None, cache_policy: CachePolicy::Default }
    }

    /// Sets the TTL of the field.
    #[must_use]
    pub fn ttl(mut self, ttl: impl Into<Option<Ttl>>) -> Self {
        self.ttl = ttl.into();
        self
    }

    /// Sets the cache policy.
    #[must_use]
    pub const fn cache_policy(mut self, policy: CachePolicy) -> Self {
        self.cache_policy = policy;
        self
    }
}

/// A change to one field.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Change<'a> {
    /// Writes the field, present or not.
    Set(FieldWrite<'a>),
    /// Removes the field.
    Remove(&'a str),
    /// Sets the TTL of a field, counted from now. An absent field stays absent.
    Expire(&'a str, Ttl),
}

impl<'a> Change<'a> {
    /// Returns the name of the field.
    pub const fn name(&self) -> &'a str {
        match self {
            Self::Set(write) => write.name,
            Self::Remove(name) | Self::Expire(name, _) => name,
        }
    }
}

/// Changes to a session, applied together or not at all. Changes to fields apply in their order.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Update<'a> {
    /// Changes to fields.
    pub changes: &'a [Change<'a>],
    /// Condition on a field. The update applies only if the condition holds.
    pub precondition: Option<Precondition<'a>>,
    /// Replaces the secret. The former secret is then refused with
    /// [`Refused::Replaced`](super::Refused::Replaced). A repeated attempt may replace a secret
    /// with itself, which has no effect.
    pub rotate: Option<&'a SecretHash>,
    /// Replaces the secret by age, with a grace period for the former secret.
    pub renew: Option<Renew<'a>>,
    /// Moves the absolute deadline, never beyond the deadline that a sign-in set.
    pub absolute: Option<AbsoluteDeadline>,
    /// Touches the session.
    pub touch: Option<Touch>,
    /// Signs a principal in or out.
    pub auth_change: Option<AuthChange<'a>>,
}

impl<'a> Update<'a> {
    /// Creates an update that changes only fields.
    pub const fn new(changes: &'a [Change<'a>]) -> Self {
        Self {
            changes,
            precondition: None,
            rotate: None,
            renew: None,
            absolute: None,
            touch: None,
            auth_change: None,
        }
    }

    /// Applies the update only if a field is as expected.
    #[must_use]
    pub fn precondition(mut self, precondition: impl Into<Option<Precondition<'a>>>) -> Self {
        self.precondition = precondition.into();
        self
    }

    /// Replaces the secret.
    #[must_use]
    pub fn rotate(mut self, secret: impl Into<Option<&'a SecretHash>>) -> Self {
        self.rotate = secret.into();
        self
    }

    /// Replaces the secret by age.
    #[must_use]
    pub fn renew(mut self, renew: impl Into<Option<Renew<'a>>>) -> Self {
        self.renew = renew.into();
        self
    }

    /// Moves the absolute deadline.
    #[must_use]
    pub fn absolute(mut self, deadline: impl Into<Option<AbsoluteDeadline>>) -> Self {
        self.absolute = deadline.into();
        self
    }

    /// Touches the session.
    #[must_use]
    pub fn touch(mut self, touch: impl Into<Option<Touch>>) -> Self {
        self.touch = touch.into();
        self
    }

    /// Signs a principal in or out.
    #[must_use]
    pub fn auth_change(mut self, change: impl Into<Option<AuthChange<'a>>>) -> Self {
        self.auth_change = change.into();
        self
    }

    /// Returns the sorted names of the fields that the update reads, removes or expires. All other
    /// fields are written without being read.
    #[cfg(any(feature = "mysql-store", feature = "sqlite-store"))]
    pub(in crate::store) fn needed_names(&self) -> Vec<&'a str> {
        let changed = self.changes.iter().filter(|change| !matches!(change, Change::Set(_)));
        let expected = self.precondition.map(|precondition| precondition.name);
        let mut names: Vec<_> = changed.map(Change::name).chain(expected).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns whether the update does more than change fields and touch the session.
    ///
    /// Such an update is refused for a former secret in its grace period and for internal
    /// credentials.
    pub const fn needs_current_secret(&self) -> bool {
        self.rotate.is_some()
            || self.renew.is_some()
            || self.absolute.is_some()
            || self.auth_change.is_some()
    }
}

/// A replacement of a secret because of its age.
///
/// The response with the new secret may get lost. So the former secret stays fully valid until the
/// first use of the new secret, by a write or by a read with a [`Touch`]. A write that answers
/// [`NotDue`](super::Updated::NotDue) or [`Conflict`](super::Updated::Conflict) counts, too. From
/// then on, the former secret is valid for `grace`. In this grace period it can read and write
/// fields, and delete the session. It does not touch the session, and is refused for an update that
/// [needs the current secret](Update::needs_current_secret).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Renew<'a> {
    /// Hash of the new secret. A repeated attempt may replace a secret with itself, which has no
    /// effect.
    pub secret: &'a SecretHash,
    /// Minimum age of the current secret. If the secret is younger, the answer is
    /// [`Updated::NotDue`](super::Updated::NotDue).
    pub every: Ttl,
    /// Grace period of the former secret.
    pub grace: Duration,
}

impl<'a> Renew<'a> {
    /// Creates a replacement of a secret that is at least `every` old.
    pub const fn new(secret: &'a SecretHash, every: Ttl, grace: Duration) -> Self {
        Self { secret, every, grace }
    }
}

/// A change of the signed-in principal.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum AuthChange<'a> {
    /// A principal signs in, or authenticates again. Both deadlines are replaced. If a different
    /// principal is signed in, the session loses its fields, unless
    /// [`keep_fields`](NewSignIn::keep_fields) is set. The changes of the update are applied after
    /// that.
    In {
        /// The principal.
        who: NewSignIn<'a>,
        /// Time until the idle deadline. `None` removes the deadline.
        idle: Option<Ttl>,
        /// Time until the absolute deadline. `None` removes the deadline.
        absolute: Option<Ttl>,
    },
    /// The authentication lapses: the sign-in has this assurance from now on. Its principal, its
    /// time and the deadlines stay. Has no effect if no principal is signed in.
    Lapse(Assurance),
    /// The principal signs out. The deadlines stay, and the absolute deadline that a sign-in set
    /// still limits later [updates](Update::absolute).
    Out,
}

/// An absolute deadline: the earlier of two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AbsoluteDeadline {
    /// Time from now.
    pub from_now: Ttl,
    /// Time from the creation of the session. If a sign-in has set an absolute deadline, that
    /// deadline applies instead.
    pub from_creation: Option<Ttl>,
}

impl AbsoluteDeadline {
    /// Creates a deadline `from_now`, but at most `from_creation` after the session was created.
    pub const fn new(from_now: Ttl, from_creation: Option<Ttl>) -> Self {
        Self { from_now, from_creation }
    }
}

/// A condition on a field. An [`Update`] applies only if its condition holds.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Precondition<'a> {
    /// Name of the field.
    pub name: &'a str,
    /// Value that the field must have. `None` if the field must be absent. A field with an empty
    /// value is not absent.
    pub value: Option<&'a Bytes>,
}

impl<'a> Precondition<'a> {
    /// Requires the field to hold `value`, or to be absent if `value` is `None`.
    pub const fn new(name: &'a str, value: Option<&'a Bytes>) -> Self {
        Self { name, value }
    }
}

/// A field to remove and to return.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TakeField<'a> {
    /// Name of the field.
    pub name: &'a str,
    /// Replaces the secret, even if the field is absent.
    pub rotate: Option<&'a SecretHash>,
    /// Touches the session.
    pub touch: Option<Touch>,
    /// Signs the principal out, as [`AuthChange::Out`] does.
    pub sign_out: bool,
    /// Highest field version that may be removed. The caller cannot read a value of a higher
    /// version. Such a value is returned but stays. The rest of the request is still carried out.
    pub max_version: Option<u16>,
}

impl<'a> TakeField<'a> {
    /// Creates a request that takes a field and does nothing else.
    pub const fn new(name: &'a str) -> Self {
        Self { name, rotate: None, touch: None, sign_out: false, max_version: None }
    }

    /// Replaces the secret.
    #[must_use]
    pub fn rotate(mut self, secret: impl Into<Option<&'a SecretHash>>) -> Self {
        self.rotate = secret.into();
        self
    }

    /// Touches the session.
    #[must_use]
    pub fn touch(mut self, touch: impl Into<Option<Touch>>) -> Self {
        self.touch = touch.into();
        self
    }

    /// Signs the principal out.
    #[must_use]
    pub const fn sign_out(mut self, sign_out: bool) -> Self {
        self.sign_out = sign_out;
        self
    }

    /// Sets the highest field version that may be removed.
    #[must_use]
    pub fn max_version(mut self, version: impl Into<Option<u16>>) -> Self {
        self.max_version = version.into();
        self
    }

    /// Returns whether `max_version` keeps this value from being removed. The version of a value is
    /// in its third and fourth byte, big-endian. A shorter value has no version.
    pub fn keeps(&self, value: &[u8]) -> bool {
        let version = value.get(2..4).and_then(|bytes| bytes.try_into().ok());
        version.map(u16::from_be_bytes) > self.max_version && self.max_version.is_some()
    }

    /// Returns whether the request does more than take the field and touch the session: see
    /// [`Update::needs_current_secret`].
    pub const fn needs_current_secret(&self) -> bool {
        self.rotate.is_some() || self.sign_out
    }
}

/// A request for one page of a principal's sessions.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PageRequest<'a> {
    /// The session after which the page begins. `None` asks for the first page.
    pub after: Option<&'a SessionId>,
    /// Maximum number of sessions on the page, at least one. A page can have fewer, even if it is
    /// not the last one.
    pub limit: usize,
}

impl<'a> PageRequest<'a> {
    /// Creates a request for the page after a session.
    pub const fn new(after: Option<&'a SessionId>, limit: usize) -> Self {
        Self { after, limit }
    }
}

/// The sessions of a principal that a revocation ends.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum RevokeTarget<'a> {
    /// One session.
    One(&'a SessionId),
    /// All sessions, with at most one exception.
    All {
        /// The session that stays, if any.
        except: Option<&'a SessionId>,
    },
}

impl RevokeTarget<'_> {
    /// Returns whether the session has to end.
    pub fn includes(&self, id: &SessionId) -> bool {
        match self {
            Self::One(one) => id == *one,
            Self::All { except } => Some(id) != *except,
        }
    }
}

/// Shows only the length of the value.
impl fmt::Debug for FieldWrite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldWrite")
            .field("name", &self.name)
            .field("bytes", &self.value.len())
            .field("ttl", &self.ttl)
            .field("cache_policy", &self.cache_policy)
            .finish()
    }
}

/// Shows only the length of the value.
impl fmt::Debug for Precondition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Precondition")
            .field("name", &self.name)
            .field("bytes", &self.value.map(Bytes::len))
            .finish()
    }
}
