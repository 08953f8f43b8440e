//! Checks of revocations: the sessions of a principal, or all sessions, end without their secrets.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    client::{
        Client, Refusal, applied, new_client, principal, race, runner, secret, session, sign_in_of,
        ttl,
    },
    principal::{ALL, ids, list, revoke, signed_in},
    subject::Subject,
};
use crate::{
    auth::PrincipalKey,
    store::{AuthChange, Projection, RevokeTarget, Store, StoreErrorKind, Update},
};

/// A revocation by id ends the session with this id if the principal is signed in to it. It ends no
/// other session.
// proves: ASVS-7.5.2
pub async fn a_revocation_ends_one_session(subject: &impl Subject) {
    let (ada, bob) = (principal(), principal());
    let (mine, other) = (signed_in(subject, &ada).await, signed_in(subject, &ada).await);
    let theirs = signed_in(subject, &bob).await;
    let anonymous = session(subject, &[]).await;
    let store = subject.store();
    for foreign in [&theirs, &anonymous] {
        assert_eq!(revoke(&store, &ada, RevokeTarget::One(&foreign.id)).await, BTreeSet::new());
        foreign.through(subject).holds(&[]).await;
    }
    assert_eq!(revoke(&store, &ada, RevokeTarget::One(&mine.id)).await, ids(&[&mine]));
    mine.through(subject).is_refused(Refusal::Revoked).await;
    assert_eq!(revoke(&store, &ada, RevokeTarget::One(&mine.id)).await, BTreeSet::new());
    other.through(subject).holds(&[]).await;
    assert_eq!(list(&store, &ada).await, ids(&[&other]));
}

/// A revocation ends all sessions of a principal, or all but one.
// proves: ASVS-7.4.2 ASVS-7.4.3
pub async fn a_revocation_ends_all_sessions_but_one(subject: &impl Subject) {
    let (ada, bob) = (principal(), principal());
    let theirs = signed_in(subject, &bob).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(signed_in(subject, &ada).await);
    }
    let store = subject.store();
    let own = all.pop().expect("there should be five sessions");
    let target = RevokeTarget::All { except: Some(&own.id) };
    assert_eq!(revoke(&store, &ada, target).await, ids(&all.iter().collect::<Vec<_>>()));
    for client in &all {
        client.through(subject).is_refused(Refusal::Revoked).await;
    }
    own.through(subject).holds(&[]).await;
    assert_eq!(revoke(&store, &ada, ALL).await, ids(&[&own]));
    own.through(subject).is_refused(Refusal::Revoked).await;
    theirs.through(subject).holds(&[]).await;
}

/// The last two secrets of a revoked session are refused as revoked, until the deadline that the
/// session had. Any other secret is unknown.
pub async fn a_revoked_session_is_recognised(subject: &impl Subject) {
    let unit = subject.unit();
    let (ada, store) = (principal(), subject.store());
    let own = signed_in(subject, &ada).await;
    let former = session(subject, &[("a", "1")]).await;
    let revoked = former.with(secret());
    let who = sign_in_of(&ada);
    let deadlines = AuthChange::In { who, idle: ttl(unit * 8), absolute: ttl(unit * 4) };
    let update = Update::new(&[]).rotate(&revoked.secret).auth_change(deadlines);
    assert_eq!(former.update(update).await, applied(0));
    let target = RevokeTarget::All { except: Some(&own.id) };
    assert_eq!(revoke(&store, &ada, target).await, ids(&[&revoked]));
    subject.pass(unit).await;
    revoked.through(subject).is_refused(Refusal::Revoked).await;
    former.through(subject).is_refused(Refusal::Revoked).await;
    revoked.with(secret()).is_refused(Refusal::NotFound).await;
    assert_eq!(store.inspect(&revoked.id).await.expect("the store should answer"), None);
    assert_eq!(list(&store, &ada).await, ids(&[&own]));
    assert_eq!(revoke(&store, &ada, RevokeTarget::One(&revoked.id)).await, BTreeSet::new());
    let again = revoked.create(None, None, &[]).await.map_err(|error| error.kind());
    assert_eq!(again, Err(StoreErrorKind::Exists));
    subject.pass(unit * 4).await;
    revoked.through(subject).is_refused(Refusal::NotFound).await;
}

/// Signs in with a new session, or with an existing one. Returns `None` if a revocation ended the
/// session.
async fn racing_sign_in<S: Store>(
    client: Client<S>,
    principal: PrincipalKey,
    is_new: bool,
) -> Option<Client<S>> {
    let signed = if is_new {
        client.create_for(&principal, None).await.map(|()| (client, applied(0)))
    } else {
        client.create(None, None, &[]).await.expect("the store should answer");
        client.sign_in(&principal, None).await
    };
    match signed {
        Ok((client, answer)) => answer.is_ok().then_some(client),
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Revoked);
            None
        }
    }
}

/// If a sign-in overlaps with a revocation, its session ends too, or is listed after the
/// revocation.
// proves: ASVS-7.4.2
pub async fn a_revocation_ends_sign_ins_that_race_it(subject: &impl Subject) {
    for _ in 0..subject.rounds().min(5) {
        let ada = principal();
        let before = signed_in(subject, &ada).await;
        let store = subject.store();
        let revoker = {
            let store = Arc::clone(&store);
            runner(async move {
                revoke(&store, &ada, ALL).await;
                None
            })
        };
        let mut runners = vec![revoker];
        for at in 0..40 {
            let client = new_client(subject).through(subject);
            runners.push(runner(racing_sign_in(client, ada, at % 2 == 0)));
        }
        let signed_in: Vec<_> = race(runners).await.into_iter().flatten().collect();
        before.is_refused(Refusal::Revoked).await;

        let listed = list(&store, &ada).await;
        for client in &signed_in {
            let is_live = client.through(subject).signed_in().await.is_some();
            assert_eq!(
                is_live,
                listed.contains(&client.id),
                "exactly the live sessions should be listed"
            );
        }
        let again = revoke(&store, &ada, ALL).await;
        assert_eq!(again, listed);
        for client in &signed_in {
            assert_eq!(
                client.through(subject).signed_in().await,
                None,
                "every session should have ended"
            );
        }
    }
}

/// `revoke_everyone` ends all sessions. Afterwards, new sessions can be created.
// proves: ASVS-7.4.5
pub async fn revoke_everyone_ends_all_sessions(subject: &impl Subject) {
    let ada = principal();
    let mut clients = vec![signed_in(subject, &ada).await];
    while clients.len() < 300 {
        let create = |_| {
            let client = new_client(subject);
            async move { client.create(None, None, &[]).await.map(|()| client) }
        };
        for created in race((0..20).map(create).collect()).await {
            clients.push(created.expect("a new session should be possible"));
        }
    }
    for client in &clients {
        client.fields().await.expect("the session should exist");
    }
    let store = subject.store();
    for _ in 0..2 {
        let revoked = store.revoke_everyone().await.expect("the store should answer");
        assert_eq!(revoked.stale_for, None);
        clients[0].through(subject).is_refused(Refusal::Any).await;
        for client in &clients[1..] {
            let answer = client.load(Projection::Named(&[]), None).await;
            assert!(answer.is_err(), "every session should have ended");
        }
        assert_eq!(list(&store, &ada).await, BTreeSet::new());
        clients = vec![signed_in(subject, &ada).await, session(subject, &[("a", "2")]).await];
        clients[1].through(subject).holds(&[("a", "2")]).await;
        assert_eq!(list(&store, &ada).await, ids(&[&clients[0]]));
    }
}
