use std::{sync::Arc, time::Duration};

use ruts::{
    Assurance, PrincipalKey,
    store::{
        AuthChange, Confirmed, Lookup, NewSignIn, RevokeTarget, Store, StoreErrorKind, Update,
        layered::LayeredStore,
        memory::{MemoryCache, MemoryStore},
    },
};
use ruts_tests::{Probe, Visitor, random};

use super::{reads, value};

const ALL: RevokeTarget<'_> = RevokeTarget::All { except: None };

type Layered = LayeredStore<MemoryCache, Probe<MemoryStore>>;

async fn signed_in(store: &Arc<Layered>, principal: &PrincipalKey) -> Visitor<Layered> {
    let visitor = Visitor::begin(store).await;
    visitor.set("a", "1").await.unwrap();
    let who = NewSignIn { principal, assurance: Assurance::Aal1, limit: None };
    let sign = Some(AuthChange::In { who, idle: None, absolute: None });
    store.update(visitor.credentials(), Update { sign, ..Update::default() }).await.unwrap();
    visitor
}

/// The store of record does not answer, and ends the sessions later. Nobody fills the cache meanwhile, so a
/// second revocation, which finds nothing left to end, is right to say that it is done.
#[tokio::test]
async fn a_revocation_that_takes_place_later_is_not_undone_by_the_cache() {
    let cold = Probe::new(MemoryStore::new());
    let store = LayeredStore::in_one_process(MemoryCache::new(100), cold.clone());
    let store = Arc::new(store.with_cold_timeout(Duration::from_millis(50)));
    let ada = PrincipalKey::from_bytes(random());
    let visitor = signed_in(&store, &ada).await;
    assert_eq!(reads(&visitor, "a").await, value("1"));

    let stuck = cold.pause_before("revoke");
    let unknown = store.revoke(&ada, ALL).await.unwrap_err();
    assert_eq!(unknown.kind(), StoreErrorKind::Unknown);
    drop(stuck);
    for _ in 0..3 {
        assert_eq!(visitor.get("a").await.unwrap(), value("1"), "it has not taken place yet");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(cold.inner().revoke(&ada, ALL).await.unwrap().ids.len(), 1);

    let again = store.revoke(&ada, ALL).await.unwrap();
    assert_eq!((again.ids.len(), again.confirmed), (0, Confirmed::Yes));
    assert_eq!(visitor.load().await.unwrap(), Lookup::NotFound);
}
