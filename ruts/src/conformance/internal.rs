//! Checks of internal credentials, with which a job uses a session without its secret.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::time::Duration;

use super::{
    client::{
        absolute_in, applied, bytes, fresh, new_client, principal, secret, session, sign_in_of,
        touch, ttl,
    },
    subject::Subject,
};
use crate::{
    store::{
        AuthChange, Change, Create, Credentials, FieldWrite, Precondition, Projection, Refused,
        Renew, RevokeTarget, Store, StoreResult, TakeField, Update, Updated,
    },
    token::SessionId,
    ttl::Ttl,
};

async fn update<S: Store>(
    store: &S,
    id: &SessionId,
    update: Update<'_>,
) -> Result<Updated, Refused> {
    let updated = store.update(Credentials::internal(id), update).await;
    fresh(updated.expect("the store should answer"))
}

async fn set<S: Store>(store: &S, id: &SessionId, value: &str) -> Result<Updated, Refused> {
    let value = bytes(value);
    update(store, id, Update::new(&[Change::Set(FieldWrite::new("a", &value))])).await
}

fn refusal<T>(answer: StoreResult<T>) -> Option<Refused> {
    answer.expect("the store should answer").err()
}

/// A call with internal credentials reads and changes fields, as a call with the secret does. The
/// client of the session sees the changes immediately.
pub async fn internal_credentials_open_a_live_session(subject: &impl Subject) {
    let client = session(subject, &[("a", "1"), ("b", "2")]).await;
    client.through(subject).holds(&[("a", "1"), ("b", "2")]).await;
    let (store, id) = (subject.store(), client.id);
    for (projection, expected) in [
        (Projection::All, vec!["1", "2"]),
        (Projection::Named(&["a", "absent"]), vec!["1"]),
        (Projection::Named(&[]), vec![]),
    ] {
        let loaded = store.load(Credentials::internal(&id), projection, None).await;
        let loaded = loaded.expect("the store should answer").expect("the session should be live");
        let mut values: Vec<_> = loaded.fields.into_iter().map(|field| field.value).collect();
        values.sort();
        assert_eq!(values, expected.into_iter().map(bytes).collect::<Vec<_>>());
        assert!(!loaded.meta.by_former_secret);
    }
    assert_eq!(set(&*store, &id, "3").await, applied(0));
    client.through(subject).holds(&[("a", "3"), ("b", "2")]).await;
    let (three, four) = (bytes("3"), bytes("4"));
    let changes = [Change::Set(FieldWrite::new("a", &four)), Change::Remove("b")];
    let conflicting = Precondition::new("a", Some(&four));
    let conflict = update(&*store, &id, Update::new(&changes).precondition(conflicting)).await;
    assert_eq!(conflict, Ok(Updated::Conflict { current: Some(bytes("3")) }));
    let holding = Precondition::new("a", Some(&three));
    let updated = update(&*store, &id, Update::new(&changes).precondition(holding)).await;
    assert_eq!(updated, applied(1));
    client.through(subject).holds(&[("a", "4")]).await;
    let taken = store.take(Credentials::internal(&id), TakeField::new("a")).await;
    assert_eq!(fresh(taken.expect("the store should answer")), Ok(Some(bytes("4"))));
    client.through(subject).holds(&[]).await;
}

/// Without a touch, a call with internal credentials moves no deadline. The call does not count as
/// the first use of a renewed secret.
pub async fn internal_credentials_use_nothing(subject: &impl Subject) {
    let unit = subject.unit();
    let (store, former) = (subject.store(), new_client(subject));
    former.create(ttl(unit * 4), None, &[]).await.expect("a new session should be possible");
    subject.pass(unit).await;
    let new = former.with(secret());
    let renewed = former.renew(&new.secret, Duration::from_millis(1), unit).await;
    assert_eq!(renewed, applied(0));
    let loaded = store.load(Credentials::internal(&former.id), Projection::All, None).await;
    assert!(refusal(loaded).is_none());
    assert_eq!(set(&*store, &former.id, "1").await, applied(0));
    subject.pass(unit * 2).await;
    former.holds(&[("a", "1")]).await;
    let meta = new.load_live(Projection::Named(&[]), None).await.meta;
    assert!(
        meta.idle_for >= unit * 3,
        "the idle time should count from the creation: {:?}",
        meta.idle_for
    );
    subject.pass(unit * 2).await;
    let loaded = store.load(Credentials::internal(&former.id), Projection::All, None).await;
    assert_eq!(
        refusal(loaded),
        Some(Refused::NotFound),
        "a call without a touch should not prolong the session"
    );
}

/// A touch with internal credentials moves the idle deadline, in a read, an update and a take. The
/// call does not count as the first use of a renewed secret.
pub async fn a_touch_with_internal_credentials_counts(subject: &impl Subject) {
    let unit = subject.unit();
    let (store, former) = (subject.store(), new_client(subject));
    former.create(ttl(unit * 6), None, &[]).await.expect("a new session should be possible");
    let new = former.with(secret());
    subject.pass(unit).await;
    let renewed = former.renew(&new.secret, Duration::from_millis(1), unit).await;
    assert_eq!(renewed, applied(0));
    let (internal, id) = (Credentials::internal(&former.id), former.id);
    let touch = touch(unit * 6, Duration::ZERO);

    subject.pass(unit * 3).await;
    let loaded =
        store.load(internal, Projection::All, touch).await.expect("the store should answer");
    let meta = loaded.expect("the session should be live").meta;
    assert!(meta.idle_for < unit, "the idle time should count from the touch: {:?}", meta.idle_for);
    subject.pass(unit * 3).await;
    let value = bytes("1");
    let changes = [Change::Set(FieldWrite::new("a", &value))];
    assert_eq!(update(&*store, &id, Update::new(&changes).touch(touch)).await, applied(0));
    subject.pass(unit * 3).await;
    let taken = store.take(internal, TakeField::new("a").touch(touch)).await;
    assert_eq!(fresh(taken.expect("the store should answer")), Ok(Some(bytes("1"))));
    subject.pass(unit * 3).await;
    former.through(subject).holds(&[]).await;
}

/// Internal credentials cannot replace the secret, the principal or the absolute deadline.
pub async fn internal_credentials_have_few_rights(subject: &impl Subject) {
    let ada = principal();
    let (store, client) = (subject.store(), new_client(subject));
    client.create_for(&ada, None).await.expect("a new session should be possible");
    let (id, other, hour) = (client.id, secret(), Duration::from_secs(3600));
    let bob = principal();
    let sign_in = AuthChange::In { who: sign_in_of(&bob), idle: None, absolute: None };
    let update = Update::new(&[]);
    for (call, update) in [
        ("rotation", update.rotate(&other)),
        ("renewal", update.renew(Renew::new(&other, Ttl::from_millis(1), hour))),
        ("deadline", update.absolute(absolute_in(hour))),
        ("sign-out", update.auth_change(AuthChange::Out)),
        ("sign-in", update.auth_change(sign_in)),
    ] {
        let answer = self::update(&*store, &id, update).await;
        assert!(matches!(answer, Err(Refused::Replaced { .. })), "{call}: {answer:?}");
    }
    for take in [TakeField::new("a").rotate(&other), TakeField::new("a").sign_out(true)] {
        let taken = store.take(Credentials::internal(&id), take).await;
        assert!(matches!(refusal(taken), Some(Refused::Replaced { .. })));
    }
    let signed_in = client.through(subject).signed_in().await;
    assert_eq!(signed_in.map(|signed_in| signed_in.principal), Some(ada));
    assert!(client.with(other).load(Projection::All, None).await.is_err());
}

/// Internal credentials are refused for a session that has ended or never existed. A call with them
/// never creates a session.
pub async fn internal_credentials_open_no_ended_session(subject: &impl Subject) {
    let (ada, store) = (principal(), subject.store());
    let absent = new_client(subject);
    let deleted = session(subject, &[("a", "1")]).await;
    let credentials = Credentials::internal(&deleted.id);
    let answer = store.delete(credentials).await.expect("the store should answer");
    assert_eq!(fresh(answer), Ok(()), "a job should be able to delete a session");
    assert!(matches!(deleted.load(Projection::All, None).await, Err(Refused::Deleted { .. })));
    let revoked = new_client(subject);
    let create = Create::new(&revoked.id, &revoked.secret).sign_in(sign_in_of(&ada));
    store.create(create).await.expect("a new session should be possible");
    let target = RevokeTarget::One(&revoked.id);
    store.revoke(&ada, target).await.expect("the store should answer");
    for client in [&absent, &deleted, &revoked] {
        let credentials = Credentials::internal(&client.id);
        let is_expected = |refused: Option<Refused>| match refused {
            Some(Refused::NotFound) => client.id == absent.id,
            Some(Refused::Deleted { .. }) => client.id == deleted.id,
            Some(Refused::Revoked) => client.id == revoked.id,
            _ => false,
        };
        assert!(is_expected(refusal(store.load(credentials, Projection::All, None).await)));
        assert!(is_expected(set(&*store, &client.id, "revived").await.err()));
        assert!(is_expected(refusal(store.take(credentials, TakeField::new("a")).await)));
        assert!(is_expected(refusal(store.delete(credentials).await)));
        let found = client.through(subject).load(Projection::All, None).await;
        assert!(is_expected(found.err()), "a job should not revive the session");
    }
}
