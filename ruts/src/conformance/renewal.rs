//! A secret is renewed without anybody losing the session.

use std::time::Duration;

use super::{
    Subject,
    client::{Client, Refused, applied, race, secret, session, session_for, ttl},
};
use crate::{
    store::{AuthChange, Lookup, Projection, Store, Touch, Update, Updated},
    ttl::Ttl,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A session whose secret was renewed, with the former one and the new one.
async fn renewed<T: Subject>(subject: &T, grace: Duration) -> (Client<T::Store>, Client<T::Store>) {
    let former = session_for(subject, ttl(HOUR), None, &[("a", "1")]).await;
    subject.pass(subject.unit()).await;
    let new = former.with(secret());
    assert_eq!(former.renew(&new.secret, subject.unit(), grace).await, applied(0));
    (former, new)
}

fn touch() -> Option<Touch> {
    Some(Touch { idle: Ttl::require(HOUR), after: Duration::ZERO })
}

/// Uses a secret for something that counts.
async fn used<S: Store>(client: &Client<S>) {
    let loaded = client.load(Projection::Named(&[]), touch()).await;
    assert!(matches!(&loaded, Lookup::Found(loaded) if !loaded.meta.by_former), "{loaded:?}");
}

/// As long as nobody has used the new secret, the former one does all it did.
pub async fn a_renewed_secret_leaves_the_former_as_good(subject: &impl Subject) {
    let (former, new) = renewed(subject, Duration::from_millis(1)).await;
    for _ in 0..2 {
        subject.pass(subject.unit()).await;
        let Lookup::Found(loaded) = former.load(Projection::All, touch()).await else {
            panic!("the former secret opens nothing");
        };
        assert!(loaded.meta.by_former, "it is not told that it is the former secret");
        assert!(loaded.meta.unused < subject.unit(), "its use does not count");
    }
    assert_eq!(former.set("a", "2").await, applied(0));
    new.through(subject).holds(&[("a", "2")]).await;

    let signed_in = secret();
    let update = Update { rotate: Some(&signed_in), ..Update::default() };
    assert_eq!(former.update(update).await, applied(0), "it does not replace the secret");
    new.is_refused(Refused::NotFound).await;
    former.is_refused(Refused::Replaced).await;
    former.with(signed_in).holds(&[("a", "2")]).await;
}

/// Once the new secret was used, the former one is good for the grace and no longer.
// proves: CS-11
pub async fn a_secret_that_was_used_leaves_the_former_a_grace(subject: &impl Subject) {
    let unit = subject.unit();
    let (former, new) = renewed(subject, unit * 4).await;
    subject.pass(unit).await;
    used(&new).await;
    subject.pass(unit).await;
    assert_eq!(former.through(subject).set("a", "late").await, applied(0));
    new.through(subject).holds(&[("a", "late")]).await;
    used(&new).await;
    subject.pass(unit * 4).await;
    former.is_refused(Refused::Replaced).await;
    let Lookup::Replaced { ago } = former.load(Projection::All, None).await else {
        panic!("the former secret is not known");
    };
    assert!(ago < unit * 3, "the time since the grace ended is told as {ago:?}");
    new.through(subject).holds(&[("a", "late")]).await;
}

/// In its grace, the former secret reads, writes fields and ends the session, and that is all.
// proves: CS-11
pub async fn a_late_secret_changes_nothing_but_fields(subject: &impl Subject) {
    let (late, new) = renewed(subject, HOUR).await;
    used(&new).await;
    let other = secret();
    let refused = async |what: &str, update: Update<'_>| {
        let answer = late.update(update).await;
        assert!(matches!(answer, Lookup::Replaced { .. }), "{what} was answered by {answer:?}");
    };
    refused("a rotation", Update { rotate: Some(&other), ..Update::default() }).await;
    let absolute = super::client::in_any_case(HOUR);
    refused("a prolongation", Update { absolute, ..Update::default() }).await;
    refused("a sign-out", Update { sign: Some(AuthChange::Out), ..Update::default() }).await;
    let renewal = late.renew(&other, Duration::from_millis(1), HOUR).await;
    assert!(matches!(renewal, Lookup::Replaced { .. }), "a renewal was answered by {renewal:?}");
    let taken = late.take_and_rotate("a", Some(&other)).await;
    assert!(matches!(taken, Lookup::Replaced { .. }), "a rotation was answered by {taken:?}");

    subject.pass(subject.unit()).await;
    let Lookup::Found(loaded) = late.load(Projection::All, touch()).await else {
        panic!("a late secret reads nothing");
    };
    assert!(loaded.meta.unused >= subject.unit(), "the use of a late secret counts");
    assert_eq!(late.set("b", "2").await, applied(0));
    assert_eq!(late.take("a").await.map(|value| value.is_some()), Lookup::Found(true));
    new.through(subject).holds(&[("b", "2")]).await;
    assert_eq!(late.delete().await, Lookup::Found(()));
    new.is_refused(Refused::Ended).await;
}

/// A secret is renewed when it is old enough, and not before.
pub async fn a_young_secret_is_not_renewed(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let new = client.with(secret());
    assert_eq!(client.renew(&new.secret, HOUR, HOUR).await, Lookup::Found(Updated::NotDue));
    new.is_refused(Refused::NotFound).await;
    client.holds(&[]).await;
}

/// Of several renewals at once, one takes place, and nobody is left without a good secret.
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
                Lookup::Found(Updated::Applied { .. }) => {
                    winners += 1;
                    used(&new).await;
                }
                Lookup::Found(Updated::NotDue) => new.is_refused(Refused::NotFound).await,
                other => panic!("the renewal was answered by {other:?}"),
            }
        }
        assert_eq!(winners, 1);
        former.through(subject).holds(&[]).await;
    }
}

/// A new secret that was lost on its way is replaced by the next.
pub async fn a_secret_that_nobody_used_is_replaced(subject: &impl Subject) {
    let (former, lost) = renewed(subject, Duration::from_millis(1)).await;
    subject.pass(subject.unit()).await;
    let next = former.with(secret());
    assert_eq!(former.renew(&next.secret, subject.unit(), HOUR).await, applied(0));
    lost.is_refused(Refused::NotFound).await;
    former.holds(&[("a", "1")]).await;
    used(&next).await;
    former.through(subject).holds(&[("a", "1")]).await;
}
