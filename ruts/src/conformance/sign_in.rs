//! Checks of sign-ins: deadlines, assurance, and the fields of another principal.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::time::Duration;

use super::{
    client::{
        Refusal, absolute_in, applied, bytes, new_client, principal, race, runner, secret, session,
        session_with_deadlines, sign_in_of, touch, ttl,
    },
    principal::{change_principal, ids, list, signed_in},
    subject::Subject,
};
use crate::{
    auth::Assurance,
    store::{
        AbsoluteDeadline, AuthChange, Change, Create, FieldWrite, NewSignIn, Projection, Store,
        TakeField, Update,
    },
    token::SessionId,
    ttl::Ttl,
};

/// A read returns the principal, the assurance, and the time since the sign-in.
// proves: NIST-5.1-d
pub async fn a_read_returns_the_principal(subject: &impl Subject) {
    let client = session(subject, &[("a", "1")]).await;
    assert_eq!(client.signed_in().await, None);
    let (ada, bob) = (principal(), principal());
    for (earlier, (principal, assurance)) in
        (0..).zip([(&ada, Assurance::Remembered), (&bob, Assurance::Aal3), (&ada, Assurance::Aal2)])
    {
        let who = NewSignIn::new(principal, assurance);
        change_principal(&client, AuthChange::In { who, idle: None, absolute: None }).await;
        subject.pass(subject.unit()).await;
        let client = client.through(subject);
        let meta = client.load_live(Projection::Named(&[]), None).await.meta;
        let found = meta.signed_in.expect("a principal should be signed in");
        assert_eq!((found.principal, found.assurance), (*principal, assurance));
        let (ago, unit) = (found.ago, subject.unit());
        assert!(
            ago >= unit && ago + unit * earlier <= meta.age,
            "the time should count from the sign-in: {meta:?}"
        );
    }
    client.set("a", "2").await.expect("the session should be live");
    let found = client.signed_in().await.map(|found| found.principal);
    assert_eq!(found, Some(ada), "a write should not sign the principal out");
    change_principal(&client, AuthChange::Out).await;
    assert_eq!(client.through(subject).signed_in().await, None);
    client.holds(&[("a", "2")]).await;

    let client = signed_in(subject, &ada).await;
    client.set("user", "ada").await.expect("the session should be live");
    let taken = client.take_with(TakeField::new("user").sign_out(true)).await;
    assert_eq!(taken, Ok(Some(bytes("ada"))));
    assert_eq!(client.through(subject).signed_in().await, None);
}

/// A creation with a sign-in keeps the principal, the assurance and both deadlines.
// proves: NIST-5.1-d
pub async fn a_creation_keeps_its_sign_in(subject: &impl Subject) {
    let unit = subject.unit();
    for assurance in [Assurance::Remembered, Assurance::Aal1, Assurance::Aal2, Assurance::Aal3] {
        let (client, ada) = (new_client(subject), principal());
        let create = Create::new(&client.id, &client.secret).idle(ttl(unit * 2));
        let create = create.absolute(ttl(unit * 4)).sign_in(NewSignIn::new(&ada, assurance));
        client.store.create(create).await.expect("a new session should be possible");
        let meta = client.through(subject).load_live(Projection::Named(&[]), None).await.meta;
        let found = meta.signed_in.as_ref().expect("a principal should be signed in");
        assert_eq!((found.principal, found.assurance), (ada, assurance));
        let [idle, absolute] = [(meta.idle_remaining, 2), (meta.absolute_remaining, 4)]
            .map(|(left, units)| left.is_some_and(|left| left <= unit * units));
        assert!(idle && absolute, "the session should have both deadlines: {meta:?}");
        assert!(meta.absolute_remaining > meta.idle_remaining, "{meta:?}");
        let later = Update::new(&[]).absolute(absolute_in(unit * 100));
        assert_eq!(client.update(later).await, applied(0));
        let left = client.load_live(Projection::Named(&[]), None).await.meta.absolute_remaining;
        assert!(
            left.is_some_and(|left| left <= unit * 4),
            "no update should exceed the deadline of the sign-in: {left:?}"
        );
    }
}

/// A sign-in replaces both deadlines, or removes them. A touch moves only the idle deadline.
// proves: NIST-5.2-b
pub async fn a_sign_in_restarts_both_deadlines(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session_with_deadlines(subject, ttl(unit * 6), ttl(unit * 6), &[]).await;
    let freed = session_with_deadlines(subject, ttl(unit * 6), ttl(unit * 6), &[]).await;
    let principal = principal();
    change_principal(
        &freed,
        AuthChange::In { who: sign_in_of(&principal), idle: None, absolute: None },
    )
    .await;
    let meta = freed.load_live(Projection::Named(&[]), None).await.meta;
    assert_eq!((meta.idle_remaining, meta.absolute_remaining), (None, None));
    for _ in 0..2 {
        subject.pass(unit * 4).await;
        let who = sign_in_of(&principal);
        change_principal(
            &client,
            AuthChange::In { who, idle: ttl(unit * 6), absolute: ttl(unit * 6) },
        )
        .await;
    }
    let meta = client.load_live(Projection::Named(&[]), None).await.meta;
    assert!(
        meta.idle_for < unit * 2,
        "the idle time should count from the sign-in: {:?}",
        meta.idle_for
    );
    subject.pass(unit * 4).await;
    client.holds(&[]).await;
    client.load_live(Projection::All, touch(unit * 6, Duration::ZERO)).await;
    subject.pass(unit * 4).await;
    client.is_refused(Refusal::NotFound).await;
}

/// A sign-out keeps both deadlines. No later update moves the absolute deadline beyond the deadline
/// of the sign-in.
pub async fn a_sign_out_keeps_both_deadlines(subject: &impl Subject) {
    let unit = subject.unit();
    let principal = principal();
    let who = sign_in_of(&principal);
    let deadlines = AuthChange::In { who, idle: ttl(unit * 4), absolute: ttl(unit * 8) };
    let [updating, taking] = [session(subject, &[]).await, session(subject, &[]).await];
    for client in [&updating, &taking] {
        change_principal(client, deadlines).await;
    }
    subject.pass(unit).await;
    change_principal(&updating, AuthChange::Out).await;
    let taken = taking.take_with(TakeField::new("a").sign_out(true)).await;
    assert_eq!(taken, Ok(None));
    for client in [updating, taking] {
        for absolute in [None, absolute_in(unit * 100)] {
            let update = Update::new(&[]).absolute(absolute);
            assert_eq!(client.update(update).await, applied(0));
            let meta = client.load_live(Projection::Named(&[]), None).await.meta;
            let [idle, absolute] = [(meta.idle_remaining, 3), (meta.absolute_remaining, 7)]
                .map(|(left, units)| left.is_some_and(|left| left <= unit * units));
            assert!(idle && absolute, "the deadlines should stay: {meta:?}");
            assert!(meta.absolute_remaining > meta.idle_remaining, "{meta:?}");
        }
    }
}

/// A lapse of the authentication lowers only the assurance. It does not count as a use or as a
/// sign-in.
pub async fn a_lapse_keeps_the_time_of_the_sign_in(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[("a", "1")]).await;
    let lapse = AuthChange::Lapse(Assurance::Remembered);
    change_principal(&client, lapse).await;
    assert_eq!(client.signed_in().await, None, "no principal should be signed in");

    let principal = principal();
    let who = NewSignIn::new(&principal, Assurance::Aal2);
    let deadlines = AuthChange::In { who, idle: ttl(unit * 6), absolute: ttl(unit * 6) };
    change_principal(&client, deadlines).await;
    subject.pass(unit * 4).await;
    change_principal(&client, lapse).await;
    let client = client.through(subject);
    let found = client.signed_in().await.expect("the principal should stay signed in");
    assert_eq!((found.principal, found.assurance), (principal, Assurance::Remembered));
    assert!(found.ago >= unit * 4, "the time should count from the sign-in: {:?}", found.ago);
    assert_eq!(list(&client.store, &principal).await, ids(&[&client]));
    client.holds(&[("a", "1")]).await;
    subject.pass(unit * 4).await;
    client.is_refused(Refusal::NotFound).await;
}

/// A sign-in of a different principal removes the fields of the former principal, unless the
/// sign-in keeps them. If no principal was signed in, the fields stay.
pub async fn another_principal_starts_without_fields(subject: &impl Subject) {
    let [ada, bob, eve] = [principal(), principal(), principal()];
    let client = session(subject, &[("cart", "1")]).await;
    let (client, _) = client.sign_in(&ada, None).await.expect("the store should answer");
    client.through(subject).holds(&[("cart", "1")]).await;
    let (client, _) = client.sign_in(&ada, None).await.expect("the store should answer");
    client.through(subject).holds(&[("cart", "1")]).await;

    let value = bytes("2");
    let changes = [Change::Remove("cart"), Change::Set(FieldWrite::new("name", &value))];
    let sign = AuthChange::In { who: sign_in_of(&bob), idle: None, absolute: None };
    let update = Update { changes: &changes, auth_change: Some(sign), ..Update::default() };
    assert_eq!(client.update(update).await, applied(0), "the sign-in should have removed the cart");
    client.through(subject).holds(&[("name", "2")]).await;

    let who = sign_in_of(&eve).keep_fields(true);
    let sign = AuthChange::In { who, idle: None, absolute: None };
    let update = Update { auth_change: Some(sign), ..Update::default() };
    assert_eq!(client.update(update).await, applied(0));
    client.through(subject).holds(&[("name", "2")]).await;
}

/// No update moves the absolute deadline beyond the absolute deadline of the sign-in. Only a new
/// sign-in does. The deadline of the sign-in replaces a deadline that counts from the creation.
// proves: ASVS-7.3.2
pub async fn no_update_exceeds_the_deadline_of_the_sign_in(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[]).await;
    let principal = principal();
    let who = sign_in_of(&principal);
    change_principal(&client, AuthChange::In { who, idle: None, absolute: ttl(unit * 4) }).await;
    for (from_now, from_creation) in [(1, None), (100, None), (100, ttl(unit))] {
        let deadline = AbsoluteDeadline::new(Ttl::from_duration(unit * from_now), from_creation);
        let update = Update::new(&[]).absolute(deadline);
        client.update(update).await.expect("the session should be live");
    }
    subject.pass(unit * 2).await;
    client.holds(&[]).await;
    subject.pass(unit * 3).await;
    client.is_refused(Refusal::NotFound).await;
    assert!(list(&subject.store(), &principal).await.is_empty());
}

/// Only one of several parallel sign-ins to one session wins, for example if a form was sent twice.
// proves: ASVS-7.2.4
pub async fn one_of_parallel_sign_ins_of_a_session_wins(subject: &impl Subject) {
    for round in 0..subject.rounds().min(20) {
        let ada = principal();
        let guest = match round % 2 {
            0 => session(subject, &[]).await,
            _ => signed_in(subject, &ada).await,
        };
        let runners = (0..3).map(|_| {
            let client = guest.through(subject);
            runner(async move {
                let (client, answer) =
                    client.sign_in(&ada, None).await.expect("the store should answer");
                answer.is_ok().then_some(client)
            })
        });
        let won: Vec<_> = race(runners.collect()).await.into_iter().flatten().collect();
        let [winner] = &won[..] else {
            panic!("one sign-in with the secret should win, not {}", won.len())
        };
        winner.through(subject).holds(&[]).await;
        assert_eq!(list(&subject.store(), &ada).await, ids(&[winner]));
    }
}

/// `inspect` needs no secret to return the principal. It returns nothing after the session has
/// ended.
pub async fn inspect_sees_the_principal_and_the_end(subject: &impl Subject) {
    let unit = subject.unit();
    let (ada, store) = (principal(), subject.store());
    let client = signed_in(subject, &ada).await;
    let inspect = async |id: &SessionId| store.inspect(id).await.expect("the store should answer");
    let owner = async |id: &SessionId| {
        let meta = inspect(id).await.expect("the session should exist");
        meta.signed_in.map(|signed_in| signed_in.principal)
    };
    let renewed = client.with(secret());
    client.rotate(&renewed.secret).await.expect("the session should be live");
    assert_eq!(owner(&client.id).await, Some(ada));
    change_principal(&renewed, AuthChange::Out).await;
    assert_eq!(owner(&client.id).await, None);
    renewed.delete().await.expect("the session should be live");
    assert_eq!(inspect(&client.id).await, None, "a deleted session should not be found");
    let short = session_with_deadlines(subject, ttl(unit), None, &[]).await;
    assert!(inspect(&short.id).await.is_some_and(|meta| meta.idle_remaining.is_some()));
    subject.pass(unit * 2).await;
    assert_eq!(inspect(&short.id).await, None, "an expired session should not be found");
    assert_eq!(
        inspect(&new_client(subject).id).await,
        None,
        "a session that never existed should not be found"
    );
    let revoked = signed_in(subject, &ada).await;
    store.revoke_everyone().await.expect("the store should answer");
    assert_eq!(inspect(&revoked.id).await, None, "no session should be found after all have ended");
}
