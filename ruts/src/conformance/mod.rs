//! The contract of [`Store`](crate::store::Store) as tests that can run on any store.
//!
//! Implement [`Subject`] for a type that creates the store, and name that type in
//! [`conformance_tests!`](crate::conformance_tests). Every check becomes a `#[tokio::test]` on a
//! runtime with several threads. The crate of the tests needs tokio with the features `macros` and
//! `rt-multi-thread`. A failing check panics. The name and the documentation of each check state
//! the requirement that it tests.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//! use ruts::{conformance::Subject, store::memory::{ManualClock, MemoryStore}};
//!
//! struct InMemory {
//!     clock: ManualClock,
//!     store: Arc<MemoryStore>,
//! }
//!
//! impl Subject for InMemory {
//!     type Store = MemoryStore;
//!
//!     async fn set_up() -> Self {
//!         let clock = ManualClock::new();
//!         let store = MemoryStore::builder().clock(clock.clone()).build();
//!         Self { clock, store: Arc::new(store) }
//!     }
//!
//!     fn store(&self) -> Arc<MemoryStore> {
//!         Arc::clone(&self.store)
//!     }
//!
//!     async fn pass(&self, time: Duration) {
//!         self.clock.advance(time);
//!     }
//! }
//!
//! ruts::conformance_tests!(InMemory);
//! // For a store that implements `RecordStore`, as this one does.
//! ruts::record_store_tests!(InMemory);
//! # fn main() {}
//! ```
#![allow(clippy::expect_used, clippy::panic, reason = "a failing check panics")]

pub mod atomicity;
mod client;
pub mod expiry;
pub mod internal;
pub mod limits;
pub mod listing;
pub mod merging;
mod principal;
pub mod recency;
pub mod record_store;
pub mod renewal;
pub mod revival;
pub mod revocation;
pub mod sign_in;
mod subject;
mod timed;
pub mod values;

pub use self::{
    subject::Subject,
    timed::{Timed, run},
};

/// Runs the [conformance suite](crate::conformance) on a [`Subject`](crate::conformance::Subject),
/// with one test for each check.
#[macro_export]
macro_rules! conformance_tests {
    ($subject:ty) => {
        $crate::conformance_tests! { $subject =>
            values {
                a_created_session_is_found
                ids_differ_by_any_bit
                any_bytes_survive
                a_very_long_value_is_whole_or_refused
                any_name_survives
                names_differ_by_any_byte
                many_fields_are_written_and_read_at_once
                only_the_named_fields_are_read
                delete_expired_frees_only_expired_sessions
                cache_policies_are_kept
                a_creation_keeps_cache_policies_and_ttls
            }
            recency {
                a_wrong_secret_opens_nothing
                a_secret_is_compared_as_a_whole
                a_write_is_seen_at_once
                a_deletion_is_seen_at_once
                a_deleted_session_is_recognised_for_a_minute
                a_rotation_is_seen_at_once
                a_repeated_rotation_changes_nothing
                only_the_last_secret_counts_as_replaced
                a_replaced_secret_gets_the_time_since
            }
            revival {
                only_create_creates_a_session
                nothing_revives_a_deleted_session
                nothing_revives_an_expired_session
                a_suspended_operation_revives_nothing
                nothing_revives_an_expired_field
                create_never_overwrites_a_session
                a_deletion_wins_over_racing_writes
                an_end_wins_over_every_racing_operation
                a_write_that_races_a_rotation_is_kept_or_refused
            }
            merging {
                parallel_writes_to_different_fields_survive
                one_of_parallel_conditional_updates_applies
                parallel_increments_all_count
                a_value_is_taken_once
                a_newer_value_is_not_taken
                one_of_parallel_rotations_wins
                one_of_parallel_creations_wins
            }
            expiry {
                a_field_expires_after_its_lifetime
                a_write_resets_the_lifetime
                a_lifetime_can_be_changed
                the_shortest_lifetime_ends
                long_lifetimes_are_kept
                a_session_lives_for_a_month
                an_expired_field_is_absent_to_every_operation
                a_session_ends_when_idle
                a_touch_counts_once_it_is_due
                a_touch_can_shorten_the_idle_time
                a_session_ends_at_its_absolute_deadline
                the_absolute_deadline_can_be_moved
                a_read_returns_ages_and_lifetimes
                an_expired_session_names_its_deadline
            }
            renewal {
                the_former_secret_stays_valid_until_the_new_one_is_used
                using_the_new_secret_starts_the_grace_period
                every_write_with_the_new_secret_starts_the_grace_period
                a_secret_in_its_grace_period_has_few_rights
                a_young_secret_is_not_renewed
                one_of_parallel_renewals_wins
                the_next_renewal_replaces_an_unused_secret
                a_renewal_extends_the_session_in_the_same_update
            }
            internal {
                internal_credentials_open_a_live_session
                internal_credentials_use_nothing
                a_touch_with_internal_credentials_counts
                internal_credentials_have_few_rights
                internal_credentials_open_no_ended_session
            }
            sign_in {
                a_read_returns_the_principal
                a_creation_keeps_its_sign_in
                a_sign_in_restarts_both_deadlines
                a_sign_out_keeps_both_deadlines
                a_lapse_keeps_the_time_of_the_sign_in
                another_principal_starts_without_fields
                no_update_exceeds_the_deadline_of_the_sign_in
                one_of_parallel_sign_ins_of_a_session_wins
                inspect_sees_the_principal_and_the_end
            }
            listing {
                sessions_are_listed_by_their_principal
                principals_differ_by_any_bit
                pages_omit_no_session
                ended_sessions_are_neither_listed_nor_counted
                a_principal_may_have_many_sessions
            }
            limits {
                a_limit_refuses_another_sign_in
                a_limit_ends_the_oldest_session
                a_refused_sign_in_does_not_count
                a_limit_holds_for_parallel_sign_ins
            }
            revocation {
                a_revocation_ends_one_session
                a_revocation_ends_all_sessions_but_one
                a_revoked_session_is_recognised
                a_revocation_ends_sign_ins_that_race_it
                revoke_everyone_ends_all_sessions
            }
            atomicity {
                changes_apply_in_order
                many_changes_of_a_field_apply_in_order
                a_conflict_changes_nothing
                a_precondition_compares_the_value_alone
                a_precondition_compares_every_byte
                an_empty_value_is_not_an_absent_field
                take_and_rotate_is_one_step
                racing_updates_never_mix
                a_dropped_update_is_done_or_not
            }
        }
    };
    ($subject:ty => $($promise:ident { $($check:ident)+ })+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() {
                $crate::conformance::run::<$subject>($crate::conformance::$promise::$check).await;
            }
        )+)+
    };
}

/// Runs the checks of a [`RecordStore`](crate::store::RecordStore) on a
/// [`Subject`](crate::conformance::Subject), in addition to
/// [`conformance_tests!`](crate::conformance_tests). They check a fault that no call of
/// [`Store`](crate::store::Store) shows reliably.
#[macro_export]
macro_rules! record_store_tests {
    ($subject:ty) => {
        $crate::conformance_tests! { $subject =>
            record_store {
                the_clock_is_read_under_the_lock
            }
        }
    };
}
