//! Runs two kinds of scenario on each store: users and administrators end sessions, and several
//! releases share sessions.

use ruts_tests_stores::backends;
use ruts_tests_support::scenarios::{
    field_index::{an_index_has_pages, sessions_are_found_by_an_indexed_field},
    sign_in::{
        a_back_channel_logout_ends_one_session, a_guest_keeps_the_cart_of_an_unheard_rotation,
        a_page_knows_why_its_user_is_signed_out, a_revoked_user_signs_in_at_once,
        users_and_administrators_end_sessions,
    },
    stored_values::{no_stored_value_is_guessed, settle_keeps_the_remaining_lifetime},
    versions::releases_share_their_sessions,
};

macro_rules! on_each_store {
    ($($backend:ident, $knows_expiry:literal;)+) => {
        $(
            // proves: ASVS-7.4.2 ASVS-7.4.5 ASVS-7.4.3 ASVS-7.2.4 ASVS-7.6.1
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $backend() {
                let pair = backends::$backend().await;
                users_and_administrators_end_sessions(pair.next()).await;
                a_revoked_user_signs_in_at_once(pair.next()).await;
                a_back_channel_logout_ends_one_session([pair.next(), pair.next()]).await;
                a_guest_keeps_the_cart_of_an_unheard_rotation(pair.next()).await;
                releases_share_their_sessions([pair.next(), pair.next()]).await;
                no_stored_value_is_guessed([pair.next(), pair.next()]).await;
                settle_keeps_the_remaining_lifetime([pair.next(), pair.next()]).await;
                sessions_are_found_by_an_indexed_field([pair.next(), pair.next()]).await;
                an_index_has_pages([pair.next(), pair.next()]).await;
                let stores = [pair.next(), pair.next()];
                a_page_knows_why_its_user_is_signed_out(stores, $knows_expiry).await;
            }
        )+
    };
}

on_each_store!(
    redis_through_fred, false;
    valkey_through_fred, false;
    cluster_through_redis_rs, false;
    postgres, true;
    mysql, true;
    redis_over_postgres, true;
    memory_over_postgres, true;
);
