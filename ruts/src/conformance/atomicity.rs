//! Checks of promise A: an update is applied as a whole or not at all.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use tokio::task::yield_now;

use super::{
    client::{
        Refusal, absolute_in, applied, bytes, race, runner, secret, session,
        session_with_deadlines, touch, ttl,
    },
    subject::Subject,
};
use crate::{
    cache_policy::CachePolicy,
    store::{
        AuthChange, Change, FieldWrite, Precondition, Projection, Refused, Renew, TakeField,
        Update, Updated,
    },
    ttl::Ttl,
};

/// The changes of an update apply together and in their order.
pub async fn changes_apply_in_order(subject: &impl Subject) {
    let client = session(subject, &[("a", "1"), ("b", "2")]).await;
    let (two, three) = (bytes("2"), bytes("3"));
    let hour = Ttl::from_secs(3600);
    let changes = [
        Change::Remove("a"),
        Change::Remove("absent"),
        Change::Set(FieldWrite::new("c", &two)),
        Change::Set(FieldWrite::new("c", &three)),
        Change::Expire("b", hour),
        Change::Expire("a", hour),
        Change::Set(FieldWrite::new("d", &two)),
        Change::Remove("d"),
    ];
    assert_eq!(client.change(&changes).await, applied(3));
    client.holds(&[("b", "2"), ("c", "3")]).await;
}

/// Many changes of the same fields in one update apply in their order.
pub async fn many_changes_of_a_field_apply_in_order(subject: &impl Subject) {
    let client = session(subject, &[("removed", "0"), ("set", "0")]).await;
    let values: Vec<_> = (0..50).map(|round| bytes(&round.to_string())).collect();
    let hour = Ttl::from_secs(3600);
    let mut changes = Vec::new();
    for value in &values {
        changes.extend([
            Change::Remove("set"),
            Change::Set(FieldWrite::new("set", value)),
            Change::Set(FieldWrite::new("removed", value)),
            Change::Expire("removed", hour),
            Change::Remove("removed"),
            Change::Expire("removed", hour),
        ]);
    }
    // Each round finds the first field once, and the second field twice.
    assert_eq!(client.change(&changes).await, applied(values.len() * 3));
    let loaded = client.through(subject).load_live(Projection::All, None).await;
    let found: Vec<_> = (loaded.fields.iter())
        .map(|field| (&*field.name, field.value.clone(), field.ttl))
        .collect();
    assert_eq!(found, [("set", bytes("49"), None)]);
}

/// An update whose precondition fails changes nothing: no field, no deadline, no secret.
pub async fn a_conflict_changes_nothing(subject: &impl Subject) {
    let unit = subject.unit();
    let fields = &[("a", "1"), ("b", "2")];
    let client = session_with_deadlines(subject, ttl(unit * 100), None, fields).await;
    let (value, wrong, new) = (bytes("9"), bytes("wrong"), secret());
    let changes = &[
        Change::Set(FieldWrite::new("a", &value)),
        Change::Remove("b"),
        Change::Set(FieldWrite::new("c", &value)),
    ];
    for (name, value) in [("a", Some(&wrong)), ("a", None), ("absent", Some(&wrong))] {
        let update = Update::new(changes)
            .precondition(Precondition::new(name, value))
            .rotate(&new)
            .absolute(absolute_in(unit))
            .touch(touch(unit * 200, Duration::ZERO))
            .auth_change(AuthChange::Out);
        let Ok(Updated::Conflict { current }) = client.update(update).await else {
            panic!("the update should not be applied");
        };
        assert_eq!(current, (name == "a").then(|| bytes("1")));
        client.holds(fields).await;
    }
    subject.pass(unit * 2).await;
    // The secret is now old enough to be renewed.
    let update = Update::new(changes)
        .precondition(Precondition::new("a", Some(&wrong)))
        .renew(Renew::new(&new, Ttl::from_duration(unit), unit));
    let conflict = Ok(Updated::Conflict { current: Some(bytes("1")) });
    assert_eq!(client.update(update).await, conflict);
    client.holds(fields).await;
    let meta = client.load_live(Projection::Named(&[]), None).await.meta;
    assert!(
        meta.idle_remaining.is_some_and(|idle| idle <= unit * 100),
        "the touch should not count: {meta:?}"
    );
    client.with(new).is_refused(Refusal::NotFound).await;
}

/// A precondition compares only the value. The TTL and the cache policy of the field do not matter,
/// nor do the deadlines of the session.
pub async fn a_precondition_compares_the_value_alone(subject: &impl Subject) {
    let (hour, one) = (Ttl::from_secs(3600), bytes("1"));
    let conflict = Ok(Updated::Conflict { current: Some(one.clone()) });
    for policy in [
        CachePolicy::Default,
        CachePolicy::NoStore,
        CachePolicy::Revalidate,
        CachePolicy::MaxAge(hour),
    ] {
        for (ttl, idle) in [(None, None), (None, Some(hour)), (Some(hour), Some(hour))] {
            let client = session_with_deadlines(subject, idle, None, &[]).await;
            let write = FieldWrite::new("a", &one).ttl(ttl).cache_policy(policy);
            assert_eq!(client.change(&[Change::Set(write)]).await, applied(0));
            for wrong in [Some("2"), Some("11"), Some(""), None] {
                assert_eq!(client.set_if("a", wrong, "3").await, conflict, "{policy:?} {ttl:?}");
            }
            client.holds(&[("a", "1")]).await;
            assert_eq!(client.set_if("a", Some("1"), "2").await, applied(0), "{policy:?} {ttl:?}");
            client.holds(&[("a", "2")]).await;
        }
    }
}

/// A precondition compares every byte of a value: its case, its spaces and its last byte.
pub async fn a_precondition_compares_every_byte(subject: &impl Subject) {
    let long = |length: usize, last: u8| {
        let mut value = vec![b'x'; length];
        value[length - 1] = last;
        Bytes::from(value)
    };
    let mut pairs: Vec<[Bytes; 2]> = [
        ["a", "A"],
        ["a", "a "],
        ["a", "a\n"],
        ["a", "a\0"],
        ["a\0b", "a\0c"],
        ["\0", ""],
        ["1", "1.0"],
        ["1", "01"],
        ["1", "1e0"],
        ["null", "NULL"],
        ["{\"a\":1}", "{\"a\": 1}"],
        ["\u{e9}", "e"],
        ["\u{e9}", "e\u{301}"],
        ["ß", "ss"],
    ]
    .map(|pair| pair.map(bytes))
    .into();
    pairs.push([b"\xfe", b"\xff"].map(|value| Bytes::copy_from_slice(value)));
    let lengths = [1 << 8, 1 << 10, 1 << 16, 1 << 19];
    pairs.extend(lengths.map(|length| [b'y', b'z'].map(|last| long(length, last))));
    let client = session(subject, &[]).await;
    let update = async |name, expected: &Bytes, new: &Bytes| {
        let changes = [Change::Set(FieldWrite::new(name, new))];
        let precondition = Precondition::new(name, Some(expected));
        client.update(Update::new(&changes).precondition(precondition)).await
    };
    for [one, other] in &pairs {
        for [held, expected] in [[one, other], [other, one]] {
            let set = [Change::Set(FieldWrite::new("a", held))];
            assert_eq!(client.change(&set).await, applied(0));
            let conflict = Ok(Updated::Conflict { current: Some(held.clone()) });
            // The texts of long values would hide the reason.
            let start = |value: &Bytes| value.slice(..value.len().min(16));
            assert!(
                update("a", expected, &bytes("lost")).await == conflict,
                "{:?} is not {:?}, with {} bytes",
                start(held),
                start(expected),
                held.len()
            );
            assert_eq!(update("a", held, &bytes("next")).await, applied(0));
            assert_eq!(client.get("a").await.as_deref(), Some("next"));
        }
    }
}

/// A precondition distinguishes an absent field from a field whose value is empty.
pub async fn an_empty_value_is_not_an_absent_field(subject: &impl Subject) {
    let client = session(subject, &[("empty", "")]).await;
    let conflict = |current| Ok(Updated::Conflict { current });
    assert_eq!(client.set_if("absent", Some(""), "1").await, conflict(None));
    assert_eq!(client.set_if("empty", None, "1").await, conflict(Some(bytes(""))));
    client.holds(&[("empty", "")]).await;
    assert_eq!(client.set_if("absent", None, "1").await, applied(0));
    assert_eq!(client.set_if("empty", Some(""), "2").await, applied(0));
    client.holds(&[("absent", "1"), ("empty", "2")]).await;
}

/// Taking a field and replacing the secret is one step, even if the field is absent.
pub async fn take_and_rotate_is_one_step(subject: &impl Subject) {
    let old = session(subject, &[("a", "1")]).await;
    let new = old.with(secret());
    let take = TakeField::new("a");
    assert_eq!(old.take_with(take.rotate(&new.secret)).await, Ok(Some(bytes("1"))));
    assert!(matches!(old.take("a").await, Err(Refused::Replaced { .. })));
    let newest = new.with(secret());
    assert_eq!(new.take_with(take.rotate(&newest.secret)).await, Ok(None));
    newest.holds(&[]).await;
}

/// A read never returns parts of two updates.
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
                let changes = names.map(|name| Change::Set(FieldWrite::new(name, &value)));
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
                let loaded = client.load_live(fields, None).await;
                let first = &loaded.fields[0].value;
                let is_mixed = loaded.fields.iter().any(|field| field.value != *first);
                let is_whole = loaded.fields.len() == 3 && !is_mixed;
                assert!(is_whole, "a read should not see half an update: {:?}", loaded.fields);
                // If every future of the store is ready immediately, only this call lets the
                // writers run.
                yield_now().await;
            }
        })
    });
    race(writers.chain(readers).collect()).await;
}

/// If the future of an update is dropped, the update takes place as a whole or not at all.
pub async fn a_dropped_update_is_done_or_not(subject: &impl Subject) {
    let client = session(subject, &[("a", "0"), ("b", "0")]).await;
    for polls in 0..subject.rounds() {
        let value = bytes(&format!("{polls} polls"));
        let changes = ["a", "b"].map(|name| Change::Set(FieldWrite::new(name, &value)));
        let mut left = polls;
        let mut update = Box::pin(client.change(&changes));
        poll_fn(|context| {
            if left == 0 || update.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            left -= 1;
            Poll::Pending
        })
        .await;
        drop(update);
        // The update may still take place.
        for _ in 0..3 {
            let loaded = client.through(subject).load_live(Projection::All, None).await;
            let is_whole = loaded.fields.iter().all(|field| field.value == loaded.fields[0].value);
            assert!(is_whole, "no read should see half an update: {:?}", loaded.fields);
            yield_now().await;
        }
    }
}
