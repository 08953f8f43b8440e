//! Checks of the session limit of a principal.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::time::Duration;

use super::{
    client::{Refusal, applied, bytes, new_client, principal, race, secret, session, sign_in_of},
    principal::{ALL, HOUR, at_most, ids, list, revoke},
    subject::Subject,
};
use crate::{
    store::{AuthChange, OnLimit, Precondition, Refused, Renew, StoreErrorKind, Update, Updated},
    ttl::Ttl,
};

/// A sign-in that is refused at the limit changes nothing.
pub async fn a_limit_refuses_another_sign_in(subject: &impl Subject) {
    let ada = principal();
    let limit = at_most(2, OnLimit::Reject);
    let first = new_client(subject);
    first.create_for(&ada, limit).await.expect("there should be room");
    let second = new_client(subject);
    second.create_for(&ada, limit).await.expect("there should be room");

    let new = new_client(subject);
    let refused = new.create_for(&ada, limit).await.map_err(|error| error.kind());
    assert_eq!(refused, Err(StoreErrorKind::SessionLimit));
    new.is_refused(Refusal::NotFound).await;
    let guest = session(subject, &[("cart", "1")]).await;
    let refused = guest.sign_in(&ada, limit).await.map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(StoreErrorKind::SessionLimit));
    guest.through(subject).holds(&[("cart", "1")]).await;
    assert_eq!(guest.signed_in().await, None);

    let (first, again) = first
        .sign_in(&ada, limit)
        .await
        .expect("the session that signs in should not count towards the limit");
    assert_eq!(again, applied(0));
    first.delete().await.expect("the session should be live");
    let (guest, answer) = guest.sign_in(&ada, limit).await.expect("there should be room again");
    assert_eq!(answer, applied(0));
    assert_eq!(list(&subject.store(), &ada).await, ids(&[&second, &guest]));
}

/// Above the limit, the sessions with the oldest sign-ins end. A sign-in that is refused or does
/// not apply ends none.
pub async fn a_limit_ends_the_oldest_session(subject: &impl Subject) {
    let ada = principal();
    let limit = at_most(3, OnLimit::EndOldest);
    let mut clients = Vec::new();
    for _ in 0..5 {
        // Makes the times of the sign-ins differ, so that the oldest session is known. A clock may
        // count whole units.
        subject.pass(subject.unit()).await;
        let client = new_client(subject);
        client.create_for(&ada, limit).await.expect("there should always be room");
        clients.push(client);
    }
    let store = subject.store();
    assert_eq!(list(&store, &ada).await, ids(&clients[2..].iter().collect::<Vec<_>>()));
    for ended in &clients[..2] {
        ended.through(subject).is_refused(Refusal::Revoked).await;
    }
    let [first, second, third] = &clients[2..] else { panic!("three sessions should be left") };
    let one = at_most(1, OnLimit::EndOldest);
    let (_, answer) =
        third.with(secret()).sign_in(&ada, one).await.expect("the store should answer");
    assert_eq!(answer, Err(Refused::NotFound));
    let who = sign_in_of(&ada).limit(one);
    let sign_in = AuthChange::In { who, idle: None, absolute: None };
    let update = Update::new(&[]).auth_change(sign_in);
    let expected = bytes("1");
    let conflicting = update.precondition(Precondition::new("absent", Some(&expected)));
    let conflict = Ok(Updated::Conflict { current: None });
    assert_eq!(third.update(conflicting).await, conflict);
    let renewed = third.with(secret());
    let young = update.renew(Renew::new(&renewed.secret, Ttl::from_duration(HOUR), HOUR));
    assert_eq!(third.update(young).await, Ok(Updated::NotDue));
    subject.pass(subject.unit()).await;
    let answer = third.renew(&renewed.secret, Duration::from_millis(1), HOUR).await;
    assert_eq!(answer, applied(0));
    // The former secret is now in its grace period, in which it may not sign in.
    assert_eq!(renewed.set("a", "1").await, applied(0));
    assert!(matches!(third.update(update).await, Err(Refused::Replaced { .. })));
    let listed = list(&store, &ada).await;
    assert_eq!(listed, ids(&[first, second, third]), "a refused sign-in should not end a session");

    // The order is that of the sign-ins, not of the creations.
    let (first, _) = first.sign_in(&ada, limit).await.expect("there should always be room");
    subject.pass(subject.unit()).await;
    let new = new_client(subject);
    new.create_for(&ada, limit).await.expect("there should always be room");
    assert_eq!(list(&store, &ada).await, ids(&[&first, third, &new]));
}

/// A refused sign-in does not count towards the limit. A client with the cookie of an ended session
/// can sign in again.
// proves: ASVS-7.1.2
pub async fn a_refused_sign_in_does_not_count(subject: &impl Subject) {
    let ada = principal();
    for on_limit in [OnLimit::Reject, OnLimit::EndOldest] {
        let limit = at_most(2, on_limit);
        let first = new_client(subject);
        first.create_for(&ada, limit).await.expect("there should be room");
        for _ in 0..2 {
            let ended = new_client(subject);
            let (_, answer) = ended.sign_in(&ada, limit).await.expect("the store should answer");
            assert_eq!(answer, Err(Refused::NotFound));
        }
        let second = new_client(subject);
        second.create_for(&ada, limit).await.expect("there should be room for one more");
        assert_eq!(list(&subject.store(), &ada).await, ids(&[&first, &second]));
        revoke(&subject.store(), &ada, ALL).await;
    }
}

/// Parallel sign-ins do not exceed the limit, and only [`OnLimit::Reject`] refuses one. Afterwards,
/// the principal has as many sessions as the limit allows.
// proves: ASVS-7.1.2
pub async fn a_limit_holds_for_parallel_sign_ins(subject: &impl Subject) {
    let limits = [1, 3].map(|most| [OnLimit::Reject, OnLimit::EndOldest].map(|then| (most, then)));
    let both = limits.into_iter().flatten().flat_map(|limit| [(limit, true), (limit, false)]);
    for ((most, on_limit), is_new) in both {
        let ada = principal();
        let limit = at_most(most, on_limit);
        let sign_in = |_| {
            let client = new_client(subject).through(subject);
            async move {
                let signed_in = match is_new {
                    true => client.create_for(&ada, limit).await,
                    false => {
                        client.create(None, None, &[]).await.expect("the store should answer");
                        client.sign_in(&ada, limit).await.map(|(_, answer)| assert!(answer.is_ok()))
                    }
                };
                signed_in.map_err(|error| error.kind())
            }
        };
        // The second race begins at the limit.
        for room in [most as usize, 0] {
            let answers = race((0..12).map(sign_in).collect()).await;
            let refused = answers.iter().filter(|answer| answer.is_err()).count();
            let expected = if on_limit == OnLimit::Reject { answers.len() - room } else { 0 };
            assert!(
                answers
                    .iter()
                    .all(|answer| !answer.is_err_and(|kind| kind != StoreErrorKind::SessionLimit))
                    && refused == expected,
                "{on_limit:?} at {most} should refuse {expected} sign-ins, not answer {answers:?}"
            );
            let found = list(&subject.store(), &ada).await.len();
            assert_eq!(
                found, most as usize,
                "{on_limit:?} at {most} should leave the most sessions"
            );
        }
    }
}
