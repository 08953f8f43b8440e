//! Users and administrators end sessions, on each store.

use ruts_tests_stores::backends;
use ruts_tests_support::scenarios::sign_in::{
    a_back_channel_logout_ends_one_session, a_revoked_user_signs_in_at_once,
    users_and_administrators_end_sessions,
};

macro_rules! on_each_store {
    ($($backend:ident),+ $(,)?) => {
        $(
            // proves: ASVS-7.4.2 ASVS-7.4.5 ASVS-7.4.3 ASVS-7.2.4 ASVS-7.6.1
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $backend() {
                let pair = backends::$backend().await;
                users_and_administrators_end_sessions(pair.next()).await;
                a_revoked_user_signs_in_at_once(pair.next()).await;
                a_back_channel_logout_ends_one_session([pair.next(), pair.next()]).await;
            }
        )+
    };
}

on_each_store!(
    redis_through_fred,
    valkey_through_fred,
    cluster_through_redis_rs,
    postgres,
    redis_over_postgres,
    memory_over_postgres,
);
