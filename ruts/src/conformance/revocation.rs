//! Promise R: what was replaced or removed is not served any more, to anyone.

use super::{Subject, client::*};
use crate::store::{Lookup, Projection};

/// A id opens nothing without the session's own secret, and nothing that is tried with another
/// has an effect.
// proves: ASVS-7.2.1
pub async fn a_wrong_secret_opens_nothing(subject: &impl Subject) {
    let client = session(subject, &[("a", "1")]).await;
    client.with(secret()).is_refused(Refused::NotFound).await;
    client.holds(&[("a", "1")]).await;
}

/// A write or removal is seen by the next read, whoever makes it.
pub async fn a_write_is_seen_at_once(subject: &impl Subject) {
    let writer = session(subject, &[("a", "1")]).await;
    let reader = writer.through(subject);
    reader.holds(&[("a", "1")]).await;
    assert_eq!(writer.set("a", "2").await, applied(0));
    reader.holds(&[("a", "2")]).await;
    assert_eq!(writer.set("b", "3").await, applied(0));
    assert_eq!(reader.get("b").await.as_deref(), Some("3"));
    assert_eq!(writer.remove("a").await, applied(1));
    reader.holds(&[("b", "3")]).await;
    assert_eq!(writer.remove("a").await, applied(0));
    assert_eq!(writer.take("b").await, Lookup::Found(Some(bytes("3"))));
    reader.holds(&[]).await;
}

/// After a deletion nobody finds the session, and its last secret is told since when.
// proves: ASVS-7.4.1
pub async fn a_deletion_is_seen_at_once(subject: &impl Subject) {
    let client = session(subject, &[("a", "1")]).await;
    let other = client.through(subject);
    other.holds(&[("a", "1")]).await;
    assert_eq!(client.delete().await, Lookup::Found(()));
    subject.pass(subject.unit()).await;
    let Lookup::Ended { ago } = other.load(Projection::All, None).await else {
        panic!("the ended session is not recognised");
    };
    assert!(ago >= subject.unit() && ago < subject.unit() * 2, "{ago:?} is not the time since");
    assert!(matches!(other.delete().await, Lookup::Ended { .. }));
}

/// After a rotation the new secret opens everything and the old one nothing.
// proves: ASVS-7.2.4
pub async fn a_rotation_is_seen_at_once(subject: &impl Subject) {
    let old = session(subject, &[("a", "1")]).await;
    let new = old.with(secret());
    assert_eq!(old.rotate(&new.secret).await, applied(0));
    old.is_refused(Refused::Replaced).await;
    old.through(subject).is_refused(Refused::Replaced).await;
    new.through(subject).holds(&[("a", "1")]).await;
    assert_eq!(new.set("a", "2").await, applied(0));
    new.holds(&[("a", "2")]).await;
}

/// Replacing a secret by itself, as a repeated attempt does, forgets nothing and changes nothing.
pub async fn a_repeated_rotation_changes_nothing(subject: &impl Subject) {
    let old = session(subject, &[("a", "1")]).await;
    let new = old.with(secret());
    old.rotate(&new.secret).await;
    subject.pass(subject.unit()).await;
    assert_eq!(new.rotate(&new.secret).await, applied(0));
    new.holds(&[("a", "1")]).await;
    let Lookup::Replaced { ago } = old.load(Projection::All, None).await else {
        panic!("the replaced secret is forgotten");
    };
    assert!(ago >= subject.unit(), "{ago:?} is not the time since the first rotation");
}

/// Of the earlier secrets, the last is recognised, and those before it are like any other.
pub async fn only_the_last_secret_counts_as_replaced(subject: &impl Subject) {
    let first = session(subject, &[]).await;
    let (second, third) = (first.with(secret()), first.with(secret()));
    first.rotate(&second.secret).await;
    second.rotate(&third.secret).await;
    first.is_refused(Refused::NotFound).await;
    second.is_refused(Refused::Replaced).await;
    third.holds(&[]).await;
}

/// A replaced secret is answered with the time since, so that a late request can be told from a
/// stolen cookie.
pub async fn a_replaced_secret_says_since_when(subject: &impl Subject) {
    let unit = subject.unit();
    let old = session(subject, &[]).await;
    subject.pass(unit * 2).await;
    let new = old.with(secret());
    old.rotate(&new.secret).await;
    subject.pass(unit).await;
    let Lookup::Replaced { ago } = old.load(Projection::All, None).await else {
        panic!("the replaced secret is not recognised");
    };
    assert!(ago >= unit && ago < unit * 2, "{ago:?} is not the time since the rotation");

    new.delete().await;
    let Lookup::Replaced { ago } = old.load(Projection::All, None).await else {
        panic!("the replaced secret of a deleted session is not recognised");
    };
    assert!(ago >= unit, "{ago:?} is the time since the deletion");
}
