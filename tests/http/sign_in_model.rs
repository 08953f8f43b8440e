//! Compares random sign-ins with a model, on the stores in memory.

use std::sync::Arc;

use ruts::store::{
    layered::LayeredStore,
    memory::{MemoryCache, MemoryStore},
};
use ruts_tests_support::{
    Time, TokioClock, scenarios::sign_in_model::every_sign_in_is_as_the_model_predicts, seeds,
};

/// Number of random seeds.
const SEEDS: usize = 5;

fn store() -> MemoryStore {
    MemoryStore::builder().clock(TokioClock::start()).build()
}

#[tokio::test(start_paused = true)]
async fn memory() {
    for seed in seeds(SEEDS) {
        every_sign_in_is_as_the_model_predicts(Arc::new(store()), Time::Paused, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn memory_over_memory() {
    for seed in seeds(SEEDS) {
        let cache = MemoryCache::builder(100).clock(TokioClock::start()).build();
        let store = LayeredStore::builder(cache, store()).build_for_one_process();
        every_sign_in_is_as_the_model_predicts(Arc::new(store), Time::Paused, seed).await;
    }
}
