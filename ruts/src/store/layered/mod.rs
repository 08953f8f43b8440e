//! Sessions in a store of record, read through a cache that cannot serve what was deleted.
//!
//! A [`LayeredStore`] keeps the contract of [`Store`](super::Store) with two tiers. *Cold*, any store, is
//! the truth: it decides every write. *Hot*, a [`Cache`](super::Cache), may lose anything at any time. A
//! `RedisStore` can be either; a [`MemoryCache`](super::memory::MemoryCache) serves one process.
//!
//! # How they are kept in step
//!
//! - A **write** raises a intent in the cache, which forgets what is about to change; is carried out by the
//!   store of record; and takes the intent away, leaving behind what it wrote if no other intent stood
//!   beside its own. Only then does it return.
//! - A **read** that finds all it asks for is a hit. An unset field is a hit too, if it was asked for
//!   before. Otherwise the reader gets a lease, reads the store of record, and fills the cache if its
//!   lease is still good: no intent was raised since. It does not wait for that.
//! - A intent falls by itself ([`LayeredStore::with_fence`]), so that a writer that dies leaves an empty
//!   place. One that finds its intent gone when it finishes empties the entry and takes back the lease.
//! - Lives in the cache are counted from the moment on the cache's clock at which the reader or writer
//!   came. So a late command serves nothing for longer, and the tiers' clocks need not agree.
//! - An entry carries the replication id of its server, which changes with every start and every
//!   failover: what was written before is out of reach, also when it comes back from a snapshot or a
//!   replica.
//!
//! The protocol, and the protocol without any one of its parts, is explored state by state in the
//! repository's `tests/protocol`.
//!
//! # What a field's policy means here
//!
//! [`CachePolicy::Auto`](crate::CachePolicy::Auto): as long as [`LayeredStore::with_hot_ttl`]; [`For`](crate::CachePolicy::For):
//! less. [`Never`](crate::CachePolicy::Never): a read that names it goes to the store of record alone.
//! [`Checked`](crate::CachePolicy::Checked): the store of record is asked for it at the same time, and if the
//! cache holds something else, for all. For roles and permissions: it holds even if the cache lies, also
//! about a field that is not there, as long as it is read by its typed key. Reads of everything confirm the
//! checked fields that this process has heard of.
//!
//! # Round trips
//!
//! | operation | hot | cold |
//! | --- | --- | --- |
//! | a read that hits | 1 | |
//! | a read that misses | 1, and 1 that nobody waits for | 1 |
//! | a read of a field that is never cached | | 1 |
//! | a read of a field that is checked | 1 | 1, at the same time |
//! | any write, or a use that is always granted (`after` of zero) | 2 | 1 |
//! | a new session | | 1 |
//!
//! The first time, a field's policy is not known yet: then it is one trip more. A read that moves the idle
//! deadline waits for the cache to know, or to have forgotten; that is a trip more if it passed the cache by.
//!
//! # Failures
//!
//! Every wait is bounded: for the cache by [`LayeredStore::with_hot_timeout`], of which an operation has
//! four at most, and for the store of record by [`LayeredStore::with_cold_timeout`], three at most.
//!
//! If the cache is down, reads go on without it, and one of them tries it again every second; one warning
//! says so. Writes are refused before anything was changed, or, with
//! [`LayeredStore::writes_without_hot`] and for deletions always, are carried out and answered with
//! [`Lookup::Unconfirmed`](super::Lookup::Unconfirmed). So is a write whose finish did not come through.
//! Until the cache has been told to forget such a session, which is tried again and again, this process
//! reads it past the cache; others may see what was before, for `with_hot_ttl` at most.
//!
//! If the store of record is down, hits are still served, unless [`LayeredStore::hits_without_cold`] says
//! otherwise; all else fails. If it does not say whether a write took place, the intent is left standing.
//!
//! What becomes of the promises, and the tests that show it (in `tests/tests/layered`, where not said
//! otherwise):
//!
//! | what happens | R: nothing from before is read | N: nothing is revived | M: no write is lost | E: lifetimes | A: writes are whole |
//! | --- | --- | --- | --- | --- | --- |
//! | nothing in particular | kept ¹ ² | kept ¹ ² | kept ¹ ² | kept ¹ | kept ¹ |
//! | a slow reader fills late | kept ³ | kept ³ | kept ⁵ | kept ³ | kept ⁵ |
//! | writers overtake each other | kept ⁴ | kept ² | kept ² ⁴ | kept ⁵ | kept ¹ ⁵ |
//! | the cache forgets, or starts again empty | kept ⁶ ⁷ | kept ⁶ ⁷ | kept ⁵ | kept ⁵ | kept ⁵ |
//! | it comes back with older data, or fails over | kept ⁸ ⁹ | kept ⁸ ⁹ | kept ⁵ | kept ⁵ | kept ⁵ |
//! | it is down or hangs, at a read | kept ⁷ ¹⁰ | kept ⁷ ¹⁰ | kept ⁵ | kept ⁵ | kept ⁵ |
//! | it is down or hangs, at a write | kept, or unconfirmed ⁷ ¹⁰ ¹¹ | as R ⁷ ¹⁰ ¹¹ | kept ⁷ ¹⁰ | kept ⁵ | kept ⁵ |
//! | the finish is not confirmed | unconfirmed ¹² | as R ⁵ | kept ¹² | kept ⁵ | kept ⁵ |
//! | it is full | kept ¹³ | kept ¹³ | kept ¹³ | kept ⁵ | kept ⁵ |
//! | the writer is killed, or its request dropped | kept ¹⁴ ¹⁵ | kept ¹⁴ | kept ¹⁴ | kept ⁵ | kept ⁵ |
//! | the store of record is down | kept ¹⁶ | kept ¹⁶ | kept ¹⁶ | kept ⁵ | kept ⁵ |
//! | it hangs, and carries out the write later | kept ¹⁷ | kept ⁵ | kept ¹⁷ | kept ⁵ | kept ⁵ |
//! | all of this at once, for a minute | kept ¹⁸ | kept ¹⁸ | kept ¹⁸ | | |
//!
//! 1. `redis_over_postgres`, `valkey_over_postgres`, `cluster_over_redis`, `memory_over_postgres` in
//!    `tests/tests/{stores,model}.rs`, `cached` in `ruts/tests/conformance.rs`
//! 2. `redis_over_postgres` in `tests/tests/races.rs`
//! 3. `a_late_fill_changes_nothing`, and that it can fail:
//!    `a_late_fill_of_a_careless_cache_is_found`; `a_value_in_the_cache_ends_with_its_lifetime`,
//!    `a_session_in_the_cache_ends_with_its_deadlines`
//! 4. `the_last_commit_counts_whoever_finishes_last`,
//!    `a_writer_without_a_fence_is_not_overlooked_by_one_that_has_one`,
//!    `a_write_under_way_keeps_its_own_fields_out_of_the_cache`
//! 5. the model; lifetimes and what a write changes are decided by the store of record alone
//! 6. `a_fill_that_began_when_the_fence_was_forgotten_changes_nothing`
//! 7. `a_cache_that_is_killed_and_comes_back_empty`
//! 8. `a_cache_that_was_restored_from_a_snapshot`
//! 9. `a_cache_that_failed_over_and_back`
//! 10. `a_cache_that_hangs`
//! 11. `a_cache_that_only_one_process_cannot_reach`, `a_sign_out_that_is_dropped_while_the_cache_hangs`,
//!     `a_use_that_the_cache_is_not_told_of`
//! 12. `a_finish_that_is_not_confirmed`, `a_finish_that_fails_is_made_up_for`
//! 13. `a_cache_that_is_full`
//! 14. `a_writer_that_is_killed_at_any_step_leaves_no_lie`,
//!     `one_that_signs_out_and_is_killed_at_any_step_leaves_no_lie`
//! 15. `a_write_that_is_dropped_leaves_the_truth_to_the_store_of_record`
//! 16. `a_store_of_record_that_is_down`
//! 17. `a_store_of_record_that_hangs`
//! 18. `no_read_is_wrong_while_everything_fails`, and that it can fail: `a_careless_cache_is_found`
//!
//! # What the tiers have to be
//!
//! The store of record has to answer reads with what was written last. A `PostgresStore` refuses a
//! standby, but cannot see a pooler that sends some statements to one: do not put that in between.
//!
//! The cache's server should evict (`maxmemory-policy allkeys-lru`), and needs neither persistence nor
//! replicas; [`LayeredStore::check`] warns of what it has too much. All of this costs only hits. What
//! would lie, for `with_hot_ttl` at most, is a key that is restored into a server that goes on running
//! (`RESTORE`, `DEBUG RELOAD`), and a former leader that goes on answering some processes after a failover:
//! all processes have to use the same cache.
//!
//! So would a clock of the cache's server that is set back, for as long as that is. A server that takes
//! snapshots and cannot write them refuses writes (`stop-writes-on-bgsave-error`), and with it yours.
//!
//! A request with an unknown token costs a look, a read, and a lease of some 200 bytes for 15 seconds; a
//! server without room hands out none.
//!
//! A write that was not acknowledged, because its outcome is not known, may take place after its intent has
//! fallen. Then the cache may hold what was before, for `with_hot_ttl` at most.

mod doubts;
mod hot;
mod plan;
mod policies;
mod reading;
mod revoking;
mod store;
mod writing;

pub use self::store::LayeredStore;
