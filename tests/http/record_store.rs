//! Failures of a backend under a `RecordStore`: an error that says that nothing was changed is
//! true.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use ruts::{
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, NewSignIn, OnLimit, RecordStore, RevokeTarget, SessionLimit, SessionRecord,
        Store, StoreError, StoreErrorKind, Update,
    },
    token::{SecretHash, SessionId},
};
use ruts_tests_support::{TestSession, random};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Keeps records in memory. Each call of the backend counts, and one of them fails.
#[derive(Clone, Default)]
struct FailingStore {
    records: Arc<Mutex<HashMap<SessionId, SessionRecord>>>,
    principals: Arc<Mutex<()>>,
    /// Number of calls until the failure. Zero if no call fails.
    failure: Arc<AtomicUsize>,
}

impl FailingStore {
    fn call(&self) -> Result<(), StoreError> {
        let count = |left: usize| left.checked_sub(1);
        match self.failure.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) {
            Ok(1) => Err(StoreError::new("failing", StoreErrorKind::Unavailable)),
            _ => Ok(()),
        }
    }
}

impl RecordStore for FailingStore {
    type PrincipalLock = OwnedMutexGuard<()>;

    fn name(&self) -> &'static str {
        "failing"
    }

    async fn with_record<T: Send>(
        &self,
        id: &SessionId,
        operation: impl FnOnce(&mut Option<SessionRecord>, Duration) -> T + Send,
    ) -> Result<T, StoreError> {
        self.call()?;
        let mut records = self.records.lock().await;
        let mut record = records.remove(id);
        let result = operation(&mut record, SystemTime::UNIX_EPOCH.elapsed().unwrap());
        records.extend(record.map(|record| (*id, record)));
        Ok(result)
    }

    async fn lock_principal(&self, _: &PrincipalKey) -> Result<OwnedMutexGuard<()>, StoreError> {
        self.call()?;
        Ok(Arc::clone(&self.principals).lock_owned().await)
    }

    async fn sessions_of(
        &self,
        principal: &PrincipalKey,
        _: &mut OwnedMutexGuard<()>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.call()?;
        let records = self.records.lock().await;
        let theirs = records.iter().filter(|(_, record)| record.principal() == Some(*principal));
        Ok(theirs.map(|(id, _)| *id).collect())
    }

    async fn expired(&self, _: usize) -> Result<Vec<SessionId>, StoreError> {
        Ok(Vec::new())
    }

    async fn end_all(&self) -> Result<(), StoreError> {
        self.records.lock().await.clear();
        Ok(())
    }
}

const USER: PrincipalKey = PrincipalKey::from_bytes([1; 32]);

fn sign_in() -> NewSignIn<'static> {
    NewSignIn::new(&USER, Assurance::Aal1)
}

/// The operations, each on a session of the user and on a guest's session.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Delete,
    SignIn,
    SignInWithLimit,
    SignOut,
    RevokeOne,
    RevokeAll,
}

impl Operation {
    async fn run(
        self,
        store: &FailingStore,
        user: &TestSession<FailingStore>,
        guest: &TestSession<FailingStore>,
    ) -> Result<(), StoreError> {
        let secret = SecretHash::from_bytes(random());
        let update = Update::new(&[]).rotate(&secret);
        let limit = SessionLimit::new(1, OnLimit::EndOldest);
        let enter = |who| AuthChange::In { who, idle: None, absolute: None };
        match self {
            Self::Delete => user.delete().await.map(drop),
            Self::SignIn => guest.update(update.auth_change(enter(sign_in()))).await.map(drop),
            Self::SignInWithLimit => {
                let who = sign_in().limit(Some(limit));
                guest.update(update.auth_change(enter(who))).await.map(drop)
            }
            Self::SignOut => user.update(update.auth_change(AuthChange::Out)).await.map(drop),
            Self::RevokeOne => store.revoke(&USER, RevokeTarget::One(&user.id)).await.map(drop),
            Self::RevokeAll => {
                store.revoke(&USER, RevokeTarget::All { except: None }).await.map(drop)
            }
        }
    }
}

#[tokio::test]
async fn an_error_of_a_record_store_is_true() {
    use Operation::{Delete, RevokeAll, RevokeOne, SignIn, SignInWithLimit, SignOut};
    for operation in [Delete, SignIn, SignInWithLimit, SignOut, RevokeOne, RevokeAll] {
        for failure in 1.. {
            let store = Arc::new(FailingStore::default());
            let [user, other, guest] = [(); 3].map(|()| TestSession::new(&store));
            for session in [&user, &other] {
                store.create(session.creation().sign_in(Some(sign_in()))).await.unwrap();
            }
            guest.create(None).await.unwrap();
            let state = async || {
                let mut state = Vec::new();
                for session in [&user, &other, &guest] {
                    let loaded = session.load().await.unwrap();
                    state.push(loaded.map(|loaded| loaded.meta.signed_in.is_some()));
                }
                state
            };
            let before = state().await;
            store.failure.store(failure, Ordering::SeqCst);
            let outcome = operation.run(&store, &user, &guest).await;
            let has_failed = store.failure.swap(0, Ordering::SeqCst) == 0;
            match outcome.map_err(|error| error.kind()) {
                Err(StoreErrorKind::OutcomeUnknown) => {}
                Err(kind) => {
                    assert_eq!(state().await, before, "{operation:?} {failure}: {kind:?}");
                }
                Ok(()) => assert_ne!(state().await, before, "{operation:?} {failure}"),
            }
            if !has_failed {
                break;
            }
        }
    }
}

/// A sign-in tries the next id if its id exists, even if the limit has ended other sessions before.
#[tokio::test]
async fn an_id_that_exists_is_reported_after_sessions_have_ended() {
    let store = Arc::new(FailingStore::default());
    let [user, guest] = [(); 2].map(|()| TestSession::new(&store));
    store.create(user.creation().sign_in(Some(sign_in()))).await.unwrap();
    guest.create(None).await.unwrap();
    let who = sign_in().limit(Some(SessionLimit::new(1, OnLimit::EndOldest)));
    let refused = store.create(guest.creation().sign_in(Some(who))).await;
    assert_eq!(refused.map_err(|error| error.kind()).unwrap_err(), StoreErrorKind::Exists);
}
