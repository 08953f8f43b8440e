//! Checks of promise E: nothing is served at or after its expiry.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::time::Duration;

use super::{
    client::{
        Refusal, absolute_in, applied, bytes, new_client, principal, secret, session,
        session_with_deadlines, sign_in_of, touch, ttl,
    },
    principal::HOUR,
    subject::{Subject, advances_a_clock},
};
use crate::{
    store::{
        AbsoluteDeadline, AuthChange, Change, Expiry, FieldWrite, Projection, Refused,
        RevokeTarget, Store, Update, Updated,
    },
    token::SessionId,
    ttl::Ttl,
};

/// A field is served until its lifetime is over. The other fields stay.
pub async fn a_field_expires_after_its_lifetime(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[("stays", "1")]).await;
    client.set_for("goes", "2", unit * 2).await.expect("the session should be live");
    subject.pass(unit).await;
    client.holds(&[("goes", "2"), ("stays", "1")]).await;
    subject.pass(unit * 2).await;
    client.holds(&[("stays", "1")]).await;
    assert_eq!(client.get("goes").await, None);
}

/// A write with a TTL restarts the lifetime of the field. A write without a TTL removes the earlier
/// TTL.
pub async fn a_write_resets_the_lifetime(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[]).await;
    client.set_for("renewed", "1", unit * 2).await.expect("the session should be live");
    client.set_for("freed", "1", unit * 2).await.expect("the session should be live");
    subject.pass(unit).await;
    client.set_for("renewed", "2", unit * 4).await.expect("the session should be live");
    client.set("freed", "2").await.expect("the session should be live");
    subject.pass(unit * 2).await;
    client.holds(&[("freed", "2"), ("renewed", "2")]).await;
    subject.pass(unit * 3).await;
    client.holds(&[("freed", "2")]).await;
}

/// A call can change the lifetime of a present field and keep its value.
pub async fn a_lifetime_can_be_changed(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[("shortened", "1")]).await;
    client.set_for("prolonged", "1", unit * 2).await.expect("the session should be live");
    assert_eq!(client.expire("shortened", unit).await, applied(1));
    assert_eq!(client.expire("prolonged", unit * 100).await, applied(1));
    assert_eq!(client.expire("absent", unit * 100).await, applied(0));
    subject.pass(unit * 3).await;
    client.holds(&[("prolonged", "1")]).await;
}

/// The shortest lifetime ends. A store that counts longer units must not round it to no lifetime.
pub async fn the_shortest_lifetime_ends(subject: &impl Subject) {
    let (unit, shortest) = (subject.unit(), Ttl::from_millis(1));
    let client = new_client(subject);
    let value = bytes("1");
    let created = [FieldWrite::new("created", &value).ttl(shortest)];
    client.create(None, None, &created).await.expect("a new session should be possible");
    let changes = [
        Change::Set(FieldWrite::new("written", &value).ttl(shortest)),
        Change::Set(FieldWrite::new("expired", &value)),
        Change::Expire("expired", shortest),
    ];
    client.change(&changes).await.expect("the session should be live");

    let begin = async |idle, absolute| session_with_deadlines(subject, idle, absolute, &[]).await;
    let mut short = vec![begin(Some(shortest), None).await, begin(None, Some(shortest)).await];
    let ada = principal();
    let update = Update::new(&[]);
    let sign_in = |idle, absolute| {
        update.auth_change(AuthChange::In { who: sign_in_of(&ada), idle, absolute })
    };
    for update in [
        update.touch(touch(shortest.as_duration(), Duration::ZERO)),
        update.absolute(absolute_in(shortest.as_duration())),
        sign_in(Some(shortest), None),
        sign_in(None, Some(shortest)),
    ] {
        let client = begin(ttl(unit * 100), ttl(unit * 100)).await;
        assert_eq!(client.update(update).await, applied(0));
        short.push(client);
    }
    subject.pass(unit * 2).await;
    client.holds(&[]).await;
    for client in short {
        client.is_refused(Refusal::NotFound).await;
    }
}

/// A lifetime of weeks, years, or a century is kept exactly. A store that counts milliseconds must
/// not wrap or limit it.
pub async fn long_lifetimes_are_kept(subject: &impl Subject) {
    let (ada, value) = (principal(), bytes("1"));
    // The numbers of milliseconds of 25 and 50 days are beyond 31 and 32 bits.
    for life in [7, 25, 50, 400, 36_500].map(|days| Ttl::from_secs(days * 24 * 60 * 60)) {
        let all = life.as_duration();
        let check = |what: &str, left: Option<Duration>| {
            let is_kept = left.is_some_and(|left| left <= all && left + HOUR >= all);
            assert!(is_kept, "{what} should have about {all:?} left, not {left:?}");
        };
        let client = new_client(subject);
        let created = [FieldWrite::new("created", &value).ttl(life)];
        client
            .create(Some(life), Some(life), &created)
            .await
            .expect("a new session should be possible");
        let changes = [
            Change::Set(FieldWrite::new("written", &value).ttl(life)),
            Change::Set(FieldWrite::new("prolonged", &value).ttl(ttl(HOUR))),
            Change::Expire("prolonged", life),
        ];
        assert_eq!(client.change(&changes).await, applied(1));
        let sign_in =
            AuthChange::In { who: sign_in_of(&ada), idle: Some(life), absolute: Some(life) };
        let update = Update::new(&[]);
        let deadline = AbsoluteDeadline::new(life, Some(life));
        let touch = touch(all, Duration::ZERO);
        let short = update.touch(self::touch(HOUR, Duration::ZERO)).absolute(absolute_in(HOUR));
        for (after, update) in [
            ("a creation", None),
            ("an update", Some(update.touch(touch).absolute(deadline))),
            ("a sign-in", Some(update.auth_change(sign_in))),
        ] {
            if let Some(update) = update {
                assert_eq!(client.update(short).await, applied(0));
                assert_eq!(client.update(update).await, applied(0));
            }
            let loaded = client.through(subject).load_live(Projection::All, None).await;
            check(&format!("the idle time after {after}"), loaded.meta.idle_remaining);
            check(&format!("the absolute time after {after}"), loaded.meta.absolute_remaining);
            assert_eq!(loaded.fields.len(), 3);
            for field in loaded.fields {
                check(&field.name, field.ttl);
            }
        }
        let meta = client.load_live(Projection::Named(&[]), touch).await.meta;
        check("the idle time after a read", meta.idle_remaining);
    }
}

/// A session and its fields live for a month. The check ends early if the subject sleeps.
pub async fn a_session_lives_for_a_month(subject: &impl Subject) {
    let day = HOUR * 24;
    if !advances_a_clock(subject).await {
        return;
    }
    let idle = session_with_deadlines(subject, ttl(day * 30), None, &[]).await;
    let absolute = session_with_deadlines(subject, None, ttl(day * 30), &[]).await;
    let lasting = session(subject, &[]).await;
    for client in [&idle, &absolute, &lasting] {
        client.set_for("a", "1", day * 30).await.expect("the session should be live");
    }
    subject.pass(day * 29).await;
    lasting.store.delete_expired(100).await.expect("the store should answer");
    for client in [&idle, &absolute, &lasting] {
        client.holds(&[("a", "1")]).await;
    }
    subject.pass(day * 2).await;
    idle.is_refused(Refusal::NotFound).await;
    absolute.is_refused(Refusal::NotFound).await;
    lasting.holds(&[]).await;
}

/// An expired field is absent to every operation, even before its memory is freed.
pub async fn an_expired_field_is_absent_to_every_operation(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[]).await;
    for name in ["expected", "taken", "removed", "expired"] {
        client.set_for(name, "1", unit).await.expect("the session should be live");
    }
    subject.pass(unit * 2).await;
    // The take comes first, because an update may free the expired fields.
    assert_eq!(client.take("taken").await, Ok(None));
    let conflict = Ok(Updated::Conflict { current: None });
    assert_eq!(client.set_if("expected", Some("1"), "2").await, conflict);
    assert_eq!(client.set_if("expected", None, "3").await, applied(0));
    assert_eq!(client.remove("removed").await, applied(0));
    assert_eq!(client.expire("expired", unit * 100).await, applied(0));
    client.holds(&[("expected", "3")]).await;
}

/// A session ends when it has not been used for its idle time. A call with a wrong secret is not a
/// use.
// proves: ASVS-7.3.1 NIST-5.2-a
pub async fn a_session_ends_when_idle(subject: &impl Subject) {
    let unit = subject.unit();
    let client =
        session_with_deadlines(subject, ttl(unit * 2), ttl(unit * 100), &[("a", "1")]).await;
    subject.pass(unit).await;
    client.holds(&[("a", "1")]).await;
    let thief = client.with(secret());
    let touch = touch(unit * 100, Duration::ZERO);
    assert_eq!(thief.load(Projection::All, touch).await, Err(Refused::NotFound));
    subject.pass(unit * 2).await;
    client.is_refused(Refusal::NotFound).await;
}

/// A touch moves the idle deadline when the touch is due. It never moves the absolute deadline.
// proves: ASVS-7.3.1
pub async fn a_touch_counts_once_it_is_due(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session_with_deadlines(subject, ttl(unit * 4), ttl(unit * 12), &[]).await;
    let [early, late, never] =
        [unit / 4, unit * 3, Duration::MAX].map(|after| touch(unit * 4, after));

    subject.pass(unit).await;
    for touch in [late, never] {
        let meta = client.load_live(Projection::All, touch).await.meta;
        let idle = meta.idle_remaining.expect("there should be an idle deadline");
        assert!(idle <= unit * 3, "the touch should not be due yet: {idle:?}");
    }
    let meta = client.load_live(Projection::All, early).await.meta;
    let idle = meta.idle_remaining.expect("there should be an idle deadline");
    assert!(
        idle > unit * 3 && idle <= unit * 4,
        "the touch should have moved the deadline to the idle time from now: {idle:?}"
    );

    for touched in 0..3 {
        subject.pass(unit * 3).await;
        match touched {
            0 => drop(client.load(Projection::All, early).await),
            1 => drop(client.update(Update::new(&[]).touch(early)).await),
            _ => client.holds(&[]).await,
        }
    }
    subject.pass(unit * 3).await;
    client.is_refused(Refusal::NotFound).await;
}

/// A touch that is due moves the idle deadline to an earlier moment if the touch grants less than
/// the time that is left.
pub async fn a_touch_can_shorten_the_idle_time(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session_with_deadlines(subject, ttl(unit * 100), None, &[]).await;
    for (after, expected) in [(unit / 4, 100), (Duration::ZERO, 4)] {
        let meta = client.load_live(Projection::All, touch(unit * 4, after)).await.meta;
        let idle = meta.idle_remaining.expect("there should be an idle deadline");
        assert!(
            idle > unit * (expected - 1) && idle <= unit * expected,
            "the idle time should be about {expected} units, not {idle:?}"
        );
    }
}

/// A session ends at its absolute deadline, no matter how often it is used.
// proves: ASVS-7.3.2 NIST-5.2-a
pub async fn a_session_ends_at_its_absolute_deadline(subject: &impl Subject) {
    let unit = subject.unit();
    let client =
        session_with_deadlines(subject, ttl(unit * 100), ttl(unit * 3), &[("a", "1")]).await;
    let touch = touch(unit * 100, unit / 8);
    for _ in 0..2 {
        subject.pass(unit).await;
        client.load(Projection::All, touch).await.expect("the session should be live");
        client.update(Update::new(&[]).touch(touch)).await.expect("the session should be live");
        client.holds(&[("a", "1")]).await;
    }
    subject.pass(unit * 2).await;
    client.is_refused(Refusal::NotFound).await;
}

/// An update can move the absolute deadline in both directions, and can limit it to a given age of
/// the session.
pub async fn the_absolute_deadline_can_be_moved(subject: &impl Subject) {
    let unit = subject.unit();
    let later = session_with_deadlines(subject, None, ttl(unit * 2), &[("a", "1")]).await;
    let sooner = session(subject, &[("a", "1")]).await;
    let limited = session_with_deadlines(subject, None, ttl(unit * 2), &[("a", "1")]).await;
    for (client, from_now) in [(&later, unit * 100), (&sooner, unit)] {
        let update = Update::new(&[]).absolute(absolute_in(from_now));
        client.update(update).await.expect("the session should be live");
    }
    subject.pass(unit).await;
    let absolute = AbsoluteDeadline::new(Ttl::from_duration(unit * 100), ttl(unit * 2));
    limited.update(Update::new(&[]).absolute(absolute)).await.expect("the session should be live");
    subject.pass(unit * 2).await;
    later.holds(&[("a", "1")]).await;
    sooner.is_refused(Refusal::NotFound).await;
    limited.is_refused(Refusal::NotFound).await;
}

/// A read returns the ages of the session and the time left of every lifetime. A session without
/// deadlines gets none from a touch.
pub async fn a_read_returns_ages_and_lifetimes(subject: &impl Subject) {
    let unit = subject.unit();
    let client =
        session_with_deadlines(subject, ttl(unit * 20), ttl(unit * 10), &[("lasting", "1")]).await;
    subject.pass(unit).await;
    let client = {
        let new = client.with(secret());
        client.rotate(&new.secret).await.expect("the session should be live");
        new
    };
    client.set_for("ending", "1", unit * 5).await.expect("the session should be live");
    subject.pass(unit).await;
    let loaded = client.load_live(Projection::All, None).await;
    let within = |what: &str, time: Duration, low: u32, high: u32| {
        assert!(
            time >= unit * low && time <= unit * high,
            "{what} should be {low} to {high} units, not {time:?}"
        );
    };
    let expect = "each lifetime that was set should have an end";
    within("the age", loaded.meta.age, 2, 4);
    within("the secret's age", loaded.meta.secret_age, 1, 3);
    within("the age at the rotation", loaded.meta.age - loaded.meta.secret_age, 1, 3);
    within("the idle time", loaded.meta.idle_remaining.expect(expect), 16, 18);
    within("the absolute time", loaded.meta.absolute_remaining.expect(expect), 6, 8);
    for field in loaded.fields {
        match &*field.name {
            "ending" => within("the field's time", field.ttl.expect(expect), 2, 4),
            _ => assert_eq!(field.ttl, None),
        }
    }
    let client = session(subject, &[]).await;
    for touch in [None, touch(unit, Duration::ZERO)] {
        let meta = client.load_live(Projection::All, touch).await.meta;
        assert_eq!((meta.idle_remaining, meta.absolute_remaining), (None, None));
    }
}

/// A store names the deadline that ended an expired session, or no deadline if the store no longer
/// has the record. The store does not name a deadline for a session that is live, was deleted or
/// revoked, or never existed.
pub async fn an_expired_session_names_its_deadline(subject: &impl Subject) {
    let (unit, store) = (subject.unit(), subject.store());
    let short =
        async |idle, absolute| session_with_deadlines(subject, idle, absolute, &[]).await.id;
    let idle = [short(ttl(unit), None).await, short(ttl(unit), ttl(unit * 2)).await];
    let aged = [short(None, ttl(unit)).await, short(ttl(unit * 2), ttl(unit)).await];
    let live = short(ttl(unit * 100), ttl(unit * 100)).await;
    let [deleted, revoked] = [session(subject, &[]).await, session(subject, &[]).await];
    let ada = principal();
    let sign_in = AuthChange::In { who: sign_in_of(&ada), idle: ttl(unit), absolute: ttl(unit) };
    revoked
        .update(Update::new(&[]).auth_change(sign_in))
        .await
        .expect("the session should be live");
    let target = RevokeTarget::All { except: None };
    store.revoke(&ada, target).await.expect("the store should answer");
    deleted.delete().await.expect("the session should be live");
    subject.pass(unit * 3).await;

    let expiry = async |id: &SessionId| store.expiry(id).await.expect("the store should answer");
    for (ids, expected) in [(idle, Expiry::Idle), (aged, Expiry::Absolute)] {
        for id in ids {
            let named = expiry(&id).await;
            assert!(
                named.is_none_or(|named| named == expected),
                "the store should name {expected:?}, not {named:?}"
            );
        }
    }
    for id in [live, deleted.id, revoked.id, new_client(subject).id] {
        assert_eq!(expiry(&id).await, None);
    }
}
