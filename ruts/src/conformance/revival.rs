//! Promise N: nothing but `create` brings a session into existence.

use super::{Subject, client::*};
use crate::store::{Lookup, StoreErrorKind, Updated};

/// No call on a id that was never created creates it.
// proves: ASVS-7.4.1 CS-6
pub async fn nothing_but_create_creates(subject: &impl Subject) {
    let nobody = stranger(subject);
    nobody.is_refused(Refused::NotFound).await;
    nobody.create(None, None, &[]).await.expect("the id is still free");
    nobody.holds(&[]).await;
}

/// No call revives a deleted session, neither with its last secret nor with an earlier one.
// proves: ASVS-7.4.1
pub async fn nothing_revives_a_deleted_session(subject: &impl Subject) {
    let old = session(subject, &[("a", "1")]).await;
    let client = old.with(secret());
    old.rotate(&client.secret).await;
    client.delete().await;
    client.is_refused(Refused::Ended).await;
    old.is_refused(Refused::Somehow).await;
    client.through(subject).is_refused(Refused::Ended).await;
    client.with(secret()).is_refused(Refused::NotFound).await;
}

/// No call revives a session whose deadline has passed, a touch included.
pub async fn nothing_revives_an_expired_session(subject: &impl Subject) {
    let unit = subject.unit();
    let idle = session_for(subject, ttl(unit), None, &[("a", "1")]).await;
    let absolute = session_for(subject, None, ttl(unit), &[("a", "1")]).await;
    subject.pass(unit * 2).await;
    idle.is_refused(Refused::NotFound).await;
    absolute.is_refused(Refused::NotFound).await;
}

/// A field whose lifetime is over stays away when it is given another.
pub async fn nothing_revives_an_expired_field(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[]).await;
    client.set_for("a", "1", unit).await;
    subject.pass(unit * 2).await;
    assert_eq!(client.expire("a", unit * 100).await, applied(0));
    client.holds(&[]).await;
    assert_eq!(client.remove("a").await, applied(0));
    assert_eq!(client.take("a").await, Lookup::Found(None));
}

/// Creating a session whose id is taken fails and changes nothing.
pub async fn create_leaves_a_session_alone(subject: &impl Subject) {
    let client = session(subject, &[("a", "1")]).await;
    let thief = client.with(secret());
    let value = bytes("stolen");
    let error = thief.create(None, None, &[put("a", &value)]).await.expect_err("it is taken");
    assert_eq!(error.kind(), StoreErrorKind::Exists);
    thief.is_refused(Refused::NotFound).await;
    client.holds(&[("a", "1")]).await;
}

/// However a deletion and writes interleave, the session is gone in the end.
// proves: ASVS-7.4.1
pub async fn a_deletion_wins_over_racing_writes(subject: &impl Subject) {
    for _ in 0..subject.rounds() {
        let client = session(subject, &[("a", "1")]).await;
        let mut runners = vec![runner({
            let client = client.through(subject);
            async move { assert_eq!(client.delete().await, Lookup::Found(())) }
        })];
        for task in 0..6 {
            let client = client.through(subject);
            runners.push(runner(async move {
                for _ in 0..4 {
                    match task {
                        0 | 1 => drop(client.set("a", "revived").await),
                        2 => drop(client.set(&format!("new{task}"), "revived").await),
                        3 => drop(client.take("a").await),
                        4 => drop(client.set_if("b", None, "revived").await),
                        _ => drop(client.expire("a", std::time::Duration::from_secs(60)).await),
                    }
                }
            }));
        }
        race(runners).await;
        client.is_refused(Refused::Ended).await;
    }
}

/// A write that races a rotation is either in the session or was refused: never lost unnoticed,
/// never left behind under the old secret.
pub async fn a_write_that_races_a_rotation_is_kept_or_refused(subject: &impl Subject) {
    for _ in 0..subject.rounds() {
        let old = session(subject, &[]).await;
        let new = old.with(secret());
        let rotation = runner({
            let (old, secret) = (old.through(subject), new.secret);
            async move {
                assert_eq!(old.rotate(&secret).await, applied(0));
                None
            }
        });
        let writes = (0..4).map(|task| {
            let old = old.through(subject);
            runner(async move {
                let name = format!("f{task}");
                let written = old.set(&name, "1").await;
                matches!(written, Lookup::Found(Updated::Applied { .. })).then_some(name)
            })
        });
        let runners = std::iter::once(rotation).chain(writes).collect();
        let mut kept: Vec<String> = race(runners).await.into_iter().flatten().collect();
        kept.sort();
        let found = new.fields().await.expect("the rotated session is there");
        assert_eq!(found.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), kept);
        old.is_refused(Refused::Replaced).await;
    }
}
