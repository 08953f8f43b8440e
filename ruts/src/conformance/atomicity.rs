//! Promise A: an update is applied whole or not at all.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{Subject, client::*};
use crate::{
    store::{AuthChange, Change, FieldWrite, Lookup, Precondition, Projection, Update, Updated},
    ttl::{CachePolicy, Ttl},
};

/// Changes of one update apply together and in their order.
pub async fn an_update_applies_in_order(subject: &impl Subject) {
    let client = session(subject, &[("a", "1"), ("b", "2")]).await;
    let (two, three) = (bytes("2"), bytes("3"));
    let hour = Ttl::from_secs(3600);
    let changes = [
        Change::Remove("a"),
        Change::Remove("absent"),
        Change::Set(put("c", &two)),
        Change::Set(put("c", &three)),
        Change::Expire("b", hour),
        Change::Expire("a", hour),
        Change::Set(put("d", &two)),
        Change::Remove("d"),
    ];
    assert_eq!(client.change(&changes).await, applied(3));
    client.holds(&[("b", "2"), ("c", "3")]).await;
}

/// An update whose expectation fails changes nothing: no field, no deadline, no secret.
pub async fn a_conflict_changes_nothing(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[("a", "1"), ("b", "2")]).await;
    let (value, wrong, new) = (bytes("9"), bytes("wrong"), secret());
    let changes =
        &[Change::Set(put("a", &value)), Change::Remove("b"), Change::Set(put("c", &value))];
    for expect in [
        Precondition { name: "a", value: Some(&wrong) },
        Precondition { name: "a", value: None },
        Precondition { name: "absent", value: Some(&wrong) },
    ] {
        let expect = Some(expect);
        let update = Update {
            changes,
            precondition: expect,
            rotate: Some(&new),
            absolute: in_any_case(unit),
            sign: Some(AuthChange::Out),
            ..Update::default()
        };
        let Lookup::Found(Updated::Conflict { current }) = client.update(update).await else {
            panic!("the expectation was taken for met");
        };
        let name = expect.map(|expect| expect.name).unwrap_or_default();
        assert_eq!(current, (name == "a").then(|| bytes("1")));
        client.holds(&[("a", "1"), ("b", "2")]).await;
    }
    subject.pass(unit * 2).await;
    client.holds(&[("a", "1"), ("b", "2")]).await;
    client.with(new).is_refused(Refused::NotFound).await;
}

/// What is expected is a value, whatever the lifetime of its field, its place in a cache and the deadlines of the
/// session are.
pub async fn an_expectation_is_of_the_value_alone(subject: &impl Subject) {
    let (hour, one) = (Ttl::from_secs(3600), bytes("1"));
    let conflict = Lookup::Found(Updated::Conflict { current: Some(one.clone()) });
    for hot in [CachePolicy::Auto, CachePolicy::Never, CachePolicy::Checked, CachePolicy::For(hour)]
    {
        for (ttl, idle) in [(None, None), (None, Some(hour)), (Some(hour), Some(hour))] {
            let client = session_for(subject, idle, None, &[]).await;
            let set = [Change::Set(FieldWrite { name: "a", value: &one, ttl, hot })];
            assert_eq!(client.change(&set).await, applied(0));
            for wrong in [Some("2"), Some("11"), Some(""), None] {
                assert_eq!(client.set_if("a", wrong, "3").await, conflict, "{hot:?} {ttl:?}");
            }
            client.holds(&[("a", "1")]).await;
            assert_eq!(client.set_if("a", Some("1"), "2").await, applied(0), "{hot:?} {ttl:?}");
            client.holds(&[("a", "2")]).await;
        }
    }
}

/// Taking a field and replacing the secret happen in one step, also when the field is not there.
pub async fn a_taking_rotation_is_one_step(subject: &impl Subject) {
    let old = session(subject, &[("a", "1")]).await;
    let new = old.with(secret());
    let taken = old.take_and_rotate("a", Some(&new.secret)).await;
    assert_eq!(taken, Lookup::Found(Some(bytes("1"))));
    assert!(matches!(old.take("a").await, Lookup::Replaced { .. }));
    let newest = new.with(secret());
    assert_eq!(new.take_and_rotate("a", Some(&newest.secret)).await, Lookup::Found(None));
    newest.holds(&[]).await;
}

/// A reader never sees one half of one update and the other half of another.
pub async fn racing_updates_never_mix(subject: &impl Subject) {
    let client = session(subject, &[("a", "0"), ("b", "0"), ("c", "0")]).await;
    let writing = Arc::new(AtomicUsize::new(4));
    let writers = (0..4).map(|task| {
        let client = client.through(subject);
        let writing = Arc::clone(&writing);
        runner(async move {
            for round in 0..10 {
                let value = bytes(&format!("{task}.{round}"));
                let names = if task % 2 == 0 { ["a", "b", "c"] } else { ["c", "b", "a"] };
                let changes = names.map(|name| Change::Set(put(name, &value)));
                assert_eq!(client.change(&changes).await, applied(0));
            }
            writing.fetch_sub(1, Ordering::Relaxed);
        })
    });
    let readers = (0..4).map(|task| {
        let client = client.through(subject);
        let writing = Arc::clone(&writing);
        runner(async move {
            while writing.load(Ordering::Relaxed) > 0 {
                let fields = if task % 2 == 0 {
                    Projection::All
                } else {
                    Projection::Named(&["c", "a", "b"])
                };
                let Lookup::Found(loaded) = client.load(fields, None).await else {
                    panic!("the session is gone");
                };
                let first = &loaded.fields[0].value;
                let mixed = loaded.fields.iter().any(|field| field.value != *first);
                assert!(loaded.fields.len() == 3 && !mixed, "half an update: {:?}", loaded.fields);
                // A store that is always ready would leave no room for the writers.
                tokio::task::yield_now().await;
            }
        })
    });
    race(writers.chain(readers).collect()).await;
}
