use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    config::Signing,
    identity::{Closed, Identity},
    memory::Memory,
    operation::{Delete, Operation},
    reply::{CookieAction, Reply},
    shared::Shared,
};
use crate::{
    error::Error,
    event,
    principal::Assurance,
    store::{Credentials, ENDED_RETENTION, Lookup, SessionMeta, SignedIn, Update},
    token::{Secret, SecretHash, SessionId, Token},
};

/// What a request knows of its session.
pub(super) struct State {
    pub(super) identity: Identity,
    pub(super) memory: Memory,
    /// Ages and deadlines, and when they were read.
    pub(super) meta: Option<(SessionMeta, Instant)>,
    /// The secret of a rotation of which the store has not said whether it took place.
    pub(super) pending_rotation: Option<PendingRotation>,
    /// A deletion was asked for, and the store has not said whether it took place.
    pub(super) ending: bool,
    /// What was done last, a cache does not know of, for as long as this.
    pub(super) unconfirmed: Option<Duration>,
    /// The client was looked at.
    pub(super) client_seen: bool,
    /// It does not look as it did when somebody signed in.
    pub(super) downgraded: bool,
}

/// A secret that may have been installed unnoticed.
#[derive(Clone)]
pub(super) struct PendingRotation {
    secret: Secret,
    /// Who was to be signed in along with it. A revocation may have come between, so that has to be asked
    /// for again before anything else.
    signing: Option<Signing>,
}

/// The secrets of an operation that may rotate.
pub(super) struct Rotation {
    /// To be tried if the current secret opens nothing: it may have been installed unnoticed.
    pub(super) fallback_secret: Option<Secret>,
    /// To be installed, and what the store is to know of it.
    fresh: Option<(Secret, SecretHash)>,
    /// Whether the rotation was owed before this operation.
    owed: bool,
}

impl State {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            memory: Memory::default(),
            meta: None,
            pending_rotation: None,
            ending: false,
            unconfirmed: None,
            client_seen: false,
            downgraded: false,
        }
    }

    /// Ages and deadlines as the caller is to see them.
    pub(super) fn seen(&self, meta: SessionMeta) -> SessionMeta {
        if !self.downgraded {
            return meta;
        }
        let remembered = |signed_in| SignedIn { assurance: Assurance::Remembered, ..signed_in };
        SessionMeta { signed_in: meta.signed_in.map(remembered), ..meta }
    }

    /// The secret to try if the current one opens nothing.
    pub(super) fn fallback_secret(&self) -> Option<Secret> {
        self.pending_rotation.as_ref().map(|pending_rotation| pending_rotation.secret.clone())
    }
}

impl Rotation {
    /// The hash to put in place of the session's own.
    pub(super) fn hash(&self) -> Option<SecretHash> {
        self.fresh.as_ref().map(|(_, hash)| *hash)
    }
}

/// How a request learns who it is, and changes its secret.
impl Shared {
    pub(super) fn reply(&self) -> MutexGuard<'_, Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares to replace the secret, if that is asked for now or was before.
    ///
    /// An attempt of unknown outcome is repeated with the same secret, so that it does not matter
    /// which of them took place. A secret that nobody has seen yet is not replaced again: the
    /// store recognises one former secret, and that should be the client's.
    pub(super) fn begin_rotation(
        &self,
        state: &mut State,
        rotate: bool,
        signing: Option<Signing>,
    ) -> Result<Rotation, Error> {
        let fallback_secret = state.fallback_secret();
        let mut reply = self.reply();
        let owed = reply.rotate;
        if !rotate && !owed {
            return Ok(Rotation { fallback_secret, fresh: None, owed });
        }
        reply.check_open()?;
        if fallback_secret.is_none() && reply.sets_fresh() {
            reply.rotate = false;
            return Ok(Rotation { fallback_secret, fresh: None, owed: false });
        }
        let fresh = match &fallback_secret {
            Some(secret) => secret.clone(),
            None => Secret::random()?,
        };
        reply.rotate = true;
        let before =
            state.pending_rotation.take().and_then(|pending_rotation| pending_rotation.signing);
        let signing = signing.or(before);
        state.pending_rotation = Some(PendingRotation { secret: fresh.clone(), signing });
        let hash = fresh.hash(self.config().layer);
        Ok(Rotation { fallback_secret, fresh: Some((fresh, hash)), owed })
    }

    /// The store has said that the rotation took place.
    pub(super) async fn finish_rotation(
        &self,
        state: &mut State,
        rotation: Rotation,
    ) -> Result<(), Error> {
        let credentials = state.identity.credentials(self.config().layer);
        let (Some((secret, hash)), Some((id, _))) = (rotation.fresh, credentials) else {
            return Ok(());
        };
        event::rotated(&id, "write");
        self.adopt(state, Token { id, secret }, hash).await
    }

    /// The store has said that it did not.
    pub(super) fn abandon_rotation(&self, state: &mut State, rotation: &Rotation) {
        state.pending_rotation = None;
        self.reply().rotate = rotation.owed;
    }

    /// Takes a secret that the store has installed for the session's own.
    async fn adopt(&self, state: &mut State, token: Token, hash: SecretHash) -> Result<(), Error> {
        state.identity = Identity::Open { id: token.id, secret: hash };
        state.pending_rotation = None;
        self.issue_cookie(token, &hash).await
    }

    /// Has the response carry a token. If it has left meanwhile, nobody will ever know the secret,
    /// so the session is ended; if that fails, its deadline does it.
    pub(super) async fn issue_cookie(
        &self,
        token: Token,
        secret: &SecretHash,
    ) -> Result<(), Error> {
        let id = token.id;
        let closed = {
            let mut reply = self.reply();
            reply.rotate = false;
            let closed = reply.check_open();
            if closed.is_ok() {
                reply.id = Some(id);
                reply.cookie = CookieAction::Set(token);
                reply.renewed = false;
            }
            closed
        };
        if closed.is_err() {
            self.end_lost(&id, secret).await;
        }
        closed
    }

    /// Ends the session of a secret that nobody will ever know.
    async fn end_lost(&self, id: &SessionId, secret: &SecretHash) {
        let delete = Delete { tried_before: false };
        if let Ok(Lookup::Found(())) = delete.run(self.ask(), Credentials { id, secret }).await {
            event::ended(id, "response lost");
        }
    }

    pub(super) async fn end_unknown(&self, token: &Token) {
        self.end_lost(&token.id, &token.secret.hash(self.config().layer)).await;
    }

    /// Whether this request has ended a session, be there another one by now or not.
    pub(super) fn has_ended(&self) -> bool {
        self.reply().ended
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.reply().unverified
    }

    /// Whether the token to hand out is that of a renewal, beside which the former one is good.
    pub(super) fn is_renewed(&self) -> bool {
        self.reply().renewed
    }

    /// Has the response carry the token of a renewal, if it has not left. Says whether it will.
    pub(super) fn offer(&self, token: Token) -> bool {
        let mut reply = self.reply();
        let is_open = reply.check_open().is_ok() && reply.keeps();
        if is_open {
            reply.cookie = CookieAction::Set(token);
            reply.renewed = true;
        }
        is_open
    }

    /// Asks the store with what the client presented, and learns from the answer who it is. `None` if
    /// that opens nothing.
    pub(super) async fn attempt<O: Operation>(
        &self,
        state: &mut State,
        fallback_secret: Option<&Secret>,
        operation: &O,
    ) -> Result<Option<O::Answer>, Error> {
        let layer = self.config().layer;
        let Some((mut id, mut secret)) = state.identity.credentials(layer) else {
            return Ok(None);
        };
        let credentials = Credentials { id: &id, secret: &secret };
        let mut lookup = operation.run(self.ask(), credentials).await?;
        // What was planted beside a good cookie must not take its place.
        if !is_open(&lookup)
            && let Some((other, hash)) = state.identity.other(layer)
        {
            let credentials = Credentials { id: &other, secret: &hash };
            let answer = operation.run(self.ask(), credentials).await?;
            if is_open(&answer) || matches!(lookup, Lookup::NotFound) {
                (id, secret, lookup) = (other, hash, answer);
            }
        }
        if let (Some(fallback_secret), false) = (fallback_secret, is_open(&lookup)) {
            let hash = fallback_secret.hash(layer);
            let credentials = Credentials { id: &id, secret: &hash };
            if self.confirm_signing(state, credentials).await? {
                let second = operation.run(self.ask(), credentials).await?;
                if is_open(&second) {
                    event::rotated(&id, "write");
                    let token = Token { id, secret: fallback_secret.clone() };
                    // Boxed: it is rare, and would make the future of every operation as large.
                    Box::pin(self.adopt(state, token, hash)).await?;
                    lookup = second;
                }
            }
        }
        if is_open(&lookup)
            && let Identity::Presented(..) = state.identity
        {
            state.identity = Identity::Open { id, secret };
            self.reply().id = Some(id);
        }
        state.unconfirmed = None;
        match lookup {
            Lookup::Found(answer) => return Ok(Some(answer)),
            Lookup::Unconfirmed { answer, within } => {
                state.unconfirmed = Some(within);
                return Ok(Some(answer));
            }
            Lookup::Replaced { ago } => self.close(state, id, Closed::Lost, Some(ago)),
            Lookup::Ended { .. } if operation.ended_is_ours(state.ending) => {
                event::ended(&id, "request");
                self.end(state);
            }
            Lookup::Ended { ago } => self.close(state, id, Closed::Deleted, Some(ago)),
            Lookup::NotFound => self.close(state, id, Closed::Gone, None),
        }
        Ok(None)
    }

    /// Signs in again whoever was to be signed in along with a secret that may have been installed
    /// unnoticed. Says whether that is settled now.
    async fn confirm_signing(
        &self,
        state: &State,
        credentials: Credentials<'_>,
    ) -> Result<bool, Error> {
        let signing = state
            .pending_rotation
            .as_ref()
            .and_then(|pending_rotation| pending_rotation.signing.as_ref());
        let Some(sign) = self.config().sign(signing) else { return Ok(true) };
        let update = Update { sign: Some(sign), ..Update::default() };
        Ok(is_open(&self.ask().update(credentials, update).await?))
    }

    /// Tells if a cache does not know of what was done last.
    pub(super) fn confirm(state: &mut State) -> Result<(), Error> {
        state.unconfirmed.take().map_or(Ok(()), |within| Err(Error::Unconfirmed { within }))
    }

    /// This request has ended its session: the cookie goes too, and a write starts anew.
    pub(super) fn end(&self, state: &mut State) {
        *state = State::new(Identity::Ended);
        let mut reply = self.reply();
        reply.cookie = self.cleared();
        reply.ended = true;
        reply.id = None;
        reply.rotate = false;
    }

    /// The store has ended the session in the course of an operation of this request.
    pub(super) fn mark_ended(&self, state: &mut State) {
        *state = State::new(Identity::Closed(Closed::Deleted));
        let mut reply = self.reply();
        reply.cookie = CookieAction::Keep;
        reply.id = None;
        reply.rotate = false;
    }

    /// The store does not open the session, or not any more.
    fn close(&self, state: &mut State, id: SessionId, close: Closed, good_until: Option<Duration>) {
        state.memory = Memory::default();
        state.meta = None;
        state.pending_rotation = None;
        let mut reply = self.reply();
        reply.id = None;
        // A cookie for a session that is gone would overwrite the one that may have followed it.
        reply.cookie = CookieAction::Keep;
        state.identity = match (&state.identity, good_until) {
            (Identity::Open { .. }, _) => Identity::Closed(close),
            (_, Some(ago)) if ago < ENDED_RETENTION => {
                // Late requests had a grace.
                if close == Closed::Lost && self.config().renewal.is_some() {
                    event::reuse(&id, ago);
                }
                Identity::Closed(close)
            }
            (_, Some(ago)) => {
                event::reuse(&id, ago);
                reply.expired = true;
                Identity::Anonymous
            }
            (_, None) => {
                event::unknown_token(&id);
                reply.expired = true;
                Identity::Anonymous
            }
        };
    }
}

fn is_open<T>(lookup: &Lookup<T>) -> bool {
    matches!(lookup, Lookup::Found(_) | Lookup::Unconfirmed { .. })
}
