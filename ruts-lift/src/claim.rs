//! [`Claims`]: lets only one request at a time, in all processes, lift an old session. Gives other
//! requests the session that the old session became.
//!
//! Used by `lift`. A claim is a separate record in the ruts store. Its id and its secret are
//! derived from the id of the old session, so only requests with the old cookie find it. A claim
//! has these fields:
//!
//! - `busy`: the lease of the request that is lifting the session.
//! - `done`: a [`Done`], encrypted with a key that is also derived from the old id.
//! - `refused`: a hash of the state of an old session that cannot be lifted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::Aead};
use http::HeaderValue;
use ruts::{
    Ttl,
    session::TokenStatus,
    store::{
        CachePolicy, Change, Create, Credentials, FieldWrite, Precondition, Projection, Refused,
        Store, StoreErrorKind, Touch, Update, Updated,
    },
    token::{SecretHash, SessionId},
};
use sha2::{Digest as _, Sha256};

use crate::{error::Error, link::Digest};

const BUSY: &str = "busy";
const DONE: &str = "done";
const REFUSED: &str = "refused";

/// Time after which another request may lift the session if the first request has not finished.
const LEASE: Ttl = Ttl::from_secs(10);
/// Time after which a claim expires if no request carries its old cookie. This time has to be
/// longer than the lifetime of old sessions. After that lifetime, the old session has expired, so
/// it cannot be lifted again.
const CLAIM: Ttl = Ttl::from_secs(60 * 24 * 60 * 60);
/// Minimum time between two extensions of a claim.
const TOUCH_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Time for which other requests get the lifted session after the lift has ended the old session. A
/// client may send several requests before it gets the new cookie, or may miss a response.
const HANDOVER: Ttl = Ttl::from_secs(10 * 60);
/// Time after which a refused lift is tried again, for example by a new release.
const REFUSAL: Ttl = Ttl::from_secs(10 * 60);
const SALT: usize = 16;
/// The plaintext of [`Done::Closed`]. No `Set-Cookie` header has this value.
const CLOSED: &[u8] = b"closed";
/// First byte of the plaintext of [`Done::Joined`], which no `Set-Cookie` header contains.
const JOINED: u8 = 0;

/// The claims in a store.
pub(crate) struct Claims<S> {
    store: Arc<S>,
    /// Name of the session layer, so that two layers have claims of their own.
    layer: &'static str,
}

/// The right to lift one session.
pub(crate) struct Lease {
    claim: Claim,
    busy: Bytes,
}

/// State of a claim.
pub(crate) enum Claimed {
    /// Another request is lifting the session.
    Busy,
    /// This request may lift the session. [`Done`] if it was lifted before.
    Mine(Lease, Option<Done>),
    /// All sessions were revoked since the session was lifted.
    Revoked,
}

/// The session that an old session became.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The `Set-Cookie` header of the session, for requests that have only the old cookie.
    Opens(HeaderValue),
    /// The client already had the session with this id. The old cookie must not open it.
    Joined(SessionId),
    /// The old session has to end. Its user has signed in, stepped up or signed out in ruts.
    Closed,
}

/// The change of a claim at the end of a lease.
pub(crate) enum Outcome {
    /// Nothing was lifted.
    Unchanged,
    Done(Done),
    /// An old session with this digest cannot be lifted.
    Refused(Digest),
}

/// Id, secret hash and encryption key of the claim on one old session.
struct Claim {
    id: SessionId,
    secret: SecretHash,
    key: [u8; 32],
}

impl Claim {
    fn of(layer: &str, old: &str) -> Self {
        let derive = |purpose: &str| -> [u8; 32] {
            let mut hash = Sha256::new();
            for part in ["ruts-lift", purpose, layer, old] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
            hash.finalize().into()
        };
        let mut id = [0; 16];
        id.copy_from_slice(&derive("id")[..16]);
        let secret = SecretHash::from_bytes(derive("secret"));
        Self { id: SessionId::from_bytes(id), secret, key: derive("key") }
    }

    fn credentials(&self) -> Credentials<'_> {
        Credentials::new(&self.id, &self.secret)
    }

    /// Returns a cipher with a key for this salt. Each plaintext has its own salt and key, so the
    /// nonce can be zero.
    fn cipher(&self, salt: &[u8]) -> ChaCha20Poly1305 {
        let key: [u8; 32] = Sha256::new_with_prefix(self.key).chain_update(salt).finalize().into();
        ChaCha20Poly1305::new(&key.into())
    }

    fn encrypt(&self, done: &Done) -> Result<Bytes, Error> {
        let text = match done {
            Done::Opens(cookie) => cookie.as_bytes(),
            Done::Joined(id) => &[&[JOINED], &id.as_bytes()[..]].concat(),
            Done::Closed => CLOSED,
        };
        let mut value = vec![0; SALT];
        getrandom::fill(&mut value).map_err(|_| Error::Random)?;
        // Encryption fails only for texts of 256 GiB and more.
        let sealed = self.cipher(&value).encrypt(&[0; 12].into(), text);
        value.extend(sealed.map_err(|_| Error::Random)?);
        Ok(value.into())
    }

    /// Decrypts the field `done`. `None` for a value that was altered.
    fn decrypt(&self, value: &[u8]) -> Option<Done> {
        let (salt, sealed) = value.split_at_checked(SALT)?;
        let text = self.cipher(salt).decrypt(&[0; 12].into(), sealed).ok()?;
        match &*text {
            [JOINED, id @ ..] => {
                id.try_into().ok().map(|id| Done::Joined(SessionId::from_bytes(id)))
            }
            CLOSED => Some(Done::Closed),
            cookie => HeaderValue::from_bytes(cookie).ok().map(Done::Opens),
        }
    }

    /// Hashes the digest of an old session. The key keeps a reader of the store from testing
    /// guesses.
    fn refused(&self, [high, low]: Digest) -> Bytes {
        let hash = Sha256::new_with_prefix(self.key).chain_update(REFUSED);
        let hash = hash.chain_update(high.to_be_bytes()).chain_update(low.to_be_bytes());
        Bytes::copy_from_slice(&hash.finalize())
    }
}

impl<S: Store> Claims<S> {
    pub(crate) fn new(store: Arc<S>, layer: &'static str) -> Self {
        Self { store, layer }
    }

    /// Returns the session that an old session became, if it was lifted. One round trip.
    pub(crate) async fn find(&self, old: &str) -> Result<Option<Done>, Error> {
        let claim = Claim::of(self.layer, old);
        let done = self.load(&claim, DONE).await?;
        Ok(done.and_then(|done| claim.decrypt(&done)))
    }

    /// Returns the state of the session that an old session joined: live or expired. At most two
    /// round trips.
    pub(crate) async fn status(&self, joined: &SessionId) -> Result<TokenStatus, Error> {
        if self.store.inspect(joined).await.map_err(Error::Claim)?.is_some() {
            return Ok(TokenStatus::Live);
        }
        let by = self.store.expiry(joined).await.map_err(Error::Claim)?;
        Ok(TokenStatus::Expired { by })
    }

    /// Returns whether the lift of an old session in this state was refused. One round trip.
    pub(crate) async fn is_refused(&self, old: &str, state: Digest) -> Result<bool, Error> {
        let claim = Claim::of(self.layer, old);
        Ok(self.load(&claim, REFUSED).await? == Some(claim.refused(state)))
    }

    async fn load(&self, claim: &Claim, field: &str) -> Result<Option<Bytes>, Error> {
        let touch = Some(Touch::new(CLAIM, TOUCH_AFTER));
        let loaded = self.store.load(claim.credentials(), Projection::Named(&[field]), touch).await;
        let Ok(mut loaded) = loaded.map_err(Error::Claim)? else { return Ok(None) };
        Ok(loaded.fields.pop().map(|field| field.value))
    }

    /// Tries to take the lease on an old session. At most two round trips.
    pub(crate) async fn begin(&self, old: &str) -> Result<Claimed, Error> {
        let claim = Claim::of(self.layer, old);
        let mut busy = vec![0; 16];
        getrandom::fill(&mut busy).map_err(|_| Error::Random)?;
        let busy = Bytes::from(busy);
        let write = field(BUSY, &busy).ttl(LEASE);

        let change = [Change::Set(write)];
        let update = Update::new(&change)
            .precondition(Precondition::new(BUSY, None))
            .touch(Touch::new(CLAIM, TOUCH_AFTER));
        let updated = self.store.update(claim.credentials(), update).await;
        match updated.map_err(Error::Claim)? {
            Ok(written) => match written.answer {
                Updated::Applied { .. } => {
                    let done = self.find(old).await?;
                    Ok(Claimed::Mine(Lease { claim, busy }, done))
                }
                _ => Ok(Claimed::Busy),
            },
            Err(Refused::Revoked) => Ok(Claimed::Revoked),
            Err(_refused) => {
                let create = Create::new(&claim.id, &claim.secret).idle(CLAIM);
                match self.store.create(create.fields(&[write])).await {
                    Ok(_) => Ok(Claimed::Mine(Lease { claim, busy }, None)),
                    Err(error) if error.kind() == StoreErrorKind::Exists => Ok(Claimed::Busy),
                    Err(error) => Err(Error::Claim(error)),
                }
            }
        }
    }

    /// Ends a lease. Returns whether this request still held it. One round trip.
    pub(crate) async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<bool, Error> {
        let free = Change::Remove(BUSY);
        match outcome {
            Outcome::Unchanged => self.end(lease, &[free]).await,
            Outcome::Done(done) => {
                let done = lease.claim.encrypt(done)?;
                self.end(lease, &[Change::Set(field(DONE, &done)), free]).await
            }
            Outcome::Refused(state) => {
                let state = lease.claim.refused(*state);
                self.end(lease, &[Change::Set(field(REFUSED, &state).ttl(REFUSAL)), free]).await
            }
        }
    }

    /// Stores the cookie of the session that an old session became, because this cookie has
    /// changed. Does nothing if there is no claim, or if another request closes the claim. Two
    /// round trips.
    pub(crate) async fn renew(&self, old: &str, set_cookie: HeaderValue) -> Result<(), Error> {
        let claim = Claim::of(self.layer, old);
        let former = self.load(&claim, DONE).await?;
        if former.as_ref().and_then(|done| claim.decrypt(done)) == Some(Done::Closed) {
            return Ok(());
        }
        let done = claim.encrypt(&Done::Opens(set_cookie))?;
        let changes = [Change::Set(field(DONE, &done))];
        self.update_if(&claim, &changes, Precondition::new(DONE, former.as_ref())).await.map(drop)
    }

    /// Closes a claim: from now on, an old session with this id ends. Voids a lease, whose lift
    /// would open the claim again. Does nothing if there is no claim. One round trip.
    pub(crate) async fn close(&self, old: &str) -> Result<(), Error> {
        let claim = Claim::of(self.layer, old);
        let done = claim.encrypt(&Done::Closed)?;
        let closed = Change::Set(field(DONE, &done));
        self.update(&claim, &[closed, Change::Remove(REFUSED), Change::Remove(BUSY)]).await
    }

    /// Lets the claim name the lifted session only for the time of a handover. One round trip.
    pub(crate) async fn hand_over(&self, old: &str) -> Result<(), Error> {
        self.update(&Claim::of(self.layer, old), &[Change::Expire(DONE, HANDOVER)]).await
    }

    async fn update(&self, claim: &Claim, changes: &[Change<'_>]) -> Result<(), Error> {
        let updated = self.store.update(claim.credentials(), Update::new(changes)).await;
        updated.map(drop).map_err(Error::Claim)
    }

    async fn end(&self, lease: &Lease, changes: &[Change<'_>]) -> Result<bool, Error> {
        self.update_if(&lease.claim, changes, Precondition::new(BUSY, Some(&lease.busy))).await
    }

    /// Returns whether the claim was updated.
    async fn update_if(
        &self,
        claim: &Claim,
        changes: &[Change<'_>],
        precondition: Precondition<'_>,
    ) -> Result<bool, Error> {
        let update = Update::new(changes).precondition(precondition);
        let updated = self.store.update(claim.credentials(), update).await.map_err(Error::Claim)?;
        Ok(updated.is_ok_and(|written| matches!(written.answer, Updated::Applied { .. })))
    }
}

fn field<'a>(name: &'a str, value: &'a Bytes) -> FieldWrite<'a> {
    FieldWrite::new(name, value).cache_policy(CachePolicy::NoStore)
}

#[cfg(test)]
mod tests {
    use ruts::store::memory::{ManualClock, MemoryStore};

    use super::*;

    fn claims(store: &Arc<MemoryStore>) -> Claims<MemoryStore> {
        Claims::new(Arc::clone(store), "")
    }

    async fn lease(claims: &Claims<MemoryStore>) -> (Lease, Option<Done>) {
        match claims.begin("old").await.unwrap() {
            Claimed::Mine(lease, done) => (lease, done),
            Claimed::Busy | Claimed::Revoked => panic!("the claim should be free"),
        }
    }

    #[tokio::test]
    async fn one_request_at_a_time_has_the_lease() {
        let store = Arc::new(MemoryStore::new());
        let (here, there) = (claims(&store), claims(&store));
        let (mine, done) = lease(&here).await;
        assert!(done.is_none());
        assert!(matches!(there.begin("old").await.unwrap(), Claimed::Busy));
        assert!(matches!(there.begin("another").await.unwrap(), Claimed::Mine(..)));
        let cookie = HeaderValue::from_static("id=1; Path=/");
        let done = Outcome::Done(Done::Opens(cookie.clone()));
        assert!(here.finish(&mine, &done).await.unwrap());
        assert_eq!(there.find("old").await.unwrap(), Some(Done::Opens(cookie)));
        assert!(there.find("older").await.unwrap().is_none());

        let (_mine, done) = lease(&there).await;
        assert!(done.is_some());
    }

    #[tokio::test]
    async fn a_lost_lease_changes_nothing() {
        let store = Arc::new(MemoryStore::new());
        let claims = claims(&store);
        let (mine, _) = lease(&claims).await;
        let joined = Done::Joined(SessionId::from_bytes([1; 16]));
        let lost = Lease { claim: Claim::of("", "old"), busy: Bytes::from_static(b"another") };
        assert!(!claims.finish(&lost, &Outcome::Done(joined)).await.unwrap());
        assert!(claims.find("old").await.unwrap().is_none());
        assert!(claims.finish(&mine, &Outcome::Unchanged).await.unwrap());
        assert!(lease(&claims).await.1.is_none());
    }

    #[tokio::test]
    async fn a_refusal_holds_for_one_state_and_ends_with_its_time() {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::builder().clock(clock.clone()).build());
        let claims = claims(&store);
        let (mine, _) = lease(&claims).await;
        assert!(claims.finish(&mine, &Outcome::Refused([1, 2])).await.unwrap());
        assert!(claims.is_refused("old", [1, 2]).await.unwrap());
        assert!(!claims.is_refused("old", [1, 3]).await.unwrap());
        clock.advance(Duration::from_secs(601));
        assert!(!claims.is_refused("old", [1, 2]).await.unwrap());
    }

    #[tokio::test]
    async fn a_closed_claim_hands_out_nothing() {
        let store = Arc::new(MemoryStore::new());
        let claims = claims(&store);
        let (mine, _) = lease(&claims).await;
        let cookie = HeaderValue::from_static("id=1; Path=/");
        claims.finish(&mine, &Outcome::Done(Done::Opens(cookie))).await.unwrap();
        claims.close("old").await.unwrap();
        assert_eq!(claims.find("old").await.unwrap(), Some(Done::Closed));
    }

    /// Another request signs in and closes the claim during a lift, and before a renewal.
    #[tokio::test]
    async fn a_closed_claim_stays_closed() {
        let store = Arc::new(MemoryStore::new());
        let claims = claims(&store);
        let cookie = HeaderValue::from_static("id=1; Path=/");
        let (mine, _) = lease(&claims).await;
        claims.close("old").await.unwrap();
        assert!(!claims.finish(&mine, &Outcome::Done(Done::Opens(cookie.clone()))).await.unwrap());
        assert_eq!(claims.find("old").await.unwrap(), Some(Done::Closed));
        claims.renew("old", cookie).await.unwrap();
        assert_eq!(claims.find("old").await.unwrap(), Some(Done::Closed));
    }

    #[test]
    fn a_cookie_opens_with_its_own_old_id_alone() {
        let claim = Claim::of("", "old");
        let cookie = HeaderValue::from_static("id=secret");
        let value = claim.encrypt(&Done::Opens(cookie.clone())).unwrap();
        assert!(!value.windows(6).any(|part| part == b"secret"));
        assert_eq!(claim.decrypt(&value), Some(Done::Opens(cookie)));
        for done in [Done::Joined(SessionId::from_bytes([7; 16])), Done::Closed] {
            assert_eq!(claim.decrypt(&claim.encrypt(&done).unwrap()), Some(done));
        }
        for other in [Claim::of("", "new"), Claim::of("admin", "old")] {
            assert!(other.id != claim.id && other.secret != claim.secret);
            assert!(other.decrypt(&value).is_none());
        }
        assert!(claim.decrypt(&value[1..]).is_none());
        assert!(claim.decrypt(b"").is_none());
    }
}
