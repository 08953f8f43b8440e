//! What a client shows of itself, and what is done when that has changed since somebody signed in.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Extensions, HeaderMap};
use sha2::{Digest, Sha256};

use super::{apply::Writing, shared::Shared, state::State};
use crate::{
    error::Error,
    event,
    store::{Credentials, FieldWrite, Projection},
    token::SessionId,
    ttl::CachePolicy,
};

/// Where a session keeps what its client looked like at the sign-in.
pub(super) const RECORD: &str = "ruts.client";

const NAME: usize = 4;
const VALUE: usize = 8;

/// Coarse properties of a client, by which one may notice that a session has changed hands: what it calls
/// itself, its language, its network.
///
/// A session keeps a short hash of each, made along with the session's id, so that nothing can be read
/// from them and no two sessions compared. A property that a session does not know yet is not a changed one.
#[derive(Debug, Clone, Default)]
pub struct ClientFingerprint(Vec<(&'static str, Vec<u8>)>);

/// What to do with a request whose client does not look as it did when somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientChangeAction {
    /// Nothing.
    Accept,
    /// For this request, whoever is signed in counts as [`Remembered`](crate::Assurance::Remembered): what
    /// [requires](crate::Session::require) more asks for another authentication, by which the session gets
    /// to know the client.
    StepUp,
    /// End the session. The request goes on without one.
    End,
}

type Describe = dyn Fn(&HeaderMap, &Extensions) -> ClientFingerprint + Send + Sync;
type Judge = dyn Fn(&[&'static str]) -> ClientChangeAction + Send + Sync;

/// How clients are described, and who judges of their changes.
#[derive(Clone)]
pub(crate) struct ClientWatch {
    pub(crate) describe: Arc<Describe>,
    pub(crate) judge: Arc<Judge>,
}

impl ClientFingerprint {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more: the same names for all clients, an empty value where there is none.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.0.push((name, value.as_ref().to_vec()));
        self
    }

    fn digests(&self, id: &SessionId) -> impl Iterator<Item = (&'static str, [u8; NAME + VALUE])> {
        self.0.iter().map(|(name, value)| {
            let digest = |parts: [&[u8]; 3]| {
                let digest = parts.iter().fold(Sha256::new(), |digest, part| {
                    digest.chain_update((part.len() as u64).to_be_bytes()).chain_update(part)
                });
                digest.finalize()
            };
            let mut bytes = [0; NAME + VALUE];
            bytes[..NAME].copy_from_slice(&digest([name.as_bytes(), b"", b""])[..NAME]);
            let value = digest([name.as_bytes(), value, id.as_bytes()]);
            bytes[NAME..].copy_from_slice(&value[..VALUE]);
            (*name, bytes)
        })
    }

    /// What a session keeps of them.
    pub(super) fn record(&self, id: &SessionId) -> Bytes {
        self.digests(id).flat_map(|(_, digest)| digest).collect::<Vec<u8>>().into()
    }

    /// Those that are not as they were.
    fn wait_for_change(&self, id: &SessionId, record: &[u8]) -> Vec<&'static str> {
        let digests = self.digests(id);
        let changed = digests.filter(|(_, digest)| {
            let mut known = record.chunks_exact(NAME + VALUE);
            let known = known.find(|known| known[..NAME] == digest[..NAME]);
            known.is_some_and(|known| known != digest)
        });
        changed.map(|(name, _)| name).collect()
    }
}

impl Shared {
    /// What the store is to keep of the client when somebody signs in.
    pub(super) fn client_record(&self, id: &SessionId, writing: &Writing) -> Option<Bytes> {
        let client = self.client.as_ref().filter(|_| writing.is_sign_in());
        client.map(|client| client.record(id))
    }

    /// The write of it.
    pub(super) fn put_client(value: &Bytes) -> FieldWrite<'_> {
        FieldWrite { name: RECORD, value, ttl: None, hot: CachePolicy::Auto }
    }

    /// Looks at the client before anything is done with the session, if nobody has yet.
    pub(super) async fn look_at_client(&self, state: &mut State) -> Result<(), Error> {
        if self.client.is_some() && !state.client_seen && state.identity.may_be_open() {
            // Boxed: it is rare, and would make the future of every write as large.
            Box::pin(self.load(state, Projection::Named(&[]))).await?;
        }
        Ok(())
    }

    /// Judges of the client, once the session was read.
    pub(super) async fn judge_client(&self, state: &mut State) -> Result<(), Error> {
        let (Some(client), Some(watch)) = (&self.client, &self.config().clients) else {
            return Ok(());
        };
        let Some((id, secret)) = state.identity.credentials(self.config().layer) else {
            return Ok(());
        };
        if std::mem::replace(&mut state.client_seen, true) {
            return Ok(());
        }
        let signed_in = state.meta.is_some_and(|(meta, _)| meta.signed_in.is_some());
        let record = state.memory.get(RECORD).filter(|_| signed_in);
        let changed = record.map_or_else(Vec::new, |record| client.wait_for_change(&id, record));
        if changed.is_empty() {
            return Ok(());
        }
        let risk = (watch.judge)(&changed);
        event::client_changed(&id, &changed, risk.name());
        match risk {
            ClientChangeAction::Accept => {}
            ClientChangeAction::StepUp => state.downgraded = true,
            ClientChangeAction::End => {
                // Until it is known to be gone, it is looked at again.
                state.client_seen = false;
                let credentials = Credentials { id: &id, secret: &secret };
                self.ask().delete(credentials).await?;
                event::ended(&id, "client");
                self.end(state);
            }
        }
        Ok(())
    }
}

impl ClientChangeAction {
    fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::StepUp => "step up",
            Self::End => "end",
        }
    }
}

impl fmt::Debug for ClientWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientWatch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(agent: &str) -> ClientFingerprint {
        ClientFingerprint::new().with("agent", agent).with("network", "192.0.2")
    }

    #[test]
    fn only_what_is_known_can_change() {
        let id = SessionId::random().unwrap();
        let record = traits("Firefox").record(&id);
        assert!(traits("Firefox").wait_for_change(&id, &record).is_empty());
        assert_eq!(traits("curl").wait_for_change(&id, &record), ["agent"]);
        assert!(traits("Firefox").with("new", "x").wait_for_change(&id, &record).is_empty());
        assert!(ClientFingerprint::new().wait_for_change(&id, &record).is_empty());
    }

    #[test]
    fn records_tell_nothing() {
        let [one, other] = [(); 2].map(|()| SessionId::random().unwrap());
        let (one, other) = (traits("Firefox").record(&one), traits("Firefox").record(&other));
        assert_eq!(one.len(), 2 * (NAME + VALUE));
        assert_ne!(one[NAME..NAME + VALUE], other[NAME..NAME + VALUE]);
        assert!(!one.windows(7).any(|window| window == b"Firefox"));
    }

    #[test]
    fn a_broken_record_is_no_panic() {
        let id = SessionId::random().unwrap();
        for record in [&b""[..], b"short", &[7; 25]] {
            assert!(traits("Firefox").wait_for_change(&id, record).is_empty());
        }
    }
}
