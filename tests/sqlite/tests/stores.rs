//! Runs the conformance suite, and the scenarios for every store, on SQLite.

use std::{sync::Arc, time::Duration};

use ruts::{
    conformance::Subject,
    store::{Projection, layered::LayeredStore, memory::MemoryCache, sqlite::SqliteStore},
};
use ruts_tests_sqlite::{self as backends, Stores};
use ruts_tests_support::{
    TestSession, Time,
    scenarios::{
        encryption,
        field_index::{an_index_has_pages, sessions_are_found_by_an_indexed_field},
        lossy_browser::a_browser_on_a_lossy_network_loses_nothing,
        races,
        sign_in::{
            a_guest_keeps_the_cart_of_an_unheard_rotation, a_page_knows_why_its_user_is_signed_out,
            a_revoked_user_signs_in_at_once, users_and_administrators_end_sessions,
        },
        sign_in_model::every_sign_in_is_as_the_model_predicts,
        stored_values::{no_stored_value_is_guessed, settle_keeps_the_remaining_lifetime},
        versions::releases_share_their_sessions,
    },
    seeds,
};

/// Number of random seeds.
const SEEDS: usize = 2;

macro_rules! on_each_store {
    ($($backend:ident: $store:ty, $races:literal),+ $(,)?) => {
        $(mod $backend {
            use super::*;

            struct OnFiles(Stores<$store>, std::sync::atomic::AtomicUsize);

            impl Subject for OnFiles {
                type Store = $store;

                async fn set_up() -> Self {
                    Self(backends::$backend().await, Default::default())
                }

                fn store(&self) -> Arc<$store> {
                    let next = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    Arc::clone(&self.0.stores[next % 2])
                }

                /// Long enough for many checks that share a disk and perhaps only two cores.
                fn unit(&self) -> Duration {
                    Duration::from_secs(1)
                }
            }

            ruts::conformance_tests!(OnFiles);

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_lossy_browser() {
                for seed in seeds(SEEDS) {
                    let pair = backends::$backend().await;
                    let store = Arc::clone(&pair.stores[0]);
                    a_browser_on_a_lossy_network_loses_nothing(store, Time::Real, seed).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_model_of_sign_ins() {
                for seed in seeds(SEEDS) {
                    let pair = backends::$backend().await;
                    let store = Arc::clone(&pair.stores[0]);
                    every_sign_in_is_as_the_model_predicts(store, Time::Real, seed).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn users_sign_in_and_sessions_end() {
                let pair = backends::$backend().await;
                let [store, other] = &pair.stores;
                users_and_administrators_end_sessions(Arc::clone(store)).await;
                a_revoked_user_signs_in_at_once(Arc::clone(store)).await;
                a_guest_keeps_the_cart_of_an_unheard_rotation(Arc::clone(store)).await;
                let stores = [Arc::clone(store), Arc::clone(other)];
                releases_share_their_sessions(stores.clone()).await;
                no_stored_value_is_guessed(stores.clone()).await;
                settle_keeps_the_remaining_lifetime(stores.clone()).await;
                sessions_are_found_by_an_indexed_field(stores.clone()).await;
                an_index_has_pages(stores.clone()).await;
                a_page_knows_why_its_user_is_signed_out(stores, true).await;
            }

            #[tokio::test]
            async fn no_plaintext() {
                let pair = backends::$backend().await;
                encryption::a_store_holds_no_plaintext(&pair.stores[0]).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn write_against_delete() {
                let pair = backends::$backend().await;
                races::run($races, pair.stores.clone(), races::write_against_delete).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn write_against_rotate() {
                let pair = backends::$backend().await;
                races::run($races, pair.stores.clone(), races::write_against_rotate).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn take_against_take() {
                let pair = backends::$backend().await;
                races::run($races, pair.stores.clone(), races::take_against_take).await;
            }
        })+
    };
}

on_each_store! {
    sqlite: SqliteStore, 10_000,
    in_memory: SqliteStore, 2_000,
    memory_over_sqlite: LayeredStore<MemoryCache, SqliteStore>, 2_000,
}

/// A read runs on the thread of its task, and never waits. So the read itself has to yield to other
/// tasks.
#[tokio::test]
async fn a_task_that_only_reads_lets_others_run() {
    let Stores { stores: [store, _], .. } = &backends::sqlite().await;
    let session = TestSession::new(store);
    session.create(None).await.unwrap();
    let other = tokio::spawn(async {});
    for _ in 0..10_000 {
        if other.is_finished() {
            return;
        }
        session.load_fields(Projection::All, None).await.unwrap().unwrap();
    }
    panic!("the other task should have run");
}
