//! [`State`]: everything that a request knows about its session.
//!
//! Guarded by the lock of `shared`. Changed by `exchange`, `transfer`, `client_check`, `renewal`
//! and `operations`. Plain data.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    field_cache::FieldCache,
    identity::{Identity, LostReason},
};
use crate::{
    auth::{Assurance, PrincipalKey},
    session::config::{PrincipalChange, SessionConfig},
    store::{Refused, SessionMeta, SignedIn},
    token::{CookieLife, Secret, SecretHash, SessionId},
};

/// The knowledge of a request about its session.
///
/// One operation at a time holds the state, during its call to the store. The state stays correct
/// even if the future of the operation is dropped during the call, whether or not the store made
/// the change. For this purpose, before the call, the operation forgets the fields that the change
/// affects. Before a change of the principal, it forgets all fields. A rotation or deletion of
/// unknown outcome is [`pending`](Self::pending).
pub(super) struct State {
    pub(super) identity: Identity,
    pub(super) fields: FieldCache,
    /// Ages and deadlines, and when they were read.
    pub(super) meta: Option<(SessionMeta, Instant)>,
    /// A change whose outcome is not known yet.
    pub(super) pending: Pending,
    /// How long a cache may be stale after the last write.
    pub(super) stale_for: Option<Duration>,
    pub(super) client: ClientTrust,
    /// The signed-in principal, according to the last answer of the store.
    pub(super) principal: Option<PrincipalKey>,
    /// The presented tokens that the store refused. The first is the token that the request used.
    /// The store recognised the others as replaced, ended or revoked.
    pub(super) refused: Vec<RefusedToken>,
}

/// The principal, fields and metadata of a session, as far as a request knows them. A change of
/// principal may make all of them wrong.
pub(super) struct Known {
    fields: FieldCache,
    meta: Option<(SessionMeta, Instant)>,
    principal: Option<PrincipalKey>,
}

/// A token that the store refused.
#[derive(Clone, Copy)]
pub(super) struct RefusedToken {
    /// The session that the token names.
    pub(super) id: SessionId,
    pub(super) secret: SecretHash,
    pub(super) reason: LostReason,
    /// The lifetime of its cookie. The client may have invented this lifetime, unless the store
    /// recognises the token.
    pub(super) cookie_life: CookieLife,
    /// Time since the token was last valid, if the store knows this time.
    pub(super) ago: Option<Duration>,
    /// Moment at which the call to the store began.
    pub(super) asked: Instant,
}

/// A change whose outcome is not known.
#[derive(Default)]
pub(super) enum Pending {
    #[default]
    Nothing,
    Rotation(PendingRotation),
    /// A deletion, possibly after a rotation of unknown outcome.
    Deletion(Option<PendingRotation>),
}

/// A secret that the store may have installed.
#[derive(Clone)]
pub(super) struct PendingRotation {
    pub(super) secret: Secret,
    /// The change of principal that belongs to the rotation. The change is repeated before another
    /// call with this secret, because it may not have taken place, or a revocation may have
    /// followed.
    pub(super) principal_change: Option<PrincipalChange>,
}

impl RefusedToken {
    /// Describes a token that the store refused for the reason `refused`. `asked` is the time at
    /// which the call to the store began.
    pub(super) fn new(
        id: SessionId,
        secret: SecretHash,
        cookie_life: CookieLife,
        refused: Refused,
        asked: Instant,
    ) -> Self {
        let (reason, ago) = match refused {
            Refused::Replaced { ago } => (LostReason::Replaced, Some(ago)),
            Refused::Deleted { ago } => (LostReason::Deleted, Some(ago)),
            Refused::Revoked => (LostReason::Revoked, None),
            Refused::NotFound => (LostReason::NotFound, None),
        };
        Self { id, secret, reason, cookie_life, ago, asked }
    }

    /// Returns an upper bound of the time since this token was last valid. The bound includes the
    /// time of the store call.
    pub(super) fn longest_since(&self) -> Duration {
        self.ago.unwrap_or_default().saturating_add(self.asked.elapsed())
    }
}

/// The result of comparing the client of the request with the client of the sign-in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientTrust {
    Unchecked,
    Trusted,
    /// The client has changed: the sign-in counts as remembered.
    Downgraded,
}

/// The secrets for an operation that may replace the secret.
pub(super) struct Rotation {
    /// A pending secret, which is tried if the current secret is refused.
    pub(super) fallback_secret: Option<Secret>,
    /// The secret to install, and its hash.
    pub(super) fresh: Option<(Secret, SecretHash)>,
    /// Whether the rotation was already required before this operation.
    pub(super) was_owed: bool,
}

impl State {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            fields: FieldCache::default(),
            meta: None,
            pending: Pending::Nothing,
            stale_for: None,
            client: ClientTrust::Unchecked,
            principal: None,
            refused: Vec::new(),
        }
    }

    /// Returns the metadata for the caller. If the client has changed, or the authentication has
    /// lapsed, the sign-in counts as remembered.
    pub(super) fn visible(&self, meta: SessionMeta, config: &SessionConfig) -> SessionMeta {
        let is_lapsed = config.is_lapsed(self.identity.cookie_life(), &meta);
        if self.client != ClientTrust::Downgraded && !is_lapsed {
            return meta;
        }
        let remembered = |signed_in| SignedIn { assurance: Assurance::Remembered, ..signed_in };
        SessionMeta { signed_in: meta.signed_in.map(remembered), ..meta }
    }

    /// Returns ages and deadlines as they are now, if they are known.
    pub(super) fn meta_now(&self) -> Option<SessionMeta> {
        self.meta.map(|(meta, at)| meta.after(at.elapsed()))
    }

    /// Removes the principal, and the data that depends on it, from the state, and returns them.
    pub(super) fn take_known(&mut self) -> Known {
        let fields = std::mem::take(&mut self.fields);
        Known { fields, meta: self.meta.take(), principal: self.principal.take() }
    }

    pub(super) fn restore_known(&mut self, known: Known) {
        let Known { fields, meta, principal } = known;
        (self.fields, self.meta, self.principal) = (fields, meta, principal);
    }

    /// Returns the secret to try if the current secret is refused.
    pub(super) fn fallback_secret(&self) -> Option<Secret> {
        self.pending.rotation().map(|rotation| rotation.secret.clone())
    }
}

impl Pending {
    pub(super) fn rotation(&self) -> Option<&PendingRotation> {
        match self {
            Self::Nothing => None,
            Self::Rotation(rotation) => Some(rotation),
            Self::Deletion(rotation) => rotation.as_ref(),
        }
    }

    /// Returns whether a deletion may have taken place.
    pub(super) fn is_deletion(&self) -> bool {
        matches!(self, Self::Deletion(_))
    }

    /// Replaces the pending rotation. A pending deletion stays.
    pub(super) fn set_rotation(&mut self, rotation: Option<PendingRotation>) {
        *self = match (self.is_deletion(), rotation) {
            (true, rotation) => Self::Deletion(rotation),
            (false, Some(rotation)) => Self::Rotation(rotation),
            (false, None) => Self::Nothing,
        };
    }

    /// Sets or clears the pending deletion.
    pub(super) fn set_deletion(&mut self, is_pending: bool) {
        let rotation = self.rotation().cloned();
        *self = Self::Nothing;
        if is_pending {
            *self = Self::Deletion(None);
        }
        self.set_rotation(rotation);
    }
}

impl Rotation {
    /// Returns the hash to install.
    pub(super) fn hash(&self) -> Option<SecretHash> {
        self.fresh.as_ref().map(|(_, hash)| *hash)
    }
}
