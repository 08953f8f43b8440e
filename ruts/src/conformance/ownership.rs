//! Checks of principals: sign-ins, lists, session limits and revocations.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    client::{
        Client, Refusal, absolute_in, applied, bytes, new_client, principal, race, runner, secret,
        session, session_with_deadlines, sign_in_of, touch, ttl,
    },
    subject::Subject,
};
use crate::{
    auth::{Assurance, PrincipalKey},
    store::{
        AbsoluteDeadline, AuthChange, Change, FieldWrite, NewSignIn, OnLimit, PageRequest,
        Precondition, Projection, Refused, Renew, RevokeTarget, SessionLimit, SessionPage, Store,
        StoreErrorKind, TakeField, Update, Updated,
    },
    token::SessionId,
    ttl::Ttl,
};

const ALL: RevokeTarget<'_> = RevokeTarget::All { except: None };
const HOUR: Duration = Duration::from_secs(3600);

/// Creates a session to which a principal is signed in.
async fn signed_in<T: Subject>(subject: &T, principal: &PrincipalKey) -> Client<T::Store> {
    let client = new_client(subject);
    client
        .create_for(principal, None)
        .await
        .expect("a session with a principal should be possible");
    client
}

/// Returns the sessions of a principal. A page may have fewer sessions than its limit, even if it is not the
/// last one.
async fn list<S: Store>(store: &Arc<S>, principal: &PrincipalKey) -> BTreeSet<SessionId> {
    let (mut sessions, mut after) = (BTreeSet::new(), None);
    loop {
        let page = PageRequest::new(after.as_ref(), 1000);
        let listed = store.list_by_principal(principal, page, Projection::Named(&[])).await;
        let listed = listed.expect("the store should answer");
        sessions.extend(listed.sessions.iter().map(|listed| listed.id));
        if listed.next.is_none() {
            return sessions;
        }
        assert!(listed.next > after, "each page should begin after the previous one");
        after = listed.next;
    }
}

async fn revoke<S: Store>(
    store: &Arc<S>,
    principal: &PrincipalKey,
    target: RevokeTarget<'_>,
) -> BTreeSet<SessionId> {
    let revoked = store.revoke(principal, target).await.expect("the store should answer");
    assert_eq!(revoked.stale_for, None);
    revoked.answer.into_iter().collect()
}

fn ids<S>(clients: &[&Client<S>]) -> BTreeSet<SessionId> {
    clients.iter().map(|client| client.id).collect()
}

fn at_most(sessions: u32, on_limit: OnLimit) -> Option<SessionLimit> {
    Some(SessionLimit::new(sessions, on_limit))
}

async fn change_principal<S: Store>(client: &Client<S>, change: AuthChange<'_>) {
    assert_eq!(client.update(Update::new(&[]).auth_change(change)).await, applied(0));
}

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

/// A sign-out keeps both deadlines. No later update moves the absolute deadline beyond the deadline of the
/// sign-in.
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

/// A lapse of the authentication lowers only the assurance. It does not count as a use or as a sign-in.
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

/// A sign-in of a different principal removes the fields of the former principal, unless the sign-in keeps
/// them. If no principal was signed in, the fields stay.
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

/// A session that has ended, or whose principal has signed out, is not listed and does not count towards a
/// limit.
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

/// A revocation by id ends the session with this id if the principal is signed in to it. It ends no other
/// session.
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

/// The last two secrets of a revoked session are refused as revoked, until the deadline that the session had.
/// Any other secret is unknown.
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

/// If a sign-in overlaps with a revocation, its session ends too, or is listed after the revocation.
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

/// Above the limit, the sessions with the oldest sign-ins end. A sign-in that is refused or does not apply
/// ends none.
pub async fn a_limit_ends_the_oldest_session(subject: &impl Subject) {
    let ada = principal();
    let limit = at_most(3, OnLimit::EndOldest);
    let mut clients = Vec::new();
    for _ in 0..5 {
        // Makes the times of the sign-ins differ, so that the oldest session is known.
        subject.pass(Duration::from_millis(20)).await;
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
    subject.pass(Duration::from_millis(20)).await;
    let answer = third.renew(&renewed.secret, Duration::from_millis(1), HOUR).await;
    assert_eq!(answer, applied(0));
    // The former secret is now in its grace period, in which it may not sign in.
    assert_eq!(renewed.set("a", "1").await, applied(0));
    assert!(matches!(third.update(update).await, Err(Refused::Replaced { .. })));
    let listed = list(&store, &ada).await;
    assert_eq!(listed, ids(&[first, second, third]), "a refused sign-in should not end a session");

    // The order is that of the sign-ins, not of the creations.
    let (first, _) = first.sign_in(&ada, limit).await.expect("there should always be room");
    subject.pass(Duration::from_millis(20)).await;
    let new = new_client(subject);
    new.create_for(&ada, limit).await.expect("there should always be room");
    assert_eq!(list(&store, &ada).await, ids(&[&first, third, &new]));
}

/// A limit, a list and a revocation work for many sessions of one principal, more than a page of a backend
/// usually has.
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

    subject.pass(Duration::from_millis(20)).await;
    let latest = signed_in(subject, &ada).await;
    subject.pass(Duration::from_millis(20)).await;
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

/// Parallel sign-ins do not exceed the limit, and only [`OnLimit::Reject`] refuses one. Afterwards, the
/// principal has as many sessions as the limit allows.
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

/// `inspect` needs no secret to return the principal. It returns nothing after the session has ended.
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
