//! Failures of a backend under a `RecordStore`: an error that says that nothing was changed is
//! true.

use std::sync::Arc;

use ruts::{
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, NewSignIn, OnLimit, RevokeTarget, SessionLimit, Store, StoreError,
        StoreErrorKind, Update,
    },
    token::SecretHash,
};
use ruts_tests_support::{TestSession, random};

use crate::record_map::RecordMap;

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
        store: &RecordMap,
        user: &TestSession<RecordMap>,
        guest: &TestSession<RecordMap>,
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
            let store = Arc::new(RecordMap::default());
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
            store.fail_at(failure);
            let outcome = operation.run(&store, &user, &guest).await;
            let has_failed = store.stop_failing();
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
    let store = Arc::new(RecordMap::default());
    let [user, guest] = [(); 2].map(|()| TestSession::new(&store));
    store.create(user.creation().sign_in(Some(sign_in()))).await.unwrap();
    guest.create(None).await.unwrap();
    let who = sign_in().limit(Some(SessionLimit::new(1, OnLimit::EndOldest)));
    let refused = store.create(guest.creation().sign_in(Some(who))).await;
    assert_eq!(refused.map_err(|error| error.kind()).unwrap_err(), StoreErrorKind::Exists);
}
