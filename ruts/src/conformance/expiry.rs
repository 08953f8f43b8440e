//! Promise E: nothing is served past its time.

use super::{Subject, client::*};
use crate::store::{AbsoluteDeadline, Loaded, Lookup, Projection, Touch, Update, Updated};
use crate::ttl::Ttl;

/// A field is served until its lifetime is over, and the others beyond.
pub async fn a_field_ends_with_its_lifetime(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[("stays", "1")]).await;
    client.set_for("goes", "2", unit * 2).await;
    subject.pass(unit).await;
    client.holds(&[("goes", "2"), ("stays", "1")]).await;
    subject.pass(unit * 2).await;
    client.holds(&[("stays", "1")]).await;
    assert_eq!(client.get("goes").await, None);
}

/// A write gives the value the lifetime it names, or takes the old one away if it names none.
pub async fn a_write_renews_a_lifetime(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[]).await;
    client.set_for("renewed", "1", unit * 2).await;
    client.set_for("freed", "1", unit * 2).await;
    subject.pass(unit).await;
    client.set_for("renewed", "2", unit * 4).await;
    client.set("freed", "2").await;
    subject.pass(unit * 2).await;
    client.holds(&[("freed", "2"), ("renewed", "2")]).await;
    subject.pass(unit * 3).await;
    client.holds(&[("freed", "2")]).await;
}

/// A lifetime can be changed without the value, for fields that are there.
pub async fn a_lifetime_can_be_changed(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[("shortened", "1")]).await;
    client.set_for("prolonged", "1", unit * 2).await;
    assert_eq!(client.expire("shortened", unit).await, applied(1));
    assert_eq!(client.expire("prolonged", unit * 100).await, applied(1));
    assert_eq!(client.expire("absent", unit * 100).await, applied(0));
    subject.pass(unit * 3).await;
    client.holds(&[("prolonged", "1")]).await;
}

/// A field whose lifetime is over is absent to every operation, also where it still takes up room.
pub async fn an_expired_field_is_absent_to_every_operation(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[]).await;
    for name in ["expected", "taken", "removed", "expired"] {
        client.set_for(name, "1", unit).await;
    }
    subject.pass(unit * 2).await;
    let conflict = Lookup::Found(Updated::Conflict { current: None });
    assert_eq!(client.set_if("expected", Some("1"), "2").await, conflict);
    assert_eq!(client.set_if("expected", None, "3").await, applied(0));
    assert_eq!(client.take("taken").await, Lookup::Found(None));
    assert_eq!(client.remove("removed").await, applied(0));
    assert_eq!(client.expire("expired", unit * 100).await, applied(0));
    client.holds(&[("expected", "3")]).await;
}

/// A session ends when it was not used for its idle time. Use by others than its owner does not
/// count.
// proves: ASVS-7.3.1 NIST-5.2-a
pub async fn a_session_ends_when_idle(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session_for(subject, ttl(unit * 2), ttl(unit * 100), &[("a", "1")]).await;
    let touch = Some(Touch { idle: Ttl::require(unit * 100), after: std::time::Duration::ZERO });
    subject.pass(unit).await;
    client.holds(&[("a", "1")]).await;
    let thief = client.with(secret());
    assert_eq!(thief.load(Projection::All, touch).await, Lookup::NotFound);
    subject.pass(unit * 2).await;
    client.is_refused(Refused::NotFound).await;
}

/// A touch moves the idle deadline once enough of it has passed, and never the absolute one.
// proves: ASVS-7.3.1
pub async fn a_use_counts_after_a_while(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session_for(subject, ttl(unit * 4), ttl(unit * 12), &[]).await;
    let eager = Some(Touch { idle: Ttl::require(unit * 4), after: unit / 4 });
    let lazy = Some(Touch { idle: Ttl::require(unit * 4), after: unit * 3 });
    let never = Some(Touch { idle: Ttl::require(unit * 4), after: std::time::Duration::MAX });

    subject.pass(unit).await;
    for touch in [lazy, never] {
        let meta = meta(client.load(Projection::All, touch).await);
        let idle = meta.idle.expect("it has an idle deadline");
        assert!(idle <= unit * 3, "{idle:?} was granted too early");
    }
    let idle =
        meta(client.load(Projection::All, eager).await).idle.expect("it has an idle deadline");
    assert!(idle > unit * 3, "{idle:?} was granted too late");

    for touched in 0..3 {
        subject.pass(unit * 3).await;
        match touched {
            0 => drop(client.load(Projection::All, eager).await),
            1 => drop(client.update(Update { touch: eager, ..Update::default() }).await),
            _ => client.holds(&[]).await,
        }
    }
    subject.pass(unit * 3).await;
    client.is_refused(Refused::NotFound).await;
}

/// A session ends at its absolute deadline, however much it is used.
// proves: ASVS-7.3.2 NIST-5.2-a
pub async fn a_session_ends_absolutely(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session_for(subject, ttl(unit * 100), ttl(unit * 3), &[("a", "1")]).await;
    let touch = Some(Touch { idle: Ttl::require(unit * 100), after: unit / 8 });
    for _ in 0..2 {
        subject.pass(unit).await;
        client.load(Projection::All, touch).await;
        client.update(Update { touch, ..Update::default() }).await;
        client.holds(&[("a", "1")]).await;
    }
    subject.pass(unit * 2).await;
    client.is_refused(Refused::NotFound).await;
}

/// The absolute deadline can be moved to either side, and bounded by the session's age.
pub async fn the_absolute_deadline_can_be_moved(subject: &impl Subject) {
    let unit = subject.unit();
    let later = session_for(subject, None, ttl(unit * 2), &[("a", "1")]).await;
    let sooner = session(subject, &[("a", "1")]).await;
    let bounded = session_for(subject, None, ttl(unit * 2), &[("a", "1")]).await;
    later.update(Update { absolute: in_any_case(unit * 100), ..Update::default() }).await;
    sooner.update(Update { absolute: in_any_case(unit), ..Update::default() }).await;
    subject.pass(unit).await;
    let from_creation = ttl(unit * 2);
    let absolute = Some(AbsoluteDeadline { from_now: Ttl::require(unit * 100), from_creation });
    bounded.update(Update { absolute, ..Update::default() }).await;
    subject.pass(unit * 2).await;
    later.holds(&[("a", "1")]).await;
    sooner.is_refused(Refused::NotFound).await;
    bounded.is_refused(Refused::NotFound).await;
}

/// A read tells the ages and what is left of every lifetime.
pub async fn what_is_left_is_told(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session_for(subject, ttl(unit * 10), ttl(unit * 20), &[("endless", "1")]).await;
    subject.pass(unit).await;
    let client = {
        let new = client.with(secret());
        client.rotate(&new.secret).await;
        new
    };
    client.set_for("ending", "1", unit * 5).await;
    subject.pass(unit).await;
    let Lookup::Found(loaded) = client.load(Projection::All, None).await else {
        panic!("the session is gone");
    };
    let within = |what: &str, time: std::time::Duration, low: u32, high: u32| {
        assert!(time >= unit * low && time <= unit * high, "{what} is told as {time:?}");
    };
    let expect = "it has that deadline";
    within("the age", loaded.meta.age, 2, 4);
    within("the secret's age", loaded.meta.secret_age, 1, 3);
    within("the idle time", loaded.meta.idle.expect(expect), 6, 8);
    within("the absolute time", loaded.meta.absolute.expect(expect), 16, 18);
    for field in loaded.fields {
        match &*field.name {
            "ending" => within("the field's time", field.ttl.expect(expect), 2, 4),
            _ => assert_eq!(field.ttl, None),
        }
    }
    let bare = meta(session(subject, &[]).await.load(Projection::All, None).await);
    assert_eq!((bare.idle, bare.absolute), (None, None));
}

fn meta(loaded: Lookup<Loaded>) -> crate::store::SessionMeta {
    match loaded {
        Lookup::Found(loaded) => loaded.meta,
        other => panic!("the session is gone: {other:?}"),
    }
}
