//! Checks of renewals: no client loses its session because the secret is renewed.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::{fmt::Debug, time::Duration};

use super::{
    client::{
        Client, Refusal, absolute_in, applied, bytes, race, secret, session,
        session_with_deadlines, touch, ttl,
    },
    subject::Subject,
};
use crate::{
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, Change, FieldWrite, NewSignIn, Projection, Refused, Renew, Store, TakeField,
        Update, Updated,
    },
    ttl::Ttl,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Creates a session and renews its secret. Returns clients with the former and the new secret.
async fn renewed<T: Subject>(subject: &T, grace: Duration) -> (Client<T::Store>, Client<T::Store>) {
    let former = session_with_deadlines(subject, ttl(HOUR), None, &[("a", "1")]).await;
    subject.pass(subject.unit()).await;
    let new = former.with(secret());
    assert_eq!(former.renew(&new.secret, subject.unit(), grace).await, applied(0));
    (former, new)
}

/// Uses the new secret with a touch.
async fn use_new_secret<S: Store>(client: &Client<S>) {
    let loaded = client.load(Projection::Named(&[]), touch(HOUR, Duration::ZERO)).await;
    assert!(matches!(&loaded, Ok(loaded) if !loaded.meta.by_former_secret), "{loaded:?}");
}

/// Until the new secret is used, the former secret keeps all its rights.
pub async fn the_former_secret_stays_valid_until_the_new_one_is_used(subject: &impl Subject) {
    let (former, new) = renewed(subject, Duration::from_millis(1)).await;
    for _ in 0..2 {
        subject.pass(subject.unit()).await;
        let loaded = former.load_live(Projection::All, touch(HOUR, Duration::ZERO)).await;
        assert!(
            loaded.meta.by_former_secret,
            "the answer should show that the secret is a former one"
        );
        assert!(loaded.meta.idle_for < subject.unit(), "the use of the former secret should count");
    }
    assert_eq!(former.set("a", "2").await, applied(0));
    new.through(subject).holds(&[("a", "2")]).await;

    let rotated = secret();
    assert_eq!(
        former.rotate(&rotated).await,
        applied(0),
        "the former secret should be able to replace the secret"
    );
    new.is_refused(Refusal::NotFound).await;
    former.is_refused(Refusal::Replaced).await;
    former.with(rotated).holds(&[("a", "2")]).await;
}

/// After the first use of the new secret, the former secret is valid only for the grace period.
// proves: CS-11
pub async fn using_the_new_secret_starts_the_grace_period(subject: &impl Subject) {
    let unit = subject.unit();
    let (former, new) = renewed(subject, unit * 4).await;
    subject.pass(unit).await;
    use_new_secret(&new).await;
    subject.pass(unit).await;
    assert_eq!(former.through(subject).set("a", "late").await, applied(0));
    new.through(subject).holds(&[("a", "late")]).await;
    use_new_secret(&new).await;
    subject.pass(unit * 4).await;
    former.is_refused(Refusal::Replaced).await;
    let Err(Refused::Replaced { ago }) = former.load(Projection::All, None).await else {
        panic!("the former secret should be recognised");
    };
    assert!(ago < unit * 3, "the time should count from the end of the grace period: {ago:?}");
    new.through(subject).holds(&[("a", "late")]).await;
}

/// Every write with the new secret starts the grace period, even a write that changes nothing.
pub async fn every_write_with_the_new_secret_starts_the_grace_period(subject: &impl Subject) {
    let unit = subject.unit();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let former = session(subject, &[]).await;
        let new = former.with(secret());
        clients.push((former, new));
    }
    subject.pass(unit).await;
    for (former, new) in &clients {
        let renewed = former.renew(&new.secret, unit, Duration::from_millis(1)).await;
        assert_eq!(renewed, applied(0));
    }
    let [(_, updating), (_, conflicting), (_, young), (_, taking)] = &clients[..] else {
        panic!("there should be four sessions");
    };
    assert_eq!(updating.set("a", "1").await, applied(0));
    let conflict = Ok(Updated::Conflict { current: None });
    assert_eq!(conflicting.set_if("a", Some("1"), "2").await, conflict);
    assert_eq!(young.renew(&secret(), HOUR, HOUR).await, Ok(Updated::NotDue));
    assert_eq!(taking.take("a").await, Ok(None));
    subject.pass(unit).await;
    for ((former, _), write) in
        clients.iter().zip(["an update", "a conflict", "a renewal", "a take"])
    {
        let answer = former.load(Projection::All, None).await;
        assert!(
            matches!(answer, Err(Refused::Replaced { .. })),
            "{write} should have started the grace period, but the answer was {answer:?}"
        );
    }
}

/// In its grace period, the former secret can read, change fields and delete the session, and do
/// nothing else.
// proves: CS-11
pub async fn a_secret_in_its_grace_period_has_few_rights(subject: &impl Subject) {
    let (late, new) = renewed(subject, HOUR).await;
    use_new_secret(&new).await;
    let other = secret();
    fn check<T: Debug>(call: &str, answer: Result<T, Refused>) {
        let is_refused = matches!(answer, Err(Refused::Replaced { .. }));
        assert!(is_refused, "{call} should be refused, but the answer was {answer:?}");
    }
    let update = Update::new(&[]);
    check("a rotation", late.rotate(&other).await);
    check("a new deadline", late.update(update.absolute(absolute_in(HOUR))).await);
    check("a sign-out", late.update(update.auth_change(AuthChange::Out)).await);
    check("a renewal", late.renew(&other, Duration::from_millis(1), HOUR).await);
    check("a take", late.take_with(TakeField::new("a").rotate(&other)).await);

    subject.pass(subject.unit()).await;
    let touch = touch(HOUR, Duration::ZERO);
    let loaded = late.load_live(Projection::All, touch).await;
    assert!(loaded.meta.by_former_secret, "the answer should show that the secret is a former one");
    let value = bytes("2");
    let changes = [Change::Set(FieldWrite::new("b", &value))];
    assert_eq!(late.update(Update::new(&changes).touch(touch)).await, applied(0));
    let taken = late.take_with(TakeField::new("a").touch(touch)).await;
    assert_eq!(taken.map(|value| value.is_some()), Ok(true));
    let new = new.through(subject);
    let idle_for = new.load_live(Projection::Named(&[]), None).await.meta.idle_for;
    assert!(idle_for >= subject.unit(), "a use in the grace period should not count: {idle_for:?}");
    new.holds(&[("b", "2")]).await;
    assert_eq!(late.delete().await, Ok(()));
    new.is_refused(Refusal::Deleted).await;
}

/// A secret is not renewed before it has the required age.
pub async fn a_young_secret_is_not_renewed(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let new = client.with(secret());
    assert_eq!(client.renew(&new.secret, HOUR, HOUR).await, Ok(Updated::NotDue));
    new.is_refused(Refusal::NotFound).await;
    client.holds(&[]).await;
}

/// Exactly one of several parallel renewals takes effect, and no client loses the session.
// proves: CS-11
pub async fn one_of_parallel_renewals_wins(subject: &impl Subject) {
    for _ in 0..subject.rounds().min(5) {
        let former = session(subject, &[]).await;
        subject.pass(subject.unit()).await;
        let unit = subject.unit();
        let renew = |_| {
            let (former, new) = (former.through(subject), former.with(secret()));
            async move {
                let answer = former.renew(&new.secret, unit, HOUR).await;
                (new, answer)
            }
        };
        let mut winners = 0;
        for (new, answer) in race((0..8).map(renew).collect()).await {
            match answer {
                Ok(Updated::Applied { .. }) => {
                    winners += 1;
                    use_new_secret(&new).await;
                }
                Ok(Updated::NotDue) => new.is_refused(Refusal::NotFound).await,
                other => panic!("a renewal should be applied or not be due, not answer {other:?}"),
            }
        }
        assert_eq!(winners, 1);
        former.through(subject).holds(&[]).await;
    }
}

/// If the new secret never reached the client, the next renewal replaces that secret.
pub async fn the_next_renewal_replaces_an_unused_secret(subject: &impl Subject) {
    let (former, lost) = renewed(subject, Duration::from_millis(1)).await;
    subject.pass(subject.unit()).await;
    let next = former.with(secret());
    assert_eq!(former.renew(&next.secret, subject.unit(), HOUR).await, applied(0));
    lost.is_refused(Refusal::NotFound).await;
    former.holds(&[("a", "1")]).await;
    use_new_secret(&next).await;
    former.through(subject).holds(&[("a", "1")]).await;
}

/// One update can renew the secret, touch the session and change the sign-in. The last step of a
/// request with a remembered session needs this.
pub async fn a_renewal_extends_the_session_in_the_same_update(subject: &impl Subject) {
    let principal = PrincipalKey::from_bytes([7; 32]);
    let former = session_with_deadlines(subject, ttl(HOUR), ttl(4 * HOUR), &[("a", "1")]).await;
    let (former, answer) = former.sign_in(&principal, None).await.expect("the store should answer");
    assert_eq!(answer, applied(0));
    subject.pass(subject.unit()).await;

    let new = former.with(secret());
    let renew = Renew::new(&new.secret, Ttl::from_duration(subject.unit()), HOUR);
    let sign = AuthChange::In {
        who: NewSignIn::new(&principal, Assurance::Remembered),
        idle: ttl(2 * HOUR),
        absolute: ttl(3 * HOUR),
    };
    let update =
        Update::new(&[]).renew(renew).auth_change(sign).touch(touch(2 * HOUR, Duration::ZERO));
    assert_eq!(former.update(update).await, applied(0));
    former.holds(&[("a", "1")]).await;
    let by_former = former.signed_in().await.map(|found| (found.principal, found.assurance));
    assert_eq!(by_former, Some((principal, Assurance::Remembered)));
    let loaded =
        new.load(Projection::Named(&[]), None).await.expect("the new secret should be valid");
    let signed_in = loaded.meta.signed_in.expect("the principal should stay signed in");
    assert_eq!((signed_in.principal, signed_in.assurance), (principal, Assurance::Remembered));
    assert!(loaded.meta.idle_remaining.is_some_and(|left| left > HOUR), "{:?}", loaded.meta);
    assert!(loaded.meta.idle_for < subject.unit(), "{:?}", loaded.meta);
}
