//! Answers of a [`Store`](super::Store).
//!
//! Built by stores. Read by the session, the guards and wrapping stores. Knows nothing about types
//! or HTTP. Every struct that a store builds has a constructor or a `Default`, so a new part of an
//! answer does not break stores.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{
    auth::{Assurance, PrincipalKey},
    cache_policy::CachePolicy,
    field::FieldName,
    token::SessionId,
};

/// The reason why credentials were not accepted. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// No session has this id, the session has expired, or the secret is neither its current nor
    /// its former secret.
    NotFound,
    /// The session was [deleted](super::Store::delete), and the presented secret was valid until
    /// then. A store recognises the secret for at least
    /// [`DELETED_RETENTION`](super::DELETED_RETENTION).
    Deleted {
        /// Time since the deletion, by the clock of the server.
        ago: Duration,
    },
    /// The session was [revoked](super::Store::revoke), and the presented secret was its current or
    /// former secret. A store recognises both until the deadline that the session had, but for no
    /// longer than [`REVOKED_RETENTION`](super::REVOKED_RETENTION).
    Revoked,
    /// The latest rotation or renewal replaced the secret, and the grace period is over or does not
    /// permit the operation. Internal credentials get the same answer if the operation needs the
    /// current secret. The session was not revoked.
    Replaced {
        /// Time since the secret became invalid, by the clock of the server. Zero in the grace
        /// period.
        ago: Duration,
    },
}

/// The deadline that ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The idle deadline: the session was unused for too long.
    Idle,
    /// The absolute deadline: the session reached its maximum lifetime.
    Absolute,
}

/// The answer of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written<T> {
    /// The answer itself.
    pub answer: T,
    /// Time for which a cache that missed the write may still answer with the former state. Promise
    /// R of [`Store`](super::Store) does not hold in that time. `None` if no cache missed the
    /// write.
    pub stale_for: Option<Duration>,
}

impl<T> Written<T> {
    /// Creates the answer of a write after which no cache is stale.
    pub const fn new(answer: T) -> Self {
        Self { answer, stale_for: None }
    }

    /// Sets how long a cache may still answer with the previous state.
    #[must_use]
    pub fn stale_for(mut self, stale_for: impl Into<Option<Duration>>) -> Self {
        self.stale_for = stale_for.into();
        self
    }

    /// Converts the answer.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Written<U> {
        Written { answer: map(self.answer), stale_for: self.stale_for }
    }
}

/// A session as a read found it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The ages, deadlines and principal of the session.
    pub meta: SessionMeta,
    /// The requested fields that are live, in any order.
    pub fields: Vec<StoredField>,
}

impl Loaded {
    /// Creates a session with these fields.
    pub const fn new(meta: SessionMeta, fields: Vec<StoredField>) -> Self {
        Self { meta, fields }
    }

    /// Returns the value of a field. `None` if the field was not requested or is not live.
    pub(crate) fn value(&self, name: &str) -> Option<&Bytes> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }
}

/// Ages and deadlines of a session, and its principal, by the clock of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionMeta {
    /// Time since the session was created.
    pub age: Duration,
    /// Time since its secret was issued.
    pub secret_age: Duration,
    /// Time since the last counted use: the creation, a [`Touch`](super::Touch) that was due, or a
    /// sign-in.
    pub idle_for: Duration,
    /// Time left until the idle deadline. `None` without such a deadline. If a
    /// [`Touch`](super::Touch) of the same read moved the deadline, this is the time until the new
    /// deadline.
    pub idle_remaining: Option<Duration>,
    /// Time left until the absolute deadline. `None` without one.
    pub absolute_remaining: Option<Duration>,
    /// The signed-in principal.
    pub signed_in: Option<SignedIn>,
    /// Whether the caller presented the former secret, which a [renewal](super::Renew) has
    /// replaced.
    pub by_former_secret: bool,
}

impl SessionMeta {
    /// Returns the metadata as it will be when the time `later` has passed, if no operation takes
    /// place in between.
    pub(crate) fn after(self, later: Duration) -> Self {
        let left = |left: Duration| left.saturating_sub(later);
        Self {
            age: self.age.saturating_add(later),
            secret_age: self.secret_age.saturating_add(later),
            idle_for: self.idle_for.saturating_add(later),
            idle_remaining: self.idle_remaining.map(left),
            absolute_remaining: self.absolute_remaining.map(left),
            signed_in: self.signed_in.map(|signed_in| SignedIn {
                ago: signed_in.ago.saturating_add(later),
                ..signed_in
            }),
            by_former_secret: self.by_former_secret,
        }
    }
}

/// The signed-in principal of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedIn {
    /// The principal.
    pub principal: PrincipalKey,
    /// Strength of the authentication.
    pub assurance: Assurance,
    /// Time since the authentication.
    pub ago: Duration,
}

impl SignedIn {
    /// Creates the sign-in of a principal that authenticated this long `ago`.
    pub const fn new(principal: PrincipalKey, assurance: Assurance, ago: Duration) -> Self {
        Self { principal, assurance, ago }
    }
}

/// A field as a read found it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredField {
    /// Name of the field.
    pub name: FieldName,
    /// Value of the field.
    pub value: Bytes,
    /// Time left of the field's own TTL. `None` if the field has no TTL.
    pub ttl: Option<Duration>,
    /// How a cache may serve the field.
    pub cache_policy: CachePolicy,
}

impl StoredField {
    /// Creates a field without a TTL of its own, under the default cache policy.
    pub fn new(name: impl Into<FieldName>, value: Bytes) -> Self {
        Self { name: name.into(), value, ttl: None, cache_policy: CachePolicy::Default }
    }

    /// Sets the remaining TTL of the field.
    #[must_use]
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
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

/// Outcome of an [`Update`](super::Update).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Updated {
    /// The update was applied.
    Applied {
        /// Number of `Remove` and `Expire` changes that found their field.
        found: usize,
    },
    /// The secret is not old enough to be [renewed](super::Renew). No part of the update was
    /// applied.
    NotDue,
    /// The [`Precondition`](super::Precondition) failed. No part of the update was applied.
    Conflict {
        /// Current value of the field.
        current: Option<Bytes>,
    },
}

/// A page of the live sessions of a principal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions, ordered by id.
    pub sessions: Vec<ListedSession>,
    /// The session after which the next page begins. `None` on the last page.
    pub next: Option<SessionId>,
}

impl SessionPage {
    /// Creates a page, with the session after which the next page begins.
    pub const fn new(sessions: Vec<ListedSession>, next: Option<SessionId>) -> Self {
        Self { sessions, next }
    }
}

/// A session of a [`SessionPage`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedSession {
    /// Id of the session.
    pub id: SessionId,
    /// Its metadata and the requested fields.
    pub loaded: Loaded,
}

impl ListedSession {
    /// Creates a session of a page, from its id and its data.
    pub const fn new(id: SessionId, loaded: Loaded) -> Self {
        Self { id, loaded }
    }
}

/// Shows only the length of the value.
impl fmt::Debug for StoredField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredField")
            .field("name", &self.name)
            .field("bytes", &self.value.len())
            .field("ttl", &self.ttl)
            .field("cache_policy", &self.cache_policy)
            .finish()
    }
}

/// Shows only the length of the value.
impl fmt::Debug for Updated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied { found } => f.debug_struct("Applied").field("found", found).finish(),
            Self::NotDue => f.write_str("NotDue"),
            Self::Conflict { current } => {
                let bytes = current.as_ref().map(Bytes::len);
                f.debug_struct("Conflict").field("bytes", &bytes).finish()
            }
        }
    }
}
