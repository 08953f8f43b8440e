use super::{shared::Shared, state::State};
use crate::{
    event,
    store::{Credentials, Lookup, Renew, SessionMeta, Update, Updated},
    token::{Secret, Token},
};

/// How a secret is replaced because it is old, and nothing else has changed.
impl Shared {
    /// Replaces the secret if it is due. Whether that works is no matter of the request that does it:
    /// the former secret is good until the client has used the new one, and for a while after.
    pub(super) async fn renew(&self, state: &mut State, meta: &SessionMeta) {
        let Some(renewal) = self.config().renewal else { return };
        if meta.secret_age < renewal.every.as_duration() || !self.may_renew(state) {
            return;
        }
        let credentials = state.identity.credentials(self.config().layer);
        let (Some((id, own)), Ok(secret)) = (credentials, Secret::random()) else { return };
        let hash = secret.hash(self.config().layer);
        let renew = Renew { secret: &hash, every: renewal.every, grace: renewal.grace };
        let update = Update { renew: Some(renew), ..Update::default() };
        match self.ask().update(Credentials { id: &id, secret: &own }, update).await {
            Ok(
                Lookup::Found(Updated::Applied { .. })
                | Lookup::Unconfirmed { answer: Updated::Applied { .. }, .. },
            ) => {
                if self.offer(Token { id, secret }) {
                    event::rotated(&id, "renewal");
                }
            }
            // Another request was faster, or the session has just ended.
            Ok(_) => {}
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                tracing::warn!(error = cause, "a session secret could not be renewed");
            }
        }
    }

    /// Not while another secret is on its way, nor for a request that asks by itself.
    fn may_renew(&self, state: &State) -> bool {
        let reply = self.reply();
        !self.is_passive()
            && state.pending_rotation.is_none()
            && reply.check_open().is_ok()
            && reply.keeps()
    }
}
