use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    identity::{Identity, Shut},
    memory::Memory,
    operation::{Delete, Operation},
    policy::Signing,
    reply::{Reply, Verdict},
    shared::Shared,
};
use crate::{
    error::Error,
    event,
    principal::Assurance,
    store::{Access, LATE, Lookup, Meta, SignedIn, Update},
    token::{Handle, Secret, SecretHash, Token},
};

/// What a request knows of its session.
pub(super) struct State {
    pub(super) identity: Identity,
    pub(super) memory: Memory,
    /// Ages and deadlines, and when they were read.
    pub(super) meta: Option<(Meta, Instant)>,
    /// The secret of a rotation of which the store has not said whether it took place.
    pub(super) unsettled: Option<Unsettled>,
    /// A deletion was asked for, and the store has not said whether it took place.
    pub(super) ending: bool,
    /// What was done last, a cache does not know of, for as long as this.
    pub(super) unconfirmed: Option<Duration>,
    /// The client was looked at.
    pub(super) client_seen: bool,
    /// It does not look as it did when somebody signed in.
    pub(super) distrusted: bool,
}

/// A secret that may have been installed unnoticed.
#[derive(Clone)]
pub(super) struct Unsettled {
    secret: Secret,
    /// Who was to be signed in along with it. A revocation may have come between, so that has to be asked
    /// for again before anything else.
    signing: Option<Signing>,
}

/// The secrets of an operation that may rotate.
pub(super) struct Rotation {
    /// To be tried if the current secret opens nothing: it may have been installed unnoticed.
    pub(super) earlier: Option<Secret>,
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
            unsettled: None,
            ending: false,
            unconfirmed: None,
            client_seen: false,
            distrusted: false,
        }
    }

    /// Ages and deadlines as the caller is to see them.
    pub(super) fn seen(&self, meta: Meta) -> Meta {
        if !self.distrusted {
            return meta;
        }
        let remembered = |signed_in| SignedIn { assurance: Assurance::Remembered, ..signed_in };
        Meta { signed_in: meta.signed_in.map(remembered), ..meta }
    }

    /// The secret to try if the current one opens nothing.
    pub(super) fn earlier(&self) -> Option<Secret> {
        self.unsettled.as_ref().map(|unsettled| unsettled.secret.clone())
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
        let earlier = state.earlier();
        let mut reply = self.reply();
        let owed = reply.rotate;
        if !rotate && !owed {
            return Ok(Rotation { earlier, fresh: None, owed });
        }
        reply.check_open()?;
        if earlier.is_none() && reply.sets_fresh() {
            reply.rotate = false;
            return Ok(Rotation { earlier, fresh: None, owed: false });
        }
        let fresh = match &earlier {
            Some(secret) => secret.clone(),
            None => Secret::random()?,
        };
        reply.rotate = true;
        let before = state.unsettled.take().and_then(|unsettled| unsettled.signing);
        let signing = signing.or(before);
        state.unsettled = Some(Unsettled { secret: fresh.clone(), signing });
        let hash = fresh.hash(self.policy().layer);
        Ok(Rotation { earlier, fresh: Some((fresh, hash)), owed })
    }

    /// The store has said that the rotation took place.
    pub(super) async fn finish_rotation(
        &self,
        state: &mut State,
        rotation: Rotation,
    ) -> Result<(), Error> {
        let credentials = state.identity.credentials(self.policy().layer);
        let (Some((secret, hash)), Some((handle, _))) = (rotation.fresh, credentials) else {
            return Ok(());
        };
        event::rotated(&handle, "write");
        self.adopt(state, Token { handle, secret }, hash).await
    }

    /// The store has said that it did not.
    pub(super) fn abandon_rotation(&self, state: &mut State, rotation: &Rotation) {
        state.unsettled = None;
        self.reply().rotate = rotation.owed;
    }

    /// Takes a secret that the store has installed for the session's own.
    async fn adopt(&self, state: &mut State, token: Token, hash: SecretHash) -> Result<(), Error> {
        state.identity = Identity::Open { handle: token.handle, secret: hash };
        state.unsettled = None;
        self.hand_out(token, &hash).await
    }

    /// Has the response carry a token. If it has left meanwhile, nobody will ever know the secret,
    /// so the session is ended; if that fails, its deadline does it.
    pub(super) async fn hand_out(&self, token: Token, secret: &SecretHash) -> Result<(), Error> {
        let handle = token.handle;
        let closed = {
            let mut reply = self.reply();
            reply.rotate = false;
            let closed = reply.check_open();
            if closed.is_ok() {
                reply.handle = Some(handle);
                reply.verdict = Verdict::Set(token);
                reply.renewed = false;
            }
            closed
        };
        if closed.is_err() {
            self.end_lost(&handle, secret).await;
        }
        closed
    }

    /// Ends the session of a secret that nobody will ever know.
    async fn end_lost(&self, handle: &Handle, secret: &SecretHash) {
        let delete = Delete { tried_before: false };
        if let Ok(Lookup::Found(())) = delete.run(self.ask(), Access { handle, secret }).await {
            event::ended(handle, "response lost");
        }
    }

    pub(super) async fn end_unknown(&self, token: &Token) {
        self.end_lost(&token.handle, &token.secret.hash(self.policy().layer)).await;
    }

    /// Whether this request has ended a session, be there another one by now or not.
    pub(super) fn has_ended(&self) -> bool {
        self.reply().ended
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.reply().in_doubt
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
            reply.verdict = Verdict::Set(token);
            reply.renewed = true;
        }
        is_open
    }

    /// Asks the store with what the client presented, and learns from the answer who it is. `None` if
    /// that opens nothing.
    pub(super) async fn attempt<O: Operation>(
        &self,
        state: &mut State,
        earlier: Option<&Secret>,
        operation: &O,
    ) -> Result<Option<O::Answer>, Error> {
        let layer = self.policy().layer;
        let Some((mut handle, mut secret)) = state.identity.credentials(layer) else {
            return Ok(None);
        };
        let access = Access { handle: &handle, secret: &secret };
        let mut lookup = operation.run(self.ask(), access).await?;
        // What was planted beside a good cookie must not take its place.
        if !is_open(&lookup)
            && let Some((other, hash)) = state.identity.other(layer)
        {
            let access = Access { handle: &other, secret: &hash };
            let answer = operation.run(self.ask(), access).await?;
            if is_open(&answer) || matches!(lookup, Lookup::NotFound) {
                (handle, secret, lookup) = (other, hash, answer);
            }
        }
        if let (Some(earlier), false) = (earlier, is_open(&lookup)) {
            let hash = earlier.hash(layer);
            let access = Access { handle: &handle, secret: &hash };
            if self.confirm_signing(state, access).await? {
                let second = operation.run(self.ask(), access).await?;
                if is_open(&second) {
                    event::rotated(&handle, "write");
                    let token = Token { handle, secret: earlier.clone() };
                    // Boxed: it is rare, and would make the future of every operation as large.
                    Box::pin(self.adopt(state, token, hash)).await?;
                    lookup = second;
                }
            }
        }
        if is_open(&lookup)
            && let Identity::Presented(..) = state.identity
        {
            state.identity = Identity::Open { handle, secret };
            self.reply().handle = Some(handle);
        }
        state.unconfirmed = None;
        match lookup {
            Lookup::Found(answer) => return Ok(Some(answer)),
            Lookup::Unconfirmed { answer, within } => {
                state.unconfirmed = Some(within);
                return Ok(Some(answer));
            }
            Lookup::Replaced { ago } => self.shut(state, handle, Shut::Lost, Some(ago)),
            Lookup::Ended { .. } if operation.ended_is_ours(state.ending) => {
                event::ended(&handle, "request");
                self.end(state);
            }
            Lookup::Ended { ago } => self.shut(state, handle, Shut::Deleted, Some(ago)),
            Lookup::NotFound => self.shut(state, handle, Shut::Gone, None),
        }
        Ok(None)
    }

    /// Signs in again whoever was to be signed in along with a secret that may have been installed
    /// unnoticed. Says whether that is settled now.
    async fn confirm_signing(&self, state: &State, access: Access<'_>) -> Result<bool, Error> {
        let signing = state.unsettled.as_ref().and_then(|unsettled| unsettled.signing.as_ref());
        let Some(sign) = self.policy().sign(signing) else { return Ok(true) };
        let update = Update { sign: Some(sign), ..Update::default() };
        Ok(is_open(&self.ask().update(access, update).await?))
    }

    /// Tells if a cache does not know of what was done last.
    pub(super) fn confirm(state: &mut State) -> Result<(), Error> {
        state.unconfirmed.take().map_or(Ok(()), |within| Err(Error::Unconfirmed { within }))
    }

    /// This request has ended its session: the cookie goes too, and a write starts anew.
    pub(super) fn end(&self, state: &mut State) {
        *state = State::new(Identity::Ended);
        let mut reply = self.reply();
        reply.verdict = self.cleared();
        reply.ended = true;
        reply.handle = None;
        reply.rotate = false;
    }

    /// The store has ended the session in the course of an operation of this request.
    pub(super) fn lose(&self, state: &mut State) {
        *state = State::new(Identity::Shut(Shut::Deleted));
        let mut reply = self.reply();
        reply.verdict = Verdict::Keep;
        reply.handle = None;
        reply.rotate = false;
    }

    /// The store does not open the session, or not any more.
    fn shut(&self, state: &mut State, handle: Handle, shut: Shut, good_until: Option<Duration>) {
        state.memory = Memory::default();
        state.meta = None;
        state.unsettled = None;
        let mut reply = self.reply();
        reply.handle = None;
        // A cookie for a session that is gone would overwrite the one that may have followed it.
        reply.verdict = Verdict::Keep;
        state.identity = match (&state.identity, good_until) {
            (Identity::Open { .. }, _) => Identity::Shut(shut),
            (_, Some(ago)) if ago < LATE => {
                // Late requests had a grace.
                if shut == Shut::Lost && self.policy().renewal.is_some() {
                    event::reuse(&handle, ago);
                }
                Identity::Shut(shut)
            }
            (_, Some(ago)) => {
                event::reuse(&handle, ago);
                reply.expired = true;
                Identity::Anonymous
            }
            (_, None) => {
                event::unknown_token(&handle);
                reply.expired = true;
                Identity::Anonymous
            }
        };
    }
}

fn is_open<T>(lookup: &Lookup<T>) -> bool {
    matches!(lookup, Lookup::Found(_) | Lookup::Unconfirmed { .. })
}
