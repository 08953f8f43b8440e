//! Checks of promise N: only `create` brings a session into existence.
//!
//! [`conformance_tests!`](crate::conformance_tests) generates a test for each check.

// The checks know the `Store` contract, and nothing about backends.

use std::{
    future::{Future, poll_fn},
    iter,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{
    client::{
        Client, Refusal, absolute_in, applied, bytes, new_client, principal, race, runner, secret,
        session, session_with_deadlines, sign_in_of, touch, ttl,
    },
    subject::Subject,
};
use crate::{
    auth::PrincipalKey,
    store::{
        AuthChange, Change, Create, FieldWrite, Projection, RevokeTarget, Store, StoreErrorKind,
        Update, Updated,
    },
};

/// No call but `create` creates a session.
// proves: ASVS-7.4.1 CS-6
pub async fn only_create_creates_a_session(subject: &impl Subject) {
    let client = new_client(subject);
    client.is_refused(Refusal::NotFound).await;
    client.create(None, None, &[]).await.expect("the id should still be free");
    client.holds(&[]).await;
}

/// No call revives a deleted session, neither with its last secret nor with an earlier one.
// proves: ASVS-7.4.1
pub async fn nothing_revives_a_deleted_session(subject: &impl Subject) {
    let old = session(subject, &[("a", "1")]).await;
    let client = old.with(secret());
    old.rotate(&client.secret).await.expect("the session should be live");
    client.delete().await.expect("the session should be live");
    // The cleanup keeps what is needed to recognise the secret.
    client.store.delete_expired(100).await.expect("the store should answer");
    client.is_refused(Refusal::Deleted).await;
    old.is_refused(Refusal::Any).await;
    client.through(subject).is_refused(Refusal::Deleted).await;
    client.with(secret()).is_refused(Refusal::NotFound).await;
}

/// No call revives a session whose deadline has passed, not even a touch.
pub async fn nothing_revives_an_expired_session(subject: &impl Subject) {
    let unit = subject.unit();
    let idle = session_with_deadlines(subject, ttl(unit), None, &[("a", "1")]).await;
    let absolute = session_with_deadlines(subject, None, ttl(unit), &[("a", "1")]).await;
    subject.pass(unit * 2).await;
    idle.is_refused(Refusal::NotFound).await;
    absolute.is_refused(Refusal::NotFound).await;
}

/// Polls an operation up to `polls` times, with time for I/O after each poll. Returns whether it is
/// done.
async fn begin(operation: &mut Pin<Box<dyn Future<Output = ()> + Send>>, polls: usize) -> bool {
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(operation.as_mut().poll(cx).is_ready())).await {
            return true;
        }
        sleep(Duration::from_millis(1)).await;
    }
    false
}

/// An operation that was suspended until the deadline of its session has passed does not extend the
/// session, once another client was refused. A store that reads its clock before it waits for a
/// lock would do so.
pub async fn a_suspended_operation_revives_nothing<T: Subject>(subject: &T) {
    let (unit, hour) = (subject.unit(), Duration::from_secs(3600));
    let touch = touch(hour, Duration::ZERO);
    let (short, none) = (ttl(unit), None);
    // All sessions exist before the first operation is suspended, because it may hold a lock.
    let mut clients = Vec::new();
    for (way, (idle, absolute)) in
        (0..).zip([(short, none), (short, none), (none, short), (short, short)])
    {
        for polls in 1..6 {
            let client = session_with_deadlines(subject, idle, absolute, &[]).await;
            clients.push((way, polls, client));
        }
    }
    let (mut suspended, mut readers) = (Vec::new(), Vec::new());
    for (way, polls, client) in clients {
        let mut operation = runner({
            let (client, ada) = (client.through(subject), principal());
            async move {
                let (store, credentials) = (&client.store, client.credentials());
                let who = sign_in_of(&ada);
                let sign_in = AuthChange::In { who, idle: ttl(hour), absolute: ttl(hour) };
                let update = match way {
                    0 => return drop(store.load(credentials, Projection::All, touch).await),
                    1 => Update::new(&[]).touch(touch),
                    2 => Update::new(&[]).absolute(absolute_in(hour)),
                    _ => Update::new(&[]).auth_change(sign_in),
                };
                // The store may have limited the time of the operation, so an error is fine.
                drop(store.update(credentials, update).await);
            }
        });
        if !begin(&mut operation, polls).await {
            suspended.push(operation);
            readers.push(client.through(subject));
        }
    }
    subject.pass(unit * 2).await;
    let read = |client: Client<T::Store>| async move {
        // A reader gets no answer if a suspended operation holds its lock.
        let load = client.store.load(client.credentials(), Projection::All, None);
        let was_refused = matches!(timeout(unit / 4, load).await, Ok(Ok(Err(_))));
        (client, was_refused)
    };
    let read = race(readers.into_iter().map(read).collect()).await;
    race(suspended).await;
    for (client, was_refused) in read {
        let is_live = client.through(subject).load(Projection::All, None).await.is_ok();
        assert!(!was_refused || !is_live, "a session that has expired should not come back");
    }
}

/// An expired field stays absent when its TTL is changed.
pub async fn nothing_revives_an_expired_field(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[]).await;
    client.set_for("a", "1", unit).await.expect("the session should be live");
    subject.pass(unit * 2).await;
    assert_eq!(client.expire("a", unit * 100).await, applied(0));
    client.holds(&[]).await;
    assert_eq!(client.remove("a").await, applied(0));
    assert_eq!(client.take("a").await, Ok(None));
}

/// Creating a session with an id that is taken fails and changes nothing.
pub async fn create_never_overwrites_a_session(subject: &impl Subject) {
    let client = session(subject, &[("a", "1")]).await;
    let thief = client.with(secret());
    let value = bytes("stolen");
    let fields = [FieldWrite::new("a", &value)];
    let error = thief.create(None, None, &fields).await.expect_err("a taken id should be refused");
    assert_eq!(error.kind(), StoreErrorKind::Exists);
    thief.is_refused(Refusal::NotFound).await;
    client.holds(&[("a", "1")]).await;
}

/// However a deletion and writes interleave, the session ends.
// proves: ASVS-7.4.1
pub async fn a_deletion_wins_over_racing_writes(subject: &impl Subject) {
    for _ in 0..subject.rounds() {
        let client = session(subject, &[("a", "1")]).await;
        let mut runners = vec![runner({
            let client = client.through(subject);
            async move { assert_eq!(client.delete().await, Ok(())) }
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
                        _ => drop(client.expire("a", Duration::from_secs(60)).await),
                    }
                }
            }));
        }
        race(runners).await;
        client.is_refused(Refusal::Deleted).await;
    }
}

/// The ways in which a session ends.
#[derive(Clone, Copy)]
enum End {
    Deletion,
    Revocation,
    RevokeEveryone,
}

/// Ends a session of a principal. Returns whether it has ended: a rotation may have come before a
/// deletion.
async fn end<S: Store>(client: &Client<S>, ada: &PrincipalKey, end: End) -> bool {
    let answer = "the store should answer";
    match end {
        End::Deletion => client.delete().await.is_ok(),
        End::Revocation => {
            let target = RevokeTarget::One(&client.id);
            client.store.revoke(ada, target).await.expect(answer).answer == [client.id]
        }
        End::RevokeEveryone => {
            client.store.revoke_everyone().await.expect(answer);
            true
        }
    }
}

/// However the end of a session and other operations interleave, the session stays ended. A store
/// may write it back that reads it, changes it and writes it, for a touch, a rotation or a sign-in.
// proves: ASVS-7.4.1
pub async fn an_end_wins_over_every_racing_operation(subject: &impl Subject) {
    let hour = Duration::from_secs(3600);
    for round in 0..subject.rounds() {
        let (ada, client) = (principal(), new_client(subject));
        let create = Create::new(&client.id, &client.secret).idle(ttl(hour));
        let created = client.store.create(create.sign_in(Some(sign_in_of(&ada)))).await;
        created.expect("a new session should be possible");
        let how = [End::Deletion, End::Revocation, End::RevokeEveryone][round % 3];
        let ending = client.through(subject);
        let mut runners = vec![runner(async move { end(&ending, &ada, how).await })];
        for task in 0..8 {
            let client = client.through(subject);
            runners.push(runner(async move {
                // A touch that is always due.
                let touch = touch(hour, Duration::ZERO);
                let who = sign_in_of(&ada);
                let sign_in = AuthChange::In { who, idle: ttl(hour), absolute: None };
                let new = secret();
                for _ in 0..3 {
                    match task {
                        0 | 1 => drop(client.load(Projection::Named(&["a"]), touch).await),
                        2 | 3 => {
                            let value = bytes("revived");
                            let changes = [Change::Set(FieldWrite::new("a", &value))];
                            drop(client.update(Update::new(&changes).touch(touch)).await);
                        }
                        4 => drop(client.rotate(&new).await),
                        5 => drop(client.renew(&new, Duration::from_millis(1), hour).await),
                        6 => drop(client.update(Update::new(&[]).auth_change(sign_in)).await),
                        _ => drop(client.set("b", "revived").await),
                    }
                }
                false
            }));
        }
        let has_ended = race(runners).await.contains(&true);
        let store = subject.store();
        let found = store.inspect(&client.id).await.expect("the store should answer");
        let loaded = client.through(subject).load(Projection::All, None).await;
        let is_back = found.is_some() || loaded.is_ok();
        assert!(!has_ended || !is_back, "no operation should bring a session back that has ended");
    }
}

/// A write that races a rotation is refused, or is applied and then found with the new secret.
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
                matches!(written, Ok(Updated::Applied { .. })).then_some(name)
            })
        });
        let runners = iter::once(rotation).chain(writes).collect();
        let mut kept: Vec<String> = race(runners).await.into_iter().flatten().collect();
        kept.sort();
        let found = new.fields().await.expect("the rotated session should exist");
        assert_eq!(found.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), kept);
        old.is_refused(Refusal::Replaced).await;
    }
}
