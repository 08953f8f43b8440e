//! [`IndexEntry`]: maps a value of a field marked `index` to the session that has the value.
//!
//! Added and freed by `request`, and read by `indexed_sessions`. An entry is an additional session
//! in the store. The key of the value is its principal, and one of its fields holds the id of the
//! session that has the value. So every store can list and expire entries. No client has the secret
//! of an entry.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    auth::{Assurance, PrincipalKey},
    codec::{self, CodecError},
    error::Error,
    store::{
        AbsoluteDeadline, AuthChange, Change, Create, Credentials, DynStore, FieldWrite,
        ListedSession, NewSignIn, Precondition, StoreErrorKind, Update,
    },
    token::{self, SecretHash, SessionId},
    ttl::Ttl,
};

/// Name of the field that holds the id of the session, and a nonce that is new at each addition of
/// the entry.
pub(super) const TARGET: &str = "ruts.target";

const ID_LEN: usize = 16;
const NONCE_LEN: usize = 8;

/// Maximum number of attempts to add an entry. An attempt creates the entry or, if it exists,
/// updates it. An entry that is being freed may expire between these two calls.
const TRIES: u8 = 3;

/// Lifetime of a freed entry. Until the entry expires, an update can add it again. After that, the
/// store no longer keeps the id, so the entry can be created again.
const FREED: Ttl = Ttl::from_secs(1);

/// The entry of a session under a key.
pub(super) struct IndexEntry {
    /// Derived from key and session, so a second write of the value finds the entry of the first
    /// write.
    id: SessionId,
    /// Also derived from the key and the session. It is not the hash of any secret, so no client
    /// can present a matching secret.
    secret: SecretHash,
}

impl IndexEntry {
    pub(super) fn new(key: &PrincipalKey, session: &SessionId) -> Self {
        let digest = |part: &str| -> [u8; 32] {
            let digest = Sha256::new_with_prefix(part);
            digest.chain_update(key.as_bytes()).chain_update(session.as_bytes()).finalize().into()
        };
        let id = digest("id of an index entry");
        Self {
            id: SessionId::from_bytes(std::array::from_fn(|at| id[at])),
            secret: SecretHash::from_bytes(digest("secret hash of an index entry")),
        }
    }

    /// Adds the entry of a session for at least `life`. One round trip, or two if the store has the
    /// entry.
    pub(super) async fn add(
        key: &PrincipalKey,
        session: &SessionId,
        store: &dyn DynStore,
        life: Option<Ttl>,
    ) -> Result<(), Error> {
        let entry = Self::new(key, session);
        let who = NewSignIn::new(key, Assurance::Aal1);
        let nonce = token::random::<NONCE_LEN>()?;
        let target = codec::wrap_own(&[&session.as_bytes()[..], &nonce].concat());
        let write = FieldWrite::new(TARGET, &target);
        let (fields, changes) = ([write], [Change::Set(write)]);
        let mut refused = None;
        for _ in 0..TRIES {
            let create = Create::new(&entry.id, &entry.secret).absolute(life).sign_in(who);
            match store.create(create.fields(&fields)).await {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == StoreErrorKind::Exists => refused = Some(error),
                Err(error) => return Err(error.into()),
            }
            let prolong = AuthChange::In { who, idle: None, absolute: life };
            let update = Update::new(&changes).auth_change(prolong);
            let credentials = Credentials::new(&entry.id, &entry.secret);
            if store.update(credentials, update).await?.is_ok() {
                return Ok(());
            }
        }
        refused.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Returns whether the entry is on the list of its value. One round trip.
    pub(super) async fn is_listed(&self, store: &dyn DynStore) -> Result<bool, Error> {
        Ok(store.inspect(&self.id).await?.is_some_and(|meta| meta.signed_in.is_some()))
    }

    /// Frees the entry of a session that no longer has the value. With `target`, only if the entry
    /// still has this target.
    pub(super) async fn free(self, store: &dyn DynStore, target: Option<&Bytes>) {
        let changes = [Change::Remove(TARGET)];
        // The entry is not deleted, because a store may refuse a deleted id as long as it
        // recognises the deletion. An expired id can be added again.
        let update = Update::new(&changes)
            .precondition(target.map(|target| Precondition::new(TARGET, Some(target))))
            .auth_change(AuthChange::Out)
            .absolute(AbsoluteDeadline::new(FREED, None));
        let credentials = Credentials::new(&self.id, &self.secret);
        if let Err(error) = store.update(credentials, update).await {
            tracing::debug!(%error, "an outdated index entry stays until it expires");
        }
    }
}

/// An entry that was found in a list.
pub(super) struct FoundEntry {
    pub(super) session: SessionId,
    /// The target as it was stored.
    target: Bytes,
}

impl FoundEntry {
    pub(super) fn new(listed: &ListedSession) -> Result<Option<Self>, CodecError> {
        let Some(target) = listed.loaded.value(TARGET).cloned() else { return Ok(None) };
        let session = codec::unwrap_own(&target)?.first_chunk::<ID_LEN>();
        let session = session.map(|id| SessionId::from_bytes(*id)).ok_or(CodecError::Header)?;
        Ok(Some(Self { session, target }))
    }

    /// Frees the entry, unless it was added again since it was found.
    pub(super) async fn free(&self, store: &dyn DynStore, key: &PrincipalKey) {
        IndexEntry::new(key, &self.session).free(store, Some(&self.target)).await;
    }
}
