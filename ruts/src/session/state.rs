use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    identity::Identity,
    memory::Memory,
    operation::Operation,
    reply::{Reply, Verdict},
    shared::Shared,
};
use crate::{
    error::Error,
    store::{Access, LATE, Lookup},
    token::{Handle, Secret, Token},
};

/// What a request knows of its session.
pub(super) struct State {
    pub(super) identity: Identity,
    pub(super) memory: Memory,
    /// The secret of a rotation of which the store has not said whether it took place.
    pub(super) unsettled: Option<Secret>,
}

/// The two secrets of an operation that may rotate.
pub(super) struct Rotation {
    /// To be tried if the current secret opens nothing: it may have been installed unnoticed.
    pub(super) earlier: Option<Secret>,
    /// To be installed.
    pub(super) fresh: Option<Secret>,
}

/// How a request learns who it is, and changes its secret.
impl Shared {
    pub(super) fn reply(&self) -> MutexGuard<'_, Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares to replace the secret, if that is asked for now or was before.
    ///
    /// An attempt of unknown outcome is repeated with the same secret, so that it does not matter
    /// which of them took place.
    pub(super) fn begin_rotation(
        &self,
        state: &mut State,
        rotate: bool,
    ) -> Result<Rotation, Error> {
        let earlier = state.unsettled.clone();
        if !rotate && !self.reply().rotate {
            return Ok(Rotation { earlier, fresh: None });
        }
        self.may_reply()?;
        let fresh = match &earlier {
            Some(secret) => secret.clone(),
            None => Secret::random()?,
        };
        self.reply().rotate = true;
        state.unsettled = Some(fresh.clone());
        Ok(Rotation { earlier, fresh: Some(fresh) })
    }

    pub(super) fn finish_rotation(
        &self,
        state: &mut State,
        rotation: Rotation,
    ) -> Result<(), Error> {
        let (Some(secret), Some((handle, _))) = (rotation.fresh, state.identity.credentials())
        else {
            return Ok(());
        };
        self.adopt(state, handle, secret)?;
        tracing::info!(%handle, "session rotated");
        Ok(())
    }

    /// Takes a secret that the store has installed for the session's own.
    fn adopt(&self, state: &mut State, handle: Handle, secret: Secret) -> Result<(), Error> {
        state.identity = Identity::Open { handle, secret: secret.hash() };
        state.unsettled = None;
        self.hand_out(Token { handle, secret })
    }

    pub(super) fn may_reply(&self) -> Result<(), Error> {
        if self.reply().sent { Err(Error::ResponseSent) } else { Ok(()) }
    }

    pub(super) fn hand_out(&self, token: Token) -> Result<(), Error> {
        let mut reply = self.reply();
        reply.rotate = false;
        if reply.sent {
            return Err(Error::ResponseSent);
        }
        reply.handle = Some(token.handle);
        reply.verdict = Verdict::Set(token);
        Ok(())
    }

    /// Asks the store with what the client presented, and learns from the answer who it is.
    pub(super) async fn attempt<O: Operation>(
        &self,
        state: &mut State,
        earlier: Option<&Secret>,
        operation: &O,
    ) -> Result<Lookup<O::Answer>, Error> {
        let Some((handle, secret)) = state.identity.credentials() else {
            return Ok(Lookup::NotFound);
        };
        let access = Access { handle: &handle, secret: &secret };
        let mut lookup = operation.run(&*self.store, access).await?;
        if let (Some(earlier), false) = (earlier, matches!(lookup, Lookup::Found(_))) {
            let hash = earlier.hash();
            let access = Access { handle: &handle, secret: &hash };
            lookup = operation.run(&*self.store, access).await?;
            if matches!(lookup, Lookup::Found(_)) {
                self.adopt(state, handle, earlier.clone())?;
            }
        }
        match &lookup {
            Lookup::Found(_) => {
                if let Identity::Presented(_) = state.identity {
                    state.identity = Identity::Open { handle, secret };
                    self.reply().handle = Some(handle);
                }
            }
            Lookup::Replaced { ago } | Lookup::Ended { ago } => {
                self.shut(state, handle, Some(*ago));
            }
            Lookup::NotFound => self.shut(state, handle, None),
        }
        Ok(lookup)
    }

    /// The store does not open the session, or not any more.
    fn shut(&self, state: &mut State, handle: Handle, good_until: Option<Duration>) {
        state.memory = Memory::default();
        state.unsettled = None;
        state.identity = match (&state.identity, good_until) {
            (Identity::Open { .. }, _) => Identity::Lost,
            (_, Some(ago)) if ago < LATE => Identity::Late,
            (_, Some(ago)) => {
                tracing::warn!(%handle, ?ago, "reuse of a former session secret");
                Identity::Anonymous
            }
            (_, None) => {
                tracing::info!(%handle, "unknown session token");
                Identity::Anonymous
            }
        };
        let mut reply = self.reply();
        reply.handle = None;
        // A cookie for a session that is gone would overwrite the one that may have followed it.
        reply.verdict = Verdict::Keep;
    }
}
