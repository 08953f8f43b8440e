//! Ten thousand races of each kind on every store, less on two tiers, which take three times as long: two operations on one session at the same moment,
//! through connections of their own.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use ruts::{
    SecretHash,
    store::{Lookup, Store, Updated},
};
use ruts_tests::{
    Visitor,
    backends::{self, Pair},
    random,
};

const AT_ONCE: usize = 32;

/// A session as two requests know it.
async fn two<S: Store>(pair: &Pair<S>) -> (Visitor<S>, Visitor<S>) {
    let one = Visitor::begin(&pair.next()).await;
    let other = Visitor { store: pair.next(), ..one.clone() };
    (one, other)
}

/// Runs the race until it has been run often, and returns how often it was won.
async fn races<S: Store, R: Future<Output = bool> + Send + 'static>(
    number: usize,
    pair: Pair<S>,
    race: fn(Visitor<S>, Visitor<S>, bool) -> R,
) {
    let pair = Arc::new(pair);
    let runs = stream::iter(0..number).map(|number| {
        let pair = Arc::clone(&pair);
        async move {
            let (one, other) = two(&*pair).await;
            tokio::spawn(race(one, other, number % 2 == 0)).await.unwrap()
        }
    });
    let won = runs.buffer_unordered(AT_ONCE).filter(|won| std::future::ready(*won)).count().await;
    // Otherwise these were no races.
    assert!((number / 100..number * 99 / 100).contains(&won), "{won} of {number}");
}

/// Both at once, started in this order or the other.
async fn together<A, B>(
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

const APPLIED: Lookup<Updated> = Lookup::Found(Updated::Applied { found: 0 });

/// Whether the write came first. Either way nothing is left.
async fn write_against_delete<S: Store>(one: Visitor<S>, other: Visitor<S>, order: bool) -> bool {
    let (written, deleted) = together(one.set("a", "1"), other.delete(), order).await;
    assert_eq!(deleted.unwrap(), Lookup::Found(()));
    assert!(matches!(one.load().await.unwrap(), Lookup::Ended { .. }), "it is back");
    match written.unwrap() {
        Lookup::Ended { .. } => false,
        written => {
            assert_eq!(written, APPLIED);
            true
        }
    }
}

/// Whether the write came first. It is there exactly if it said so.
async fn write_against_rotate<S: Store>(one: Visitor<S>, other: Visitor<S>, order: bool) -> bool {
    let secret = SecretHash::from_bytes(random());
    let (written, rotated) = together(one.set("a", "1"), other.rotate(&secret), order).await;
    assert_eq!(rotated.unwrap(), APPLIED);
    let held = Visitor { secret, ..one }.get("a").await.unwrap();
    match written.unwrap() {
        Lookup::Replaced { .. } => {
            assert_eq!(held, None, "a refused write was done");
            false
        }
        written => {
            assert_eq!(written, APPLIED);
            assert_eq!(held, Some(Bytes::from_static(b"1")), "a write was lost");
            true
        }
    }
}

/// Whether the first of them got it. Exactly one does.
async fn take_against_take<S: Store>(one: Visitor<S>, other: Visitor<S>, order: bool) -> bool {
    assert_eq!(one.set("a", "1").await.unwrap(), APPLIED);
    let (one, other) = together(one.take("a"), other.take("a"), order).await;
    let value = || Lookup::Found(Some(Bytes::from_static(b"1")));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(
        (one == value() && other == Lookup::Found(None))
            || (one == Lookup::Found(None) && other == value()),
        "{one:?} and {other:?}"
    );
    one == value()
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
    crowded_redis: 2_000,
    crowded_postgres: 2_000,
    cluster_through_redis_rs: 10_000,
    postgres: 10_000,
    redis_over_postgres: 2_500,
);
