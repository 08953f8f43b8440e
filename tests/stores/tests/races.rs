//! Races between two operations on one session: 10,000 of each kind in memory, on Redis and on
//! PostgreSQL, and fewer on other stores.

use ruts_tests_stores::backends;
use ruts_tests_support::scenarios::races;

macro_rules! races {
    ($($backend:ident: $number:literal),+ $(,)?) => {
        $(mod $backend {
            use super::*;

            // proves: ASVS-7.4.1 ASVS-15.4.1
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn write_against_delete() {
                let pair = backends::$backend().await;
                races::run($number, [pair.next(), pair.next()], races::write_against_delete).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn write_against_rotate() {
                let pair = backends::$backend().await;
                races::run($number, [pair.next(), pair.next()], races::write_against_rotate).await;
            }

            // proves: ASVS-15.4.1
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn take_against_take() {
                let pair = backends::$backend().await;
                races::run($number, [pair.next(), pair.next()], races::take_against_take).await;
            }
        })+
    };
}

races!(
    memory: 10_000,
    redis_through_fred: 10_000,
    valkey_through_fred: 2_000,
    batched_redis: 1_000,
    batched_postgres: 500,
    cluster_through_redis_rs: 2_000,
    postgres: 10_000,
    mysql: 1_500,
    redis_over_postgres: 2_500,
);
