//! Checks of the list of a principal's sessions.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::collections::BTreeSet;

use super::{
    client::{
        Client, Refusal, applied, bytes, new_client, principal, race, session, sign_in_of, ttl,
    },
    principal::{ALL, HOUR, at_most, change_principal, ids, list, revoke, signed_in},
    subject::Subject,
};
use crate::{
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, Change, FieldWrite, OnLimit, PageRequest, Projection, RevokeTarget,
        SessionPage, Store, StoreErrorKind,
    },
};

/// A list has only the sessions of its principal, each with only the requested fields.
pub async fn sessions_are_listed_by_their_principal(subject: &impl Subject) {
    let (ada, bob) = (principal(), principal());
    let first = signed_in(subject, &ada).await;
    let anonymous = session(subject, &[]).await;
    let (second, _) = anonymous.sign_in(&ada, None).await.expect("the store should answer");
    let other = signed_in(subject, &bob).await;
    let values = [bytes("phone"), bytes("secret")];
    let changes = [("device", &values[0]), ("draft", &values[1])]
        .map(|(name, value)| Change::Set(FieldWrite::new(name, value)));
    second.change(&changes).await.expect("the session should be live");

    let store = subject.store();
    assert_eq!(list(&store, &ada).await, ids(&[&first, &second]));
    assert_eq!(list(&store, &bob).await, ids(&[&other]));
    assert_eq!(list(&store, &principal()).await, BTreeSet::new());
    let (page, names) = (PageRequest::new(None, 10), Projection::Named(&["device", "absent"]));
    let listing =
        store.list_by_principal(&ada, page, names).await.expect("the store should answer");
    for listed in listing.sessions {
        let is_second = listed.id == second.id;
        let fields: Vec<_> = listed.loaded.fields.iter().map(|field| &*field.name).collect();
        assert_eq!(fields, if is_second { vec!["device"] } else { vec![] });
        let found = listed.loaded.meta.signed_in.expect("a principal should be signed in");
        assert_eq!((found.principal, found.assurance), (ada, Assurance::Aal1));
    }
    let (moved, _) = first.sign_in(&bob, None).await.expect("the store should answer");
    assert_eq!(list(&store, &ada).await, ids(&[&second]));
    assert_eq!(list(&store, &bob).await, ids(&[&other, &moved]));
}

/// Two principals that differ in any bit have different lists, limits and revocations.
pub async fn principals_differ_by_any_bit(subject: &impl Subject) {
    let base = *principal().as_bytes();
    let flips = (0..base.len()).map(|byte| (byte, [0, 5, 7][byte % 3]));
    let mut principals: Vec<_> = flips
        .map(|(byte, bit)| {
            let mut key = base;
            key[byte] ^= 1 << bit;
            key
        })
        .collect();
    principals.extend([base, [0; 32], [b'a'; 32], [b'A'; 32], [0xff; 32]]);
    let (store, mut sessions) = (subject.store(), Vec::new());
    for key in principals.into_iter().map(PrincipalKey::from_bytes) {
        let client = new_client(subject);
        let created = client.create_for(&key, at_most(1, OnLimit::Reject)).await;
        created.expect("the sessions of other principals should not count");
        sessions.push((key, client));
    }
    for (key, client) in &sessions {
        assert_eq!(list(&store, key).await, ids(&[client]));
    }
    let (key, ended) = sessions.remove(0);
    assert_eq!(revoke(&store, &key, ALL).await, ids(&[&ended]));
    for (key, client) in &sessions {
        client.through(subject).holds(&[]).await;
        assert_eq!(list(&store, key).await, ids(&[client]));
    }
}

/// The pages of a list follow each other without gaps.
pub async fn pages_omit_no_session(subject: &impl Subject) {
    let ada = principal();
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.push(signed_in(subject, &ada).await.id);
    }
    expected.sort();
    let store = subject.store();
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = PageRequest::new(after.as_ref(), 3);
        let SessionPage { sessions, next } = store
            .list_by_principal(&ada, page, Projection::All)
            .await
            .expect("the store should answer");
        assert!(sessions.len() <= 3);
        found.extend(sessions.iter().map(|listed| listed.id));
        pages += 1;
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!((found, pages), (expected, 3));
}

/// A session that has ended, or whose principal has signed out, is not listed and does not count
/// towards a limit.
pub async fn ended_sessions_are_neither_listed_nor_counted(subject: &impl Subject) {
    let unit = subject.unit();
    let ada = principal();
    let store = subject.store();
    let kept = signed_in(subject, &ada).await;
    let deleted = signed_in(subject, &ada).await;
    deleted.delete().await.expect("the session should be live");
    let idle = signed_in(subject, &ada).await;
    let who = sign_in_of(&ada);
    change_principal(&idle, AuthChange::In { who, idle: ttl(unit), absolute: ttl(HOUR) }).await;
    let absolute = signed_in(subject, &ada).await;
    change_principal(&absolute, AuthChange::In { who, idle: None, absolute: ttl(unit) }).await;
    let signed_out = signed_in(subject, &ada).await;
    change_principal(&signed_out, AuthChange::Out).await;
    subject.pass(unit * 2).await;
    assert_eq!(list(&store, &ada).await, ids(&[&kept]));
    let (guest, answer) = signed_out
        .sign_in(&ada, at_most(2, OnLimit::Reject))
        .await
        .expect("there should be room, because only one session is live");
    assert_eq!(answer, applied(0));
    change_principal(&guest, AuthChange::Out).await;
    assert_eq!(revoke(&store, &ada, ALL).await, ids(&[&kept]));
    guest.holds(&[]).await;
    assert_eq!(list(&store, &ada).await, BTreeSet::new());
}

/// A limit, a list and a revocation work for many sessions of one principal, more than a page of a
/// backend usually has.
// proves: ASVS-7.4.5
pub async fn a_principal_may_have_many_sessions(subject: &impl Subject) {
    const MANY: usize = 1_100;
    let (ada, store) = (principal(), subject.store());
    let begin_many = async || {
        let mut begun = BTreeSet::new();
        while begun.len() < MANY {
            let clients: Vec<_> = (0..20).map(|_| new_client(subject)).collect();
            begun.extend(clients.iter().map(|client| client.id));
            let sign_in = |client: Client<_>| async move { client.create_for(&ada, None).await };
            for answer in race(clients.into_iter().map(sign_in).collect()).await {
                answer.expect("there should be no limit");
            }
        }
        begun
    };
    let mut all = begin_many().await;
    assert_eq!(list(&store, &ada).await, all);
    let refused = new_client(subject).create_for(&ada, at_most(3, OnLimit::Reject)).await;
    assert_eq!(refused.map_err(|error| error.kind()), Err(StoreErrorKind::SessionLimit));
    assert_eq!(list(&store, &ada).await, all, "a refused sign-in should not end sessions");

    subject.pass(subject.unit()).await;
    let latest = signed_in(subject, &ada).await;
    subject.pass(subject.unit()).await;
    let own = new_client(subject);
    own.create_for(&ada, at_most(2, OnLimit::EndOldest))
        .await
        .expect("there should always be room");
    assert_eq!(list(&store, &ada).await, ids(&[&latest, &own]));

    all = begin_many().await;
    all.insert(latest.id);
    let others = RevokeTarget::All { except: Some(&own.id) };
    assert_eq!(revoke(&store, &ada, others).await, all);
    assert_eq!(list(&store, &ada).await, ids(&[&own]));
    latest.through(subject).is_refused(Refusal::Revoked).await;
    own.through(subject).holds(&[]).await;
}
