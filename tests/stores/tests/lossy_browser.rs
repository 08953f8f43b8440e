//! Runs a browser that loses every second answer on each store.

use ruts_tests_stores::backends;
use ruts_tests_support::{
    Time, scenarios::lossy_browser::a_browser_on_a_lossy_network_loses_nothing, seeds,
};

/// Number of random seeds.
const SEEDS: usize = 2;

macro_rules! on_each_store {
    ($($backend:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $backend() {
                for seed in seeds(SEEDS) {
                    let pair = backends::$backend().await;
                    let store = pair.next();
                    a_browser_on_a_lossy_network_loses_nothing(store, Time::Real, seed).await;
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
