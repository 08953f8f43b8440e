//! Two operations on one session at the same time, each through a connection of its own.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use ruts::{
    store::{Refused, Store},
    token::SecretHash,
};

use crate::{APPLIED, DELETED, TestSession, random, taken};

/// Number of races at the same time.
const PARALLEL: usize = 32;

/// Runs a race many times, and checks that each side wins some of the races.
///
/// # Panics
///
/// Panics if a race broke a promise, or if one side won less than 1 % of the races.
pub async fn run<S: Store, R: Future<Output = bool> + Send + 'static>(
    number: usize,
    stores: [Arc<S>; 2],
    race: fn(TestSession<S>, TestSession<S>, bool) -> R,
) {
    let runs = stream::iter(0..number).map(|number| {
        let [mut here, mut there] = stores.clone();
        if number % 4 < 2 {
            std::mem::swap(&mut here, &mut there);
        }
        async move {
            let one = TestSession::begin(&here).await;
            let other = one.through(&there);
            tokio::spawn(race(one, other, number % 2 == 0)).await.unwrap()
        }
    });
    let won = runs.buffer_unordered(PARALLEL).filter(|won| std::future::ready(*won)).count().await;
    // If one side wins almost always, the two operations do not race.
    assert!(
        (number / 100..number * 99 / 100).contains(&won),
        "each side should win at least 1 % of {number} races, but one won {won}"
    );
}

/// Runs both operations concurrently. If `in_order`, it polls `one` first, otherwise `other`.
async fn at_once<A, B>(
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
    in_order: bool,
) -> (A, B) {
    if in_order {
        tokio::join!(biased; one, other)
    } else {
        let (b, a) = tokio::join!(biased; other, one);
        (a, b)
    }
}

/// Returns whether the write came first. The session has ended in both cases.
pub async fn write_against_delete<S: Store>(
    one: TestSession<S>,
    other: TestSession<S>,
    in_order: bool,
) -> bool {
    let (written, deleted) = at_once(one.set("a", "1"), other.delete(), in_order).await;
    assert_eq!(deleted.unwrap(), DELETED);
    let ended = one.load().await.unwrap();
    assert!(
        matches!(ended, Err(Refused::Deleted { .. })),
        "the write should not revive the session: {ended:?}"
    );
    match written.unwrap() {
        Err(Refused::Deleted { .. }) => false,
        written => {
            assert_eq!(written, APPLIED);
            true
        }
    }
}

/// Returns whether the write came first. Checks that the value is stored if and only if it did.
pub async fn write_against_rotate<S: Store>(
    one: TestSession<S>,
    other: TestSession<S>,
    in_order: bool,
) -> bool {
    let secret = SecretHash::from_bytes(random());
    let (written, rotated) = at_once(one.set("a", "1"), other.rotate(&secret), in_order).await;
    assert_eq!(rotated.unwrap(), APPLIED);
    let value = one.with_secret(secret).get("a").await.unwrap();
    match written.unwrap() {
        Err(Refused::Replaced { .. }) => {
            assert_eq!(value, None, "a refused write should not be carried out");
            false
        }
        written => {
            assert_eq!(written, APPLIED);
            assert_eq!(value, Some(Bytes::from_static(b"1")), "no write should be lost");
            true
        }
    }
}

/// Returns whether `one` took the value. Checks that exactly one of `one` and `other` took it.
pub async fn take_against_take<S: Store>(
    one: TestSession<S>,
    other: TestSession<S>,
    in_order: bool,
) -> bool {
    assert_eq!(one.set("a", "1").await.unwrap(), APPLIED);
    let (one, other) = at_once(one.take("a"), other.take("a"), in_order).await;
    let (one, other) = (one.unwrap(), other.unwrap());
    let (value, nothing) = (taken(Some(Bytes::from_static(b"1"))), taken(None));
    let is_taken_once = one == value && other == nothing || one == nothing && other == value;
    assert!(is_taken_once, "only one side should take the value: {one:?} and {other:?}");
    one == value
}
