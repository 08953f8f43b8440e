//! The rules of a session, apart from its fields: [`RecordHead`].
//!
//! Used by the session record, and by the stores that keep the parts of a record in columns. Knows
//! secrets, deadlines and the sign-in. Knows nothing about fields.

use std::time::Duration;

use crate::{
    auth::{Assurance, PrincipalKey},
    store::{
        contract::{DELETED_RETENTION, REVOKED_RETENTION},
        request::{AbsoluteDeadline, NewSignIn, Proof, Touch},
        response::{Expiry, Refused, SessionMeta, SignedIn},
    },
    token::SecretHash,
    ttl::Ttl,
};

/// A session record without its fields. A store that keeps the parts of a record in columns writes
/// the head if an operation has changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct RecordHead {
    pub(in crate::store) secret: SecretHash,
    /// The secret that the latest rotation or renewal replaced.
    pub(in crate::store) former: Option<SecretHash>,
    pub(in crate::store) grace: Grace,
    pub(in crate::store) created: Duration,
    /// When the current secret was issued.
    pub(in crate::store) issued: Duration,
    pub(in crate::store) used: Duration,
    pub(in crate::store) idle: Option<Duration>,
    pub(in crate::store) absolute: Option<Duration>,
    pub(in crate::store) ended: Option<Duration>,
    /// Whether the session was revoked. If so, `absolute` is the time at which this record can be
    /// freed.
    pub(in crate::store) revoked: bool,
    pub(in crate::store) signed_in: Option<Authentication>,
    /// The absolute deadline that a sign-in set. No later update moves `absolute` beyond it.
    pub(in crate::store) latest_absolute: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Authentication {
    pub(in crate::store) principal: PrincipalKey,
    pub(in crate::store) assurance: Assurance,
    pub(in crate::store) at: Duration,
}

/// How long the former secret is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Grace {
    /// Not at all. A past moment would be wrong here: if the clock stepped back, the moment would
    /// be in the future again.
    None,
    /// Until the first use of the current secret, and for this time after that use.
    Pending(Duration),
    Until(Duration),
}

/// The proof that a session accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AcceptedProof {
    Current,
    /// The former secret, before the first use of the current secret. Until that use, both are
    /// equally valid.
    Former,
    /// The former secret in its grace period.
    FormerInGrace,
    /// No secret: the credentials are internal.
    Internal,
}

impl AcceptedProof {
    /// Returns whether the proof permits an update that [needs the current
    /// secret](crate::store::Update::needs_current_secret).
    pub(super) const fn has_all_rights(self) -> bool {
        matches!(self, Self::Current | Self::Former)
    }

    /// Returns whether a [`Touch`] takes effect.
    pub(super) const fn may_touch(self) -> bool {
        self.has_all_rights() || matches!(self, Self::Internal)
    }
}

impl RecordHead {
    /// Creates the head of a session without deadlines and without a sign-in.
    pub(super) const fn new(secret: SecretHash, now: Duration) -> Self {
        Self {
            secret,
            former: None,
            grace: Grace::None,
            created: now,
            issued: now,
            used: now,
            idle: None,
            absolute: None,
            ended: None,
            revoked: false,
            signed_in: None,
            latest_absolute: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.ended {
            Some(ended) if !self.revoked => Some(ended.saturating_add(DELETED_RETENTION)),
            Some(_) | None => self.idle.into_iter().chain(self.absolute).min(),
        }
    }

    pub(super) fn is_retained(&self, now: Duration) -> bool {
        self.deadline().is_none_or(|deadline| now < deadline)
    }

    pub(super) fn is_live(&self, now: Duration) -> bool {
        self.ended.is_none() && self.is_retained(now)
    }

    pub(super) fn principal(&self) -> Option<PrincipalKey> {
        self.signed_in.filter(|_| self.ended.is_none()).map(|signed_in| signed_in.principal)
    }

    pub(super) fn expiry(&self, now: Duration) -> Option<Expiry> {
        if self.ended.is_some() || self.is_retained(now) {
            return None;
        }
        let is_idle =
            self.absolute.is_none_or(|absolute| self.idle.is_some_and(|it| it < absolute));
        Some(if is_idle { Expiry::Idle } else { Expiry::Absolute })
    }

    /// Checks the proof, and returns which kind of proof it is.
    pub(super) fn authenticate(
        &self,
        proof: Proof<'_>,
        now: Duration,
    ) -> Result<AcceptedProof, Refused> {
        if !self.is_retained(now) {
            return Err(Refused::NotFound);
        }
        let accepted = match proof {
            Proof::Internal => AcceptedProof::Internal,
            Proof::Secret(secret) if self.secret == *secret => AcceptedProof::Current,
            Proof::Secret(secret) if self.former.is_some_and(|former| former == *secret) => {
                match self.grace {
                    // No secret of a revoked session is valid, not even one that is newer than the
                    // presented one. So the response may remove the client's cookie.
                    _ if self.revoked => return Err(Refused::Revoked),
                    Grace::Pending(_) => AcceptedProof::Former,
                    Grace::Until(until) if now < until => AcceptedProof::FormerInGrace,
                    Grace::Until(_) | Grace::None => return Err(self.refusal_of_former(now)),
                }
            }
            Proof::Secret(_) => return Err(Refused::NotFound),
        };
        match self.ended {
            Some(_) if self.revoked => Err(Refused::Revoked),
            Some(ended) => Err(Refused::Deleted { ago: now.saturating_sub(ended) }),
            None => Ok(accepted),
        }
    }

    /// Returns the refusal of a former secret that is no longer valid. If a request needs the
    /// current secret, a former secret in its grace period and internal credentials get the same
    /// refusal.
    pub(super) fn refusal_of_former(&self, now: Duration) -> Refused {
        let since = match self.grace {
            Grace::Until(until) => until,
            Grace::Pending(_) => now,
            Grace::None => self.issued,
        };
        Refused::Replaced { ago: now.saturating_sub(since) }
    }

    /// Starts the grace period of the former secret at the first use of the current secret. Returns
    /// whether it started.
    pub(super) fn start_grace(&mut self, accepted: AcceptedProof, now: Duration) -> bool {
        match (accepted, self.grace) {
            (AcceptedProof::Current, Grace::Pending(grace)) => {
                self.grace = Grace::Until(now.saturating_add(grace));
                true
            }
            _ => false,
        }
    }

    /// Moves the idle deadline if the touch is due. Returns whether it moved.
    pub(super) fn extend_idle(&mut self, touch: Option<Touch>, now: Duration) -> bool {
        let (Some(touch), Some(deadline)) = (touch, self.idle) else { return false };
        let granted = touch.idle.as_duration();
        let is_due = granted.saturating_sub(deadline.saturating_sub(now)) >= touch.after;
        if is_due {
            self.idle = Some(now.saturating_add(granted));
            self.used = now;
        }
        is_due
    }

    /// Replaces the current secret. The presented one becomes the former secret.
    pub(super) fn rotate(&mut self, presented: Proof<'_>, fresh: &SecretHash, now: Duration) {
        if let Proof::Secret(presented) = presented
            && *fresh != self.secret
        {
            self.former = Some(*presented);
            self.secret = *fresh;
            self.issued = now;
            self.grace = Grace::None;
        }
    }

    /// Sets both deadlines.
    pub(super) fn set_deadlines(
        &mut self,
        idle: Option<Ttl>,
        absolute: Option<Ttl>,
        now: Duration,
    ) {
        let from_now = |ttl: Ttl| now.saturating_add(ttl.as_duration());
        self.idle = idle.map(from_now);
        self.absolute = absolute.map(from_now);
        self.used = now;
    }

    pub(super) fn sign_in(&mut self, who: &NewSignIn<'_>, now: Duration) {
        let NewSignIn { principal, assurance, .. } = *who;
        self.signed_in = Some(Authentication { principal: *principal, assurance, at: now });
        self.latest_absolute = self.absolute;
    }

    pub(super) fn limit_absolute(&mut self, deadline: Option<AbsoluteDeadline>, now: Duration) {
        let Some(AbsoluteDeadline { from_now, from_creation }) = deadline else { return };
        let from_creation = from_creation.map(|ttl| self.created.saturating_add(ttl.as_duration()));
        let from_now = Some(now.saturating_add(from_now.as_duration()));
        // If a sign-in has set a deadline, that deadline replaces `from_creation`.
        let latest = self.latest_absolute.or(from_creation);
        self.absolute = latest.into_iter().chain(from_now).min();
    }

    /// Ends the session without its secret. The session has to be live.
    pub(super) fn revoke(&mut self, now: Duration) {
        let longest = now.saturating_add(REVOKED_RETENTION);
        self.absolute =
            self.deadline().map_or(Some(longest), |deadline| Some(deadline.min(longest)));
        self.idle = None;
        self.ended = Some(now);
        self.revoked = true;
        self.signed_in = None;
    }

    /// Marks the session as revoked by `revoke_everyone`, which does not record a moment for each
    /// session.
    #[cfg(any(feature = "mysql-store", feature = "sqlite-store"))]
    pub(in crate::store) fn revoke_with_all(&mut self) {
        if self.ended.is_none() {
            // The moment of the end is not known. Nothing needs it: `ended` only has to be present.
            (self.ended, self.revoked, self.signed_in) = (Some(self.used), true, None);
        }
    }

    pub(super) fn meta(&self, accepted: AcceptedProof, now: Duration) -> SessionMeta {
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
            by_former_secret: matches!(
                accepted,
                AcceptedProof::Former | AcceptedProof::FormerInGrace
            ),
        }
    }
}
