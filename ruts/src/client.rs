//! Detects that a session is used by a different client: see
//! [`SessionLayer::watch_clients`](crate::SessionLayer::watch_clients).

// Called by the layer and the session. Knows the headers of a request, and the name and format of
// the reserved field that keeps a fingerprint. Knows nothing about stores.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Extensions, HeaderMap};
use sha2::{Digest, Sha256};

use crate::token::SessionId;

/// Name of the field that holds the fingerprint of the client at the sign-in.
pub(crate) const RECORD: &str = "ruts.client";

/// Lengths in bytes of the digests of a name and of a value in the field [`RECORD`].
const NAME: usize = 4;
const VALUE: usize = 8;

/// Coarse properties of a client, such as user agent, language and network. A change can be a sign
/// of a stolen session.
///
/// For each property, a session stores two short hashes: one of the name, and one of the value and
/// the session id. So the stored bytes do not contain the value, and the values of two sessions
/// cannot be compared. A property without a stored hash does not count as changed.
///
/// Used with [`SessionLayer::watch_clients`](crate::SessionLayer::watch_clients).
#[derive(Debug, Clone, Default)]
pub struct ClientFingerprint(Vec<(&'static str, Vec<u8>)>);

/// Reaction to a request whose client differs from the client that signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientChangeAction {
    /// Does nothing.
    Accept,
    /// Lowers the assurance to [`Remembered`](crate::auth::Assurance::Remembered) for this request.
    /// [`require`](crate::Session::require) then demands another authentication. The new sign-in
    /// stores the fingerprint of the new client.
    StepUp,
    /// Ends the session. The request continues without a session.
    End,
}

type Describe = dyn Fn(&HeaderMap, &Extensions) -> ClientFingerprint + Send + Sync;
type Judge = dyn Fn(&[&'static str]) -> ClientChangeAction + Send + Sync;

/// The functions of the application that return the fingerprint of a client, and the reaction to
/// its change.
#[derive(Clone)]
pub(crate) struct ClientWatch {
    pub(crate) describe: Arc<Describe>,
    pub(crate) judge: Arc<Judge>,
}

impl ClientFingerprint {
    /// Creates a fingerprint without properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a property. Add the same names for every client. For a property that a client lacks,
    /// pass an empty value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.0.push((name, value.as_ref().to_vec()));
        self
    }

    /// Returns the name of each property, and the digests of its name and value.
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

    /// Returns the bytes that a session stores in the field [`RECORD`].
    pub(crate) fn record(&self, id: &SessionId) -> Bytes {
        self.digests(id).flat_map(|(_, digest)| digest).collect::<Vec<u8>>().into()
    }

    /// Returns the names of the properties that differ from the stored bytes.
    pub(crate) fn differences(&self, id: &SessionId, record: &[u8]) -> Vec<&'static str> {
        let digests = self.digests(id);
        let changed = digests.filter(|(_, digest)| {
            let mut known = record.chunks_exact(NAME + VALUE);
            let known = known.find(|known| known[..NAME] == digest[..NAME]);
            known.is_some_and(|known| known != digest)
        });
        changed.map(|(name, _)| name).collect()
    }
}

impl ClientChangeAction {
    pub(crate) fn name(self) -> &'static str {
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

    fn fingerprint(agent: &str) -> ClientFingerprint {
        ClientFingerprint::new().with("agent", agent).with("network", "192.0.2")
    }

    #[test]
    fn an_unknown_property_is_unchanged() {
        let id = SessionId::random().unwrap();
        let record = fingerprint("Firefox").record(&id);
        assert!(fingerprint("Firefox").differences(&id, &record).is_empty());
        assert_eq!(fingerprint("curl").differences(&id, &record), ["agent"]);
        assert!(fingerprint("Firefox").with("new", "x").differences(&id, &record).is_empty());
        assert!(ClientFingerprint::new().differences(&id, &record).is_empty());
    }

    #[test]
    fn records_reveal_nothing() {
        let [one, other] = [(); 2].map(|()| SessionId::random().unwrap());
        let (one, other) =
            (fingerprint("Firefox").record(&one), fingerprint("Firefox").record(&other));
        assert_eq!(one.len(), 2 * (NAME + VALUE));
        assert_ne!(one[NAME..NAME + VALUE], other[NAME..NAME + VALUE]);
        assert!(!one.windows(7).any(|window| window == b"Firefox"));
    }

    #[test]
    fn a_broken_record_changes_nothing() {
        let id = SessionId::random().unwrap();
        for record in [&b""[..], b"short", &[7; 25]] {
            assert!(fingerprint("Firefox").differences(&id, record).is_empty());
        }
    }
}
