//! Two operations on one session at the same moment, through connections of their own: ten thousand
//! races of each kind on every store, fewer where a race takes longer.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use ruts::{
    store::{Refused, Store},
    token::SecretHash,
};
use ruts_tests_stores::backends::{self, Pair};
use ruts_tests_support::{APPLIED, DELETED, TestSession, random, taken};

/// Number of races at the same time.
const PARALLEL: usize = 32;

/// Creates a session, and returns it as two requests see it.
async fn two<S: Store>(pair: &Pair<S>) -> (TestSession<S>, TestSession<S>) {
    let one = TestSession::begin(&pair.next()).await;
    let other = one.through(&pair.next());
    (one, other)
}

/// Runs a race many times, and checks that each side wins some of them.
async fn races<S: Store, R: Future<Output = bool> + Send + 'static>(
    number: usize,
    pair: Pair<S>,
    race: fn(TestSession<S>, TestSession<S>, bool) -> R,
) {
    let pair = Arc::new(pair);
    let runs = stream::iter(0..number).map(|number| {
        let pair = Arc::clone(&pair);
        async move {
            let (one, other) = two(&*pair).await;
            tokio::spawn(race(one, other, number % 2 == 0)).await.unwrap()
        }
    });
    let won = runs.buffer_unordered(PARALLEL).filter(|won| std::future::ready(*won)).count().await;
    // With another share, the two operations do not race.
    assert!((number / 100..number * 99 / 100).contains(&won), "{won} of {number}");
}

/// Runs both operations at once. Starts them in this order or in the other one.
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
async fn write_against_delete<S: Store>(
    one: TestSession<S>,
    other: TestSession<S>,
    in_order: bool,
) -> bool {
    let (written, deleted) = at_once(one.set("a", "1"), other.delete(), in_order).await;
    assert_eq!(deleted.unwrap(), DELETED);
    let ended = one.load().await.unwrap();
    assert!(matches!(ended, Err(Refused::Ended { .. })), "the write revived it: {ended:?}");
    match written.unwrap() {
        Err(Refused::Ended { .. }) => false,
        written => {
            assert_eq!(written, APPLIED);
            true
        }
    }
}

/// Returns whether the write came first. The value is there exactly then.
async fn write_against_rotate<S: Store>(
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
            assert_eq!(value, None, "a refused write was carried out");
            false
        }
        written => {
            assert_eq!(written, APPLIED);
            assert_eq!(value, Some(Bytes::from_static(b"1")), "a write was lost");
            true
        }
    }
}

/// Returns whether the first one took the value. Exactly one of them does.
async fn take_against_take<S: Store>(
    one: TestSession<S>,
    other: TestSession<S>,
    in_order: bool,
) -> bool {
    assert_eq!(one.set("a", "1").await.unwrap(), APPLIED);
    let (one, other) = at_once(one.take("a"), other.take("a"), in_order).await;
    let (one, other) = (one.unwrap(), other.unwrap());
    let (value, nothing) = (taken(Some(Bytes::from_static(b"1"))), taken(None));
    let is_taken_once = one == value && other == nothing || one == nothing && other == value;
    assert!(is_taken_once, "{one:?} and {other:?}");
    one == value
}

macro_rules! races {
    ($($backend:ident: $number:literal),+ $(,)?) => {
        $(mod $backend {
            use super::*;

            // proves: ASVS-7.4.1 ASVS-15.4.1
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn write_against_delete() {
                races($number, backends::$backend().await, super::write_against_delete).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn write_against_rotate() {
                races($number, backends::$backend().await, super::write_against_rotate).await;
            }

            // proves: ASVS-15.4.1
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn take_against_take() {
                races($number, backends::$backend().await, super::take_against_take).await;
            }
        })+
    };
}

races!(
    memory: 10_000,
    redis_through_fred: 10_000,
    valkey_through_fred: 10_000,
    batched_redis: 2_000,
    batched_postgres: 2_000,
    cluster_through_redis_rs: 10_000,
    postgres: 10_000,
    redis_over_postgres: 2_500,
);
