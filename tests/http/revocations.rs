//! Revocations: in a layered store whose origin answers too late, and of many sessions in memory.

use std::{cell::Cell, sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, NewSignIn, PageRequest, Projection, Refused, RevokeTarget, Store,
        StoreErrorKind, Update, Written,
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
        assert_eq!(session.get("a").await.unwrap(), value, "the cache should hold the value");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let stuck = origin.pause_before("revoke");
    let unknown = store.revoke(&ada, ALL).await.unwrap_err();
    assert_eq!(unknown.kind(), StoreErrorKind::OutcomeUnknown);
    drop(stuck);
    for _ in 0..3 {
        assert_eq!(session.get("a").await.unwrap(), value, "the session should not have ended yet");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(origin.inner().revoke(&ada, ALL).await.unwrap().answer, [session.id]);

    assert_eq!(store.revoke(&ada, ALL).await.unwrap(), Written::new(Vec::new()));
    assert_eq!(session.load().await.unwrap(), Err(Refused::Revoked));
}

/// A revocation of many sessions releases the lock of the list between its steps, and a page reads
/// only its part of the list.
#[tokio::test]
async fn a_long_list_in_memory_delays_no_sign_in() {
    const SESSIONS: usize = 10_000;
    let store = Arc::new(MemoryStore::new());
    let [ada, bob] = [(); 2].map(|()| PrincipalKey::from_bytes(random()));
    let begin = async |principal: &PrincipalKey| {
        let session = TestSession::new(&store);
        let sign_in = NewSignIn::new(principal, Assurance::Aal1);
        store.create(session.creation().sign_in(sign_in)).await.unwrap();
        session
    };
    for _ in 0..SESSIONS {
        begin(&ada).await;
    }
    let (mut after, mut listed) = (None, 0);
    loop {
        let page = PageRequest::new(after.as_ref(), 999);
        let page = store.list_by_principal(&ada, page, Projection::Named(&[])).await.unwrap();
        listed += page.sessions.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, SESSIONS);

    let is_revoked = Cell::new(false);
    let revoke = async {
        let revoked = store.revoke(&ada, ALL).await.unwrap();
        is_revoked.set(true);
        revoked.answer.len()
    };
    let sign_in = async {
        begin(&bob).await;
        let later = begin(&ada).await;
        assert!(!is_revoked.get(), "the sign-ins should not wait for the whole revocation");
        later
    };
    // Polls the revocation first, until it releases the lock.
    let (revoked, later) = tokio::join!(biased; revoke, sign_in);
    assert_eq!(revoked, SESSIONS);
    assert!(
        later.load().await.unwrap().is_ok(),
        "a session that signed in after the revocation began should be live"
    );
}
