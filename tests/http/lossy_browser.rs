//! Runs a browser that loses every second answer on the stores in memory.

use std::sync::Arc;

use ruts::store::{
    layered::LayeredStore,
    memory::{MemoryCache, MemoryStore},
};
use ruts_tests_support::{
    Time, TokioClock, scenarios::lossy_browser::a_browser_on_a_lossy_network_loses_nothing, seeds,
};

/// Number of random seeds.
const SEEDS: usize = 20;

fn store() -> MemoryStore {
    MemoryStore::builder().clock(TokioClock::start()).build()
}

#[tokio::test(start_paused = true)]
async fn memory() {
    for seed in seeds(SEEDS) {
        a_browser_on_a_lossy_network_loses_nothing(Arc::new(store()), Time::Paused, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn memory_over_memory() {
    for seed in seeds(SEEDS) {
        let cache = MemoryCache::builder(100).clock(TokioClock::start()).build();
        let store = LayeredStore::builder(cache, store()).build_for_one_process();
        a_browser_on_a_lossy_network_loses_nothing(Arc::new(store), Time::Paused, seed).await;
    }
}
