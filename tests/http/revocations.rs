//! A revocation in a layered store whose origin answers too late.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, NewSignIn, Refused, RevokeTarget, Store, StoreErrorKind, Update, Written,
        layered::LayeredStore,
        memory::{MemoryCache, MemoryStore},
    },
};
use ruts_tests_support::{APPLIED, InstrumentedStore, TestSession, random};

const ALL: RevokeTarget<'_> = RevokeTarget::All { except: None };

/// The origin ends the sessions after the caller has given up. Until then, no read fills the cache,
/// so a second revocation that finds nothing to end can report that all have ended.
#[tokio::test]
async fn a_late_revocation_is_not_undone_by_the_cache() {
    let origin = InstrumentedStore::new(MemoryStore::new());
    let builder = LayeredStore::builder(MemoryCache::new(100), origin.clone());
    let store = builder.origin_timeout(Duration::from_millis(50)).build_for_one_process();
    let store = Arc::new(store);
    let ada = PrincipalKey::from_bytes(random());
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    let who = NewSignIn::new(&ada, Assurance::Aal1);
    let sign_in = AuthChange::In { who, idle: None, absolute: None };
    assert_eq!(session.update(Update::new(&[]).auth_change(sign_in)).await.unwrap(), APPLIED);
    let value = Some(Bytes::from_static(b"1"));
    for _ in 0..3 {
        assert_eq!(session.get("a").await.unwrap(), value, "a warm cache");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let stuck = origin.pause_before("revoke");
    let unknown = store.revoke(&ada, ALL).await.unwrap_err();
    assert_eq!(unknown.kind(), StoreErrorKind::OutcomeUnknown);
    drop(stuck);
    for _ in 0..3 {
        assert_eq!(session.get("a").await.unwrap(), value, "the session has not ended yet");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(origin.inner().revoke(&ada, ALL).await.unwrap().answer, [session.id]);

    assert_eq!(store.revoke(&ada, ALL).await.unwrap(), Written::new(Vec::new()));
    assert_eq!(session.load().await.unwrap(), Err(Refused::Revoked));
}
