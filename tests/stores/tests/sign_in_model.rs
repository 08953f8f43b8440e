//! Compares random sign-ins with a model, on each store.

use ruts_tests_stores::backends;
use ruts_tests_support::{
    Time, scenarios::sign_in_model::every_sign_in_is_as_the_model_predicts, seeds,
};

/// Number of random seeds.
const SEEDS: usize = 3;

macro_rules! on_each_store {
    ($($backend:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $backend() {
                for seed in seeds(SEEDS) {
                    let pair = backends::$backend().await;
                    every_sign_in_is_as_the_model_predicts(pair.next(), Time::Real, seed).await;
                }
            }
        )+
    };
}

on_each_store!(
    redis_through_fred,
    valkey_through_fred,
    cluster_through_redis_rs,
    postgres,
    mysql,
    redis_over_postgres,
    memory_over_postgres,
);
