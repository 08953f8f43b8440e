//! Promise M: parallel requests do not erase each other's work.

use super::{Subject, client::*};
use crate::store::{Lookup, StoreErrorKind, Updated};

/// Writes to different fields at the same moment all survive.
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

/// Of several updates that expect the same value, one is applied; the others learn the new one.
pub async fn one_of_parallel_expectations_is_met(subject: &impl Subject) {
    for expected in [None, Some("0")] {
        for _ in 0..subject.rounds() {
            let client = session(subject, &[]).await;
            if let Some(value) = expected {
                client.set("a", value).await;
            }
            let claim = |task: usize| {
                let client = client.through(subject);
                async move { client.set_if("a", expected, &format!("t{task}")).await }
            };
            let answers = race((0..8).map(claim).collect()).await;
            let winner = client.get("a").await.expect("somebody has won");
            let conflict = Updated::Conflict { current: Some(bytes(&winner)) };
            let lost = answers.iter().filter(|answer| **answer == Lookup::Found(conflict.clone()));
            assert_eq!(lost.count(), 7, "{answers:?}");
            assert_eq!(answers.iter().filter(|answer| **answer == applied(0)).count(), 1);
        }
    }
}

/// A counter that many raise by compare-and-set shows all of them.
pub async fn parallel_increments_all_count(subject: &impl Subject) {
    let client = session(subject, &[("n", "0")]).await;
    let raise = |_| {
        let client = client.through(subject);
        async move {
            let mut expected = "0".to_owned();
            let mut raised = 0;
            while raised < 5 {
                let next = expected.parse::<u64>().expect("a number") + 1;
                match client.set_if("n", Some(&expected), &next.to_string()).await {
                    Lookup::Found(Updated::Applied { .. }) => {
                        raised += 1;
                        expected = next.to_string();
                    }
                    Lookup::Found(Updated::Conflict { current: Some(current) }) => {
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

/// Of several that take a value, one gets it.
pub async fn a_value_is_taken_once(subject: &impl Subject) {
    for _ in 0..subject.rounds() {
        let client = session(subject, &[("a", "1")]).await;
        let take = |_| {
            let client = client.through(subject);
            async move { client.take("a").await }
        };
        let taken = race((0..8).map(take).collect()).await;
        let got = taken.iter().filter(|taken| **taken == Lookup::Found(Some(bytes("1"))));
        assert_eq!(got.count(), 1, "{taken:?}");
        assert_eq!(taken.iter().filter(|taken| **taken == Lookup::Found(None)).count(), 7);
        client.holds(&[]).await;
    }
}

/// Of several rotations from the same secret, one wins and the others are told.
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
                Lookup::Found(_) => {
                    winners += 1;
                    new.holds(&[("a", "1")]).await;
                }
                Lookup::Replaced { .. } => new.is_refused(Refused::NotFound).await,
                other => panic!("the rotation was answered by {other:?}"),
            }
        }
        assert_eq!(winners, 1);
    }
}

/// Of several creations of one id, one succeeds.
pub async fn one_of_parallel_creations_wins(subject: &impl Subject) {
    for _ in 0..subject.rounds() {
        let nobody = stranger(subject);
        let create = |_| {
            let client = nobody.with(secret()).through(subject);
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
