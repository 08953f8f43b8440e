//! The contract of [`Store`](crate::store::Store) as tests that any store can run.
//!
//! Implement [`Subject`] for your store and name it in [`conformance_tests!`](crate::conformance_tests):
//! every check becomes a `#[tokio::test]` of its own, on a runtime with several threads (your crate
//! needs tokio with `macros` and `rt-multi-thread`). A check that fails panics and says which
//! promise of the contract was broken.
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
//! # fn main() {}
//! ```
#![allow(clippy::expect_used, clippy::panic, reason = "a check that fails is a panic")]

pub mod atomicity;
mod client;
pub mod expiry;
pub mod merging;
pub mod ownership;
pub mod renewal;
pub mod revival;
pub mod revocation;
mod subject;
pub mod values;

pub use self::subject::Subject;

/// Runs the whole [conformance suite](crate::conformance) on a
/// [`Subject`](crate::conformance::Subject), one test for each check.
#[macro_export]
macro_rules! conformance_tests {
    ($subject:ty) => {
        $crate::conformance_tests! { $subject =>
            values {
                a_created_session_is_found
                any_bytes_survive
                any_name_survives
                only_the_named_fields_are_read
                sweeping_frees_only_what_ended
                hot_policies_are_kept
            }
            revocation {
                a_wrong_secret_opens_nothing
                a_write_is_seen_at_once
                a_deletion_is_seen_at_once
                a_rotation_is_seen_at_once
                a_repeated_rotation_changes_nothing
                only_the_last_secret_counts_as_replaced
                a_replaced_secret_says_since_when
            }
            revival {
                nothing_but_create_creates
                nothing_revives_a_deleted_session
                nothing_revives_an_expired_session
                nothing_revives_an_expired_field
                create_leaves_a_session_alone
                a_deletion_wins_over_racing_writes
                a_write_that_races_a_rotation_is_kept_or_refused
            }
            merging {
                parallel_writes_to_different_fields_survive
                one_of_parallel_expectations_is_met
                parallel_increments_all_count
                a_value_is_taken_once
                one_of_parallel_rotations_wins
                one_of_parallel_creations_wins
            }
            expiry {
                a_field_ends_with_its_lifetime
                a_write_renews_a_lifetime
                a_lifetime_can_be_changed
                an_expired_field_is_absent_to_every_operation
                a_session_ends_when_idle
                a_use_counts_after_a_while
                a_session_ends_absolutely
                the_absolute_deadline_can_be_moved
                what_is_left_is_told
            }
            renewal {
                a_renewed_secret_leaves_the_former_as_good
                a_secret_that_was_used_leaves_the_former_a_grace
                a_late_secret_changes_nothing_but_fields
                a_young_secret_is_not_renewed
                one_of_parallel_renewals_wins
                a_secret_that_nobody_used_is_replaced
            }
            ownership {
                who_is_signed_in_is_told
                a_sign_in_begins_both_deadlines_anew
                no_deadline_goes_beyond_that_of_the_sign_in
                sessions_are_found_by_their_principal
                a_list_has_pages
                what_ended_is_not_found
                a_revocation_ends_one_session
                a_revocation_ends_all_sessions_but_one
                a_revocation_ends_sign_ins_that_race_it
                a_limit_refuses_another_sign_in
                a_limit_ends_the_oldest_session
                a_limit_holds_for_parallel_sign_ins
                a_refused_sign_in_takes_no_room
                one_of_parallel_sign_ins_of_a_session_wins
                everybody_is_signed_out_at_once
                who_watches_sees_the_end
            }
            atomicity {
                an_update_applies_in_order
                a_conflict_changes_nothing
                an_expectation_is_of_the_value_alone
                a_taking_rotation_is_one_step
                racing_updates_never_mix
            }
        }
    };
    ($subject:ty => $($promise:ident { $($check:ident)+ })+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() {
                let subject = <$subject as $crate::conformance::Subject>::set_up().await;
                $crate::conformance::$promise::$check(&subject).await;
            }
        )+)+
    };
}
