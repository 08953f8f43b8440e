//! [`Exchange`]: makes a store call with the credentials of a request, and updates the identity of
//! the request from the answer.
//!
//! Used by `transfer`, `renewal`, `client_check` and `operations`. Knows secrets and rotations, and
//! nothing about values.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    field_cache::FieldCache,
    identity::{Identity, LostReason},
    orphan::delete_lost,
    response::{CookieAction, TokenOrigin},
    shared::Shared,
    state::{PendingRotation, RefusedToken, Rotation, State},
    store_call::StoreCall,
};
use crate::{
    error::Error,
    event,
    session::{config::PrincipalChange, token_status::TokenStatus},
    store::{Credentials, DELETED_RETENTION, Projection, Refused, SessionMeta, Update, Written},
    token::{CookieLife, Secret, SecretHash, SessionId, Token},
    ttl::Ttl,
};

/// Maximum time that a request is expected to be in transit.
///
/// A request is late if its secret was replaced, or its session deleted, after the request arrived
/// or less than this time before. A client that sends the former secret after this time has not
/// received the new secret, or uses a copy of the cookie.
pub(super) const IN_TRANSIT: Duration = Duration::from_secs(5);

/// Exclusive access to the state of a request, for store calls with its credentials.
pub(super) struct Exchange<'a> {
    pub(super) shared: &'a Shared,
    pub(super) state: &'a mut State,
}

impl Exchange<'_> {
    pub(super) fn credentials(&self) -> Option<(SessionId, SecretHash)> {
        self.state.identity.credentials(self.shared.config().layer)
    }

    /// Calls the store with the presented credentials, and updates the identity of the request from
    /// the answer. `None` if there are no credentials, or the store refuses them.
    pub(super) async fn attempt<O: StoreCall>(
        &mut self,
        fallback_secret: Option<&Secret>,
        operation: &O,
    ) -> Result<Option<O::Answer>, Error> {
        if let Identity::Internal(id) = self.state.identity {
            return self.attempt_internal(&id, operation).await.map(Some);
        }
        let layer = self.shared.config().layer;
        self.resolve().await?;
        let Some((id, secret)) = self.credentials() else { return Ok(None) };
        let cookie_life = self.state.identity.cookie_life();
        let is_successor = self.state.identity.is_successor();
        let call = async |id: &SessionId, secret: &SecretHash| {
            operation.run(self.shared.call_store(), Credentials::new(id, secret)).await
        };
        let asked = Instant::now();
        let mut answer = call(&id, &secret).await?;
        let status = match &answer {
            Ok(_) => TokenStatus::Live,
            Err(Refused::Deleted { ago }) => TokenStatus::Deleted { ago: *ago },
            Err(Refused::Revoked) => TokenStatus::Revoked,
            Err(Refused::Replaced { ago }) => TokenStatus::Replaced { ago: *ago },
            Err(Refused::NotFound) => TokenStatus::Expired { by: None },
        };
        self.shared.note_token_status(status, id);
        if let (Some(fallback), Err(_)) = (fallback_secret, &answer) {
            let hash = fallback.hash(layer);
            if self.repeat_principal_change(Credentials::new(&id, &hash)).await? {
                let second = call(&id, &hash).await?;
                if second.is_ok() {
                    event::secret_replaced(&id, "write");
                    let token = Token { id, secret: fallback.clone() };
                    // Boxed: this case is rare, and would otherwise enlarge the future of every
                    // operation.
                    Box::pin(self.adopt(token, hash, None)).await?;
                    answer = second;
                }
            }
        }
        if answer.is_ok()
            && let Identity::Presented(..) = self.state.identity
        {
            self.state.identity = Identity::Confirmed { id, secret, cookie_life, is_successor };
            self.shared.response().id = Some(id);
        }
        self.state.stale_for = None;
        match answer {
            Ok(output) => {
                let Written { answer, stale_for, .. } = O::written(output);
                self.state.stale_for = stale_for;
                // The session is live, so its token may be sent, even after a sign-in of unknown
                // outcome.
                self.shared.response().set_verified(true);
                return Ok(Some(answer));
            }
            Err(Refused::Deleted { .. })
                if operation.deleted_by_us(self.state.pending.is_deletion()) =>
            {
                event::ended(&id, "request");
                self.note_ended_by_request();
            }
            Err(refused) => {
                let cookie_life = self.state.identity.cookie_life();
                self.note_refused(RefusedToken::new(id, secret, cookie_life, refused, asked));
            }
        }
        Ok(None)
    }

    /// The same as [`attempt`](Self::attempt), but if the operation may change the principal, the
    /// request forgets the principal and the fields until the outcome is known.
    pub(super) async fn attempt_principal_change<O: StoreCall>(
        &mut self,
        changes_principal: bool,
        fallback_secret: Option<&Secret>,
        operation: &O,
    ) -> Result<Option<O::Answer>, Error> {
        let former = changes_principal.then(|| self.state.take_known());
        let answer = self.attempt(fallback_secret, operation).await;
        let is_known = match &answer {
            Ok(answer) => answer.is_some(),
            Err(error) => !error.is_outcome_unknown(),
        };
        if let Some(former) = former.filter(|_| is_known) {
            self.state.restore_known(former);
        }
        answer
    }

    /// Finds out which of several tokens belongs to the session. An operation takes its lifetimes
    /// from this token, and encrypts values for the session id in it. So this is the first step of
    /// an operation.
    ///
    /// A cookie that an attacker has set must not hide the valid one.
    pub(super) async fn resolve(&mut self) -> Result<(), Error> {
        if !self.state.identity.candidates().is_empty() {
            // Boxed, because few requests have several tokens.
            let (chosen, others) = Box::pin(self.choose()).await?;
            self.state.identity.choose(chosen);
            self.state.refused = others;
        }
        Ok(())
    }

    /// Returns the index of the token that the store accepts. If there is none, returns the index
    /// of the first token that the store recognises as replaced, ended or revoked, and all other
    /// such tokens. If the store recognises no token, returns the index of a token whose session id
    /// it still knows, or zero.
    async fn choose(&self) -> Result<(usize, Vec<RefusedToken>), Error> {
        let tokens = self.state.identity.candidates();
        let (store, layer) = (self.shared.call_store(), self.shared.config().layer);
        let (mut known, mut others) = (None, Vec::new());
        for (at, Token { id, secret }) in tokens.iter().enumerate() {
            let (hash, asked) = (secret.hash(layer), Instant::now());
            let credentials = Credentials::new(id, &hash);
            match store.load(credentials, Projection::Named(&[]), None).await? {
                Ok(_) => return Ok((at, Vec::new())),
                Err(Refused::NotFound) => {}
                Err(_) if known.is_none() => known = Some(at),
                Err(refused) => {
                    others.push(RefusedToken::new(*id, hash, secret.life(), refused, asked));
                }
            }
        }
        if let Some(known) = known {
            return Ok((known, others));
        }
        // The store does not recognise a secret that was replaced more than once, or the token of
        // an expired session. But it may still know the session id.
        for (at, Token { id, .. }) in tokens.iter().enumerate() {
            if store.inspect(id).await?.is_some() || store.expiry(id).await?.is_some() {
                return Ok((at, Vec::new()));
            }
        }
        Ok((0, Vec::new()))
    }

    /// Calls the store for a job.
    async fn attempt_internal<O: StoreCall>(
        &mut self,
        id: &SessionId,
        operation: &O,
    ) -> Result<O::Answer, Error> {
        if !operation.is_for_jobs() {
            return Err(Error::NoRequest);
        }
        let answer = operation.run(self.shared.call_store(), Credentials::internal(id)).await?;
        let Ok(output) = answer else {
            // The session has ended, so its cached fields must no longer be read.
            self.state.fields = FieldCache::default();
            self.state.meta = None;
            return Err(Error::Ended);
        };
        let Written { answer, stale_for, .. } = O::written(output);
        self.state.stale_for = stale_for;
        Ok(answer)
    }

    /// Repeats the change of principal that belongs to a pending rotation. Returns whether the
    /// store accepted the change, or `true` if the rotation has no such change.
    async fn repeat_principal_change(&self, credentials: Credentials<'_>) -> Result<bool, Error> {
        let rotation = self.state.pending.rotation();
        let principal_change = rotation.and_then(|rotation| rotation.principal_change.as_ref());
        let cookie_life = rotation.map_or(CookieLife::Default, |rotation| rotation.secret.life());
        let Some(change) = self.shared.config().auth_change(principal_change, cookie_life) else {
            return Ok(true);
        };
        let update = Update { auth_change: Some(change), ..Update::default() };
        Ok(self.shared.call_store().update(credentials, update).await?.is_ok())
    }

    /// Prepares to replace the secret, if this operation or an earlier one asks for it.
    ///
    /// An attempt of unknown outcome is repeated with the same secret, so that it does not matter
    /// which attempt took place. A secret that the client has not seen yet is not replaced again.
    /// The store recognises only one former secret, which has to be the secret that the client has.
    /// But a sign-in that chooses a different cookie lifetime always needs a new secret.
    pub(super) fn begin_rotation(
        &mut self,
        rotate: bool,
        principal_change: Option<PrincipalChange>,
        cookie_life: CookieLife,
    ) -> Result<Rotation, Error> {
        let fallback_secret = self.state.fallback_secret();
        let mut response = self.shared.response();
        let was_owed = response.owes_rotation;
        if !rotate && !was_owed {
            return Ok(Rotation { fallback_secret, fresh: None, was_owed });
        }
        response.require_open()?;
        let keeps_cookie = cookie_life == self.state.identity.cookie_life();
        if fallback_secret.is_none() && response.sets_fresh() && keeps_cookie {
            response.owes_rotation = false;
            return Ok(Rotation { fallback_secret, fresh: None, was_owed: false });
        }
        let secret = match &fallback_secret {
            Some(secret) => secret.with_life(cookie_life),
            None => Secret::random(cookie_life)?.with_successor(self.state.identity.is_successor()),
        };
        response.owes_rotation = true;
        let pending = &mut self.state.pending;
        let principal_change =
            principal_change.or(pending.rotation().and_then(|rotation| rotation.principal_change));
        pending.set_rotation(Some(PendingRotation { secret: secret.clone(), principal_change }));
        let hash = secret.hash(self.shared.config().layer);
        Ok(Rotation { fallback_secret, fresh: Some((secret, hash)), was_owed })
    }

    /// Records that the store has installed the secret. `absolute` is the time until the absolute
    /// deadline, if a sign-in has just set it.
    pub(super) async fn finish_rotation(
        &mut self,
        rotation: Rotation,
        absolute: Option<Ttl>,
    ) -> Result<(), Error> {
        let Some((id, _)) = self.credentials() else { return Ok(()) };
        let Some((secret, hash)) = rotation.fresh else {
            if let Some(absolute) = absolute {
                self.shared.response().set_longest(absolute.as_duration());
            }
            return Ok(());
        };
        event::secret_replaced(&id, "write");
        self.adopt(Token { id, secret }, hash, absolute).await
    }

    /// Records that the store has not installed the secret.
    pub(super) fn abandon_rotation(&mut self, rotation: &Rotation) {
        self.state.pending.set_rotation(None);
        self.shared.response().owes_rotation = rotation.was_owed;
    }

    /// Continues with a secret that the store has installed.
    async fn adopt(
        &mut self,
        token: Token,
        hash: SecretHash,
        absolute: Option<Ttl>,
    ) -> Result<(), Error> {
        let Token { id, secret } = &token;
        let (cookie_life, is_successor) = (secret.life(), secret.is_successor());
        self.state.identity =
            Identity::Confirmed { id: *id, secret: hash, cookie_life, is_successor };
        self.state.pending.set_rotation(None);
        let known = self.state.meta_now().and_then(|meta| meta.absolute_remaining);
        self.issue_cookie(token, &hash, absolute.map(Ttl::as_duration).or(known)).await
    }

    /// Puts a token into the response. If the response was sent, no client will ever know the
    /// secret. So a session that this request has created is deleted. If the deletion fails, the
    /// session ends at its deadline. A session that this request has not created stays, because a
    /// sign-in with the former secret may take over its fields.
    pub(super) async fn issue_cookie(
        &self,
        token: Token,
        secret: &SecretHash,
        longest: Option<Duration>,
    ) -> Result<(), Error> {
        let id = token.id;
        let cookie = CookieAction::Set { token, origin: TokenOrigin::Fresh, longest };
        let issued = self.shared.set_cookie(id, cookie);
        if issued.is_err() && self.shared.has_created(&id) {
            delete_lost(self.shared.call_store(), &id, secret).await;
        }
        issued
    }

    /// Records that this request has ended its session: the cookie is cleared, and a write starts a
    /// new session.
    pub(super) fn note_ended_by_request(&mut self) {
        *self.state = State::new(Identity::Ended);
        let mut response = self.shared.response();
        response.cookie = self.shared.cookie_of_ended();
        response.has_ended = true;
        response.id = None;
        response.owes_rotation = false;
    }

    /// Records that the store has ended the session during an operation of this request.
    pub(super) fn note_ended_by_store(&mut self) {
        *self.state = State::new(Identity::Lost(LostReason::Deleted));
        let mut response = self.shared.response();
        response.cookie = CookieAction::Keep;
        response.id = None;
        response.owes_rotation = false;
    }

    /// Records that the store refused the credentials.
    fn note_refused(&mut self, refused: RefusedToken) {
        if std::mem::take(&mut self.shared.response().ended_itself) {
            return self.note_ended_by_request();
        }
        self.state.fields = Default::default();
        self.state.meta = None;
        self.state.pending.set_rotation(None);
        let RefusedToken { id, reason, cookie_life, ago, .. } = refused;
        let in_transit = self.shared.elapsed() + IN_TRANSIT;
        // During a long request, such as an upload, the store may have forgotten that the session
        // has ended. So a request that takes longer than the retention counts as late.
        let is_late = ago.map_or(in_transit > DELETED_RETENTION, |ago| ago < in_transit);
        let was_open = matches!(self.state.identity, Identity::Confirmed { .. });
        // With renewal, the grace period covers late requests. So a replaced secret is always
        // reported.
        let renews = reason == LostReason::Replaced && self.shared.config().renews(cookie_life);
        match ago {
            _ if was_open || self.shared.is_look => {}
            Some(ago) if !is_late || renews => event::reuse(&id, ago),
            Some(_) => {}
            None => event::unknown_token(&id),
        }
        self.state.refused.insert(0, refused);
        self.state.identity = match was_open || is_late {
            true => Identity::Lost(reason),
            false => Identity::Anonymous,
        };
        let mut response = self.shared.response();
        response.id = None;
        // A response about an ended session could overwrite a newer cookie.
        response.cookie = CookieAction::Keep;
    }

    /// Returns whether this request may continue without its session: start a new session, or clear
    /// the cookie.
    ///
    /// A store recognises only one former secret. If the secret was replaced twice while the
    /// request was in transit, the store answers `NotFound`, although the session exists. So this
    /// method asks for the age of the current secret.
    pub(super) async fn is_without_session(&mut self) -> Result<bool, Error> {
        if !self.state.identity.may_create() {
            return Ok(false);
        }
        if let Some(RefusedToken { id, reason: LostReason::NotFound, .. }) =
            self.state.refused.first()
        {
            let meta = self.shared.call_store().inspect(id).await?;
            let is_late = |meta: SessionMeta| meta.secret_age < self.shared.elapsed() + IN_TRANSIT;
            if meta.is_some_and(is_late) {
                self.state.identity = Identity::Lost(LostReason::Replaced);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns an error if a cache missed the last write.
    pub(super) fn check_fresh(&mut self) -> Result<(), Error> {
        match self.state.stale_for.take() {
            None => Ok(()),
            Some(stale_for) => Err(Error::StaleCache { stale_for }),
        }
    }

    /// Records whether a deletion may have taken place.
    pub(super) fn set_pending_deletion(&mut self, is_pending: bool) {
        self.state.pending.set_deletion(is_pending);
    }
}
