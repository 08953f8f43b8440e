//! [`IndexEntry`]: how a session is found by the value of a field marked `index`.
//!
//! Added and freed by `request`, read by `indexed_sessions`. An entry is a session of its own in the store,
//! which is signed in to the key of the value, and holds the id of the session that has the value. So every
//! store lists and expires entries, and no client has the secret of one.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    auth::{Assurance, PrincipalKey},
    codec::{self, CodecError},
    error::Error,
    store::{
        AuthChange, Change, Create, Credentials, DynStore, FieldWrite, ListedSession, NewSignIn,
        Precondition, StoreErrorKind, Update,
    },
    token::{self, SecretHash, SessionId},
    ttl::Ttl,
};

/// Name of the field that holds the id of the session, and a nonce for each time that the entry was added.
pub(super) const TARGET: &str = "ruts.target";

const ID_LEN: usize = 16;
const NONCE_LEN: usize = 8;

/// Number of times to add an entry that expires meanwhile.
const TRIES: usize = 3;

/// The entry of a session under a key.
pub(super) struct IndexEntry<'a> {
    key: &'a PrincipalKey,
    session: &'a SessionId,
    /// Derived from key and session, so that a second write of the value finds the entry of the first.
    id: SessionId,
    /// Derived likewise. Nobody can compute a secret that has this hash.
    secret: SecretHash,
}

impl<'a> IndexEntry<'a> {
    pub(super) fn new(key: &'a PrincipalKey, session: &'a SessionId) -> Self {
        let digest = |part: &str| -> [u8; 32] {
            let digest = Sha256::new_with_prefix(part);
            digest.chain_update(key.as_bytes()).chain_update(session.as_bytes()).finalize().into()
        };
        let id = digest("id of an index entry");
        Self {
            key,
            session,
            id: SessionId::from_bytes(std::array::from_fn(|at| id[at])),
            secret: SecretHash::from_bytes(digest("secret hash of an index entry")),
        }
    }

    fn credentials(&self) -> Credentials<'_> {
        Credentials::new(&self.id, &self.secret)
    }

    /// Adds the entry for at least `life`. One round trip, or two if the store has the entry.
    pub(super) async fn add(&self, store: &dyn DynStore, life: Option<Ttl>) -> Result<(), Error> {
        let who = NewSignIn::new(self.key, Assurance::Aal1);
        let nonce = token::random::<NONCE_LEN>()?;
        let target = codec::wrap_own(&[&self.session.as_bytes()[..], &nonce].concat());
        let write = FieldWrite::new(TARGET, &target);
        let (fields, changes) = ([write], [Change::Set(write)]);
        let create =
            Create::new(&self.id, &self.secret).absolute(life).sign_in(who).fields(&fields);
        let prolong = AuthChange::In { who, idle: None, absolute: life };
        let prolong = Update::new(&changes).auth_change(prolong);
        for attempt in 1.. {
            match store.create(create).await {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() != StoreErrorKind::Exists || attempt == TRIES => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
            if store.update(self.credentials(), prolong).await?.is_ok() {
                break;
            }
        }
        Ok(())
    }

    /// Frees the entry of a session that has ended.
    pub(super) async fn free(&self, store: &dyn DynStore) {
        if let Err(error) = store.delete(self.credentials()).await {
            tracing::debug!(%error, "the index entry of an ended session stays until it expires");
        }
    }
}

/// An entry as it was found in a list.
pub(super) struct FoundEntry {
    pub(super) session: SessionId,
    /// The stored target.
    target: Bytes,
}

impl FoundEntry {
    pub(super) fn new(listed: &ListedSession) -> Result<Option<Self>, CodecError> {
        let field = listed.loaded.fields.iter().find(|field| field.name == TARGET);
        let Some(target) = field.map(|field| field.value.clone()) else { return Ok(None) };
        let session = codec::unwrap_own(&target)?.first_chunk::<ID_LEN>();
        let session = session.map(|id| SessionId::from_bytes(*id)).ok_or(CodecError::Header)?;
        Ok(Some(Self { session, target }))
    }

    /// Takes the entry out of the list, unless it was added again since it was found.
    pub(super) async fn take_out(&self, store: &dyn DynStore, key: &PrincipalKey) {
        let entry = IndexEntry::new(key, &self.session);
        let changes = [Change::Remove(TARGET)];
        let update = Update::new(&changes)
            .precondition(Precondition::new(TARGET, Some(&self.target)))
            .auth_change(AuthChange::Out);
        if let Err(error) = store.update(entry.credentials(), update).await {
            tracing::debug!(%error, "an outdated index entry stays until it expires");
        }
    }
}
