//! Checks of promise R: no read returns a state that was replaced or removed.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::time::Duration;

use super::{
    client::{Refusal, applied, bytes, secret, session, session_with_deadlines, ttl},
    subject::{Subject, advances_a_clock},
};
use crate::{
    store::{DELETED_RETENTION, Projection, Refused, Store},
    token::SecretHash,
};

/// An id gives no access without the session's own secret. Calls with a different secret have no
/// effect.
// proves: ASVS-7.2.1
pub async fn a_wrong_secret_opens_nothing(subject: &impl Subject) {
    let client = session(subject, &[("a", "1")]).await;
    client.with(secret()).is_refused(Refusal::NotFound).await;
    client.holds(&[("a", "1")]).await;
}

/// A secret that differs from the session's own secret in any bit is refused.
// proves: ASVS-7.2.1
pub async fn a_secret_is_compared_as_a_whole(subject: &impl Subject) {
    let client = session(subject, &[("a", "1")]).await;
    for byte in 0..32 {
        let mut other = *client.secret.as_bytes();
        other[byte] ^= 1 << (byte % 8);
        let thief = client.with(SecretHash::from_bytes(other));
        assert_eq!(thief.load(Projection::All, None).await, Err(Refused::NotFound));
        assert_eq!(thief.set("a", "2").await, Err(Refused::NotFound));
        assert_eq!(thief.take("a").await, Err(Refused::NotFound));
        assert_eq!(thief.delete().await, Err(Refused::NotFound));
    }
    client.holds(&[("a", "1")]).await;
}

/// After a write or removal, the next read of any client sees the change.
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
    assert_eq!(writer.take("b").await, Ok(Some(bytes("3"))));
    reader.holds(&[]).await;
}

/// After a deletion no client finds the session. Its last secret is refused with the time since the
/// deletion.
// proves: ASVS-7.4.1
pub async fn a_deletion_is_seen_at_once(subject: &impl Subject) {
    let client = session(subject, &[("a", "1")]).await;
    let other = client.through(subject);
    other.holds(&[("a", "1")]).await;
    assert_eq!(client.delete().await, Ok(()));
    subject.pass(subject.unit()).await;
    let Err(Refused::Deleted { ago }) = other.load(Projection::All, None).await else {
        panic!("the ended session should be recognised");
    };
    assert!(
        ago >= subject.unit() && ago < subject.unit() * 2,
        "the time should count from the deletion: {ago:?}"
    );
    assert!(matches!(other.delete().await, Err(Refused::Deleted { .. })));
}

/// The last secret of a deleted session is recognised for [`DELETED_RETENTION`]. A cleanup or an
/// earlier deadline of the session does not shorten this time. If the subject sleeps, the check
/// waits for only a few units.
pub async fn a_deleted_session_is_recognised_for_a_minute(subject: &impl Subject) {
    let unit = subject.unit();
    let is_long = advances_a_clock(subject).await;
    let lasting = session(subject, &[("a", "1")]).await;
    let short = session_with_deadlines(subject, ttl(unit), ttl(unit), &[("a", "1")]).await;
    let old = session(subject, &[("a", "1")]).await;
    let new = old.with(secret());
    old.rotate(&new.secret).await.expect("the session should be live");
    for client in [&lasting, &short] {
        assert_eq!(client.delete().await, Ok(()));
    }
    // The operations themselves take less than one unit.
    let retention = DELETED_RETENTION.saturating_sub(unit);
    subject.pass(if is_long { retention } else { retention.min(unit * 3) }).await;
    lasting.store.delete_expired(100).await.expect("the store should answer");
    for client in [&lasting, &short] {
        client.through(subject).is_refused(Refusal::Deleted).await;
    }
    old.through(subject).is_refused(Refusal::Replaced).await;
    new.through(subject).holds(&[("a", "1")]).await;
}

/// After a rotation the new secret is accepted, and the old one is refused.
// proves: ASVS-7.2.4
pub async fn a_rotation_is_seen_at_once(subject: &impl Subject) {
    let old = session(subject, &[("a", "1")]).await;
    let new = old.with(secret());
    assert_eq!(old.rotate(&new.secret).await, applied(0));
    old.is_refused(Refusal::Replaced).await;
    old.through(subject).is_refused(Refusal::Replaced).await;
    new.through(subject).holds(&[("a", "1")]).await;
    assert_eq!(new.set("a", "2").await, applied(0));
    new.holds(&[("a", "2")]).await;
}

/// Replacing a secret with itself, as a repeated attempt does, changes nothing. The former secret
/// does not become valid again.
pub async fn a_repeated_rotation_changes_nothing(subject: &impl Subject) {
    let old = session(subject, &[("a", "1")]).await;
    let new = old.with(secret());
    old.rotate(&new.secret).await.expect("the session should be live");
    subject.pass(subject.unit()).await;
    assert_eq!(new.rotate(&new.secret).await, applied(0));
    let (every, grace) = (Duration::from_millis(1), Duration::from_secs(3600));
    assert_eq!(new.renew(&new.secret, every, grace).await, applied(0));
    new.holds(&[("a", "1")]).await;
    let Err(Refused::Replaced { ago }) = old.load(Projection::All, None).await else {
        panic!("the replaced secret should still be recognised");
    };
    assert!(ago >= subject.unit(), "the time should count from the first rotation: {ago:?}");
}

/// A store recognises only the latest former secret. Earlier ones are refused as unknown.
pub async fn only_the_last_secret_counts_as_replaced(subject: &impl Subject) {
    let first = session(subject, &[]).await;
    let (second, third) = (first.with(secret()), first.with(secret()));
    first.rotate(&second.secret).await.expect("the session should be live");
    second.rotate(&third.secret).await.expect("the session should be live");
    first.is_refused(Refusal::NotFound).await;
    second.is_refused(Refusal::Replaced).await;
    third.holds(&[]).await;
}

/// A replaced secret is refused with the time since the replacement. A caller uses this time to
/// distinguish a late request from a stolen cookie.
pub async fn a_replaced_secret_gets_the_time_since(subject: &impl Subject) {
    let unit = subject.unit();
    let old = session(subject, &[]).await;
    subject.pass(unit * 2).await;
    let new = old.with(secret());
    old.rotate(&new.secret).await.expect("the session should be live");
    subject.pass(unit).await;
    let Err(Refused::Replaced { ago }) = old.load(Projection::All, None).await else {
        panic!("the replaced secret should be recognised");
    };
    assert!(ago >= unit && ago < unit * 2, "the time should count from the rotation: {ago:?}");

    new.delete().await.expect("the session should be live");
    let Err(Refused::Replaced { ago }) = old.load(Projection::All, None).await else {
        panic!("the replaced secret of a deleted session should be recognised");
    };
    assert!(ago >= unit, "the time should still count from the rotation: {ago:?}");
}
