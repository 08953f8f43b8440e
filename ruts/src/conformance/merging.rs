//! Checks of promise M: parallel requests do not undo each other's writes.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use bytes::Bytes;

use super::{
    client::{Refusal, applied, bytes, new_client, race, secret, session},
    subject::Subject,
};
use crate::{
    cache_policy::CachePolicy,
    store::{Change, FieldWrite, Projection, Refused, StoreErrorKind, TakeField, Update, Updated},
    ttl::Ttl,
};

/// Parallel writes to different fields all survive.
pub async fn parallel_writes_to_different_fields_survive(subject: &impl Subject) {
    for _ in 0..subject.rounds() {
        let client = session(subject, &[]).await;
        let names: Vec<String> = (10..42).map(|task| format!("f{task}")).collect();
        let write = |name: &String| {
            let (client, name) = (client.through(subject), name.clone());
            async move { assert_eq!(client.set(&name, &name).await, applied(0)) }
        };
        race(names.iter().map(write).collect()).await;
        let fields: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
        client.holds(&fields).await;
    }
}

/// Only one of several parallel updates with the same precondition applies. The answers to the
/// others contain the new value.
pub async fn one_of_parallel_conditional_updates_applies(subject: &impl Subject) {
    for expected in [None, Some("0")] {
        for _ in 0..subject.rounds() {
            let client = session(subject, &[]).await;
            if let Some(value) = expected {
                client.set("a", value).await.expect("the session should be live");
            }
            let claim = |task: usize| {
                let client = client.through(subject);
                async move { client.set_if("a", expected, &format!("t{task}")).await }
            };
            let answers = race((0..8).map(claim).collect()).await;
            let winner = client.get("a").await.expect("one update should have been applied");
            let conflict = Updated::Conflict { current: Some(bytes(&winner)) };
            let lost = answers.iter().filter(|answer| **answer == Ok(conflict.clone()));
            assert_eq!(lost.count(), 7, "{answers:?}");
            assert_eq!(answers.iter().filter(|answer| **answer == applied(0)).count(), 1);
        }
    }
}

/// A counter that many clients raise by compare-and-set loses no increment.
pub async fn parallel_increments_all_count(subject: &impl Subject) {
    let client = session(subject, &[("n", "0")]).await;
    let raise = |_| {
        let client = client.through(subject);
        async move {
            let mut expected = "0".to_owned();
            let mut raised = 0;
            while raised < 5 {
                let next = expected.parse::<u64>().expect("the value should be a number") + 1;
                match client.set_if("n", Some(&expected), &next.to_string()).await {
                    Ok(Updated::Applied { .. }) => {
                        raised += 1;
                        expected = next.to_string();
                    }
                    Ok(Updated::Conflict { current: Some(current) }) => {
                        expected = String::from_utf8_lossy(&current).into_owned();
                    }
                    answer => panic!("{answer:?}"),
                }
            }
        }
    };
    race((0..8).map(raise).collect()).await;
    assert_eq!(client.get("n").await.as_deref(), Some("40"));
}

/// Exactly one of several parallel calls that take a value gets it.
pub async fn a_value_is_taken_once(subject: &impl Subject) {
    for _ in 0..subject.rounds() {
        let client = session(subject, &[("a", "1")]).await;
        let take = |_| {
            let client = client.through(subject);
            async move { client.take("a").await }
        };
        let taken = race((0..8).map(take).collect()).await;
        let got = taken.iter().filter(|taken| **taken == Ok(Some(bytes("1"))));
        assert_eq!(got.count(), 1, "{taken:?}");
        assert_eq!(taken.iter().filter(|taken| **taken == Ok(None)).count(), 7);
        client.holds(&[]).await;
    }
}

/// A take leaves a value of a later version in place, for an instance that can read it.
pub async fn a_newer_value_is_not_taken(subject: &impl Subject) {
    let client = session(subject, &[]).await;
    let value = |version: u16| {
        let [high, low] = version.to_be_bytes();
        Bytes::copy_from_slice(&[0x10, 1, high, low, 0, 0, 0, 0, 7])
    };
    let hour = Ttl::from_secs(3600);
    let policies = [CachePolicy::Default, CachePolicy::NoStore, CachePolicy::MaxAge(hour)];
    for (policy, ttl) in
        policies.into_iter().flat_map(|policy| [(policy, None), (policy, Some(hour))])
    {
        let put = async |value: &Bytes| {
            let write = FieldWrite::new("a", value).cache_policy(policy).ttl(ttl);
            client
                .update(Update::new(&[Change::Set(write)]))
                .await
                .expect("the session should be live");
        };
        for (version, newest, stays) in
            [(1, 1, false), (2, 1, true), (1, 2, false), (256, 255, true), (255, 256, false)]
        {
            put(&value(version)).await;
            let take = TakeField::new("a").max_version(newest);
            let case = format!("version {version} where {newest} is known, {policy:?}, {ttl:?}");
            assert_eq!(client.take_with(take).await, Ok(Some(value(version))), "{case}");
            let read = client.load_live(Projection::Named(&["a"]), None).await.fields;
            let read = read.into_iter().next().map(|field| field.value);
            assert_eq!(read, stays.then(|| value(version)), "{case}");
            let left = client.through(subject).take("a").await;
            assert_eq!(left, Ok(stays.then(|| value(version))), "{case}");
        }
        // A value that is too short to have a version is taken.
        put(&bytes("1")).await;
        assert_eq!(
            client.take_with(TakeField::new("a").max_version(0)).await,
            Ok(Some(bytes("1")))
        );
        assert_eq!(client.take("a").await, Ok(None));
    }
}

/// Only one of several parallel rotations of the same secret wins. The others are refused.
// proves: ASVS-7.2.4
pub async fn one_of_parallel_rotations_wins(subject: &impl Subject) {
    for _ in 0..subject.rounds() {
        let old = session(subject, &[("a", "1")]).await;
        let rotate = |_| {
            let (old, new) = (old.through(subject), old.with(secret()));
            async move {
                let answer = old.rotate(&new.secret).await;
                (new, answer)
            }
        };
        let mut winners = 0;
        for (new, answer) in race((0..8).map(rotate).collect()).await {
            match answer {
                Ok(_) => {
                    winners += 1;
                    new.holds(&[("a", "1")]).await;
                }
                Err(Refused::Replaced { .. }) => new.is_refused(Refusal::NotFound).await,
                other => {
                    panic!("a rotation should win or be refused as replaced, not answer {other:?}")
                }
            }
        }
        assert_eq!(winners, 1);
    }
}

/// Only one of several parallel creations with the same id succeeds.
pub async fn one_of_parallel_creations_wins(subject: &impl Subject) {
    for _ in 0..subject.rounds() {
        let unknown = new_client(subject);
        let create = |_| {
            let client = unknown.with(secret()).through(subject);
            async move {
                let created = client.create(None, None, &[]).await;
                (client, created.map_err(|error| error.kind()))
            }
        };
        let mut winners = 0;
        for (client, created) in race((0..8).map(create).collect()).await {
            match created {
                Ok(()) => {
                    winners += 1;
                    client.holds(&[]).await;
                }
                Err(kind) => assert_eq!(kind, StoreErrorKind::Exists),
            }
        }
        assert_eq!(winners, 1);
    }
}
