//! [`LayeredStore`]: sessions in a store of record, with a cache in front.
//!
//! A `LayeredStore` is a [`Store`](super::Store) with two tiers. It keeps the contract of a store,
//! except while a cache that missed a write may be stale: see
//! [`stale_for`](super::Written::stale_for).
//!
//! - The **origin** is the store of record, any [`Store`](super::Store). It decides every write.
//! - The **cache** is a [`Cache`](super::Cache). It may lose anything at any time.
//!
//! A `RedisStore` can be either tier. A [`MemoryCache`](super::memory::MemoryCache) serves one
//! process.
//!
//! # Protocol
//!
//! A **write** to an existing session takes three steps, and returns after the last one:
//!
//! 1. It registers a write intent in the cache. The cache drops the parts of the entry that will
//!    change.
//! 2. The origin carries the write out.
//! 3. The write removes its intent. It stores the new values in the cache, unless the entry had
//!    another write intent at the same time.
//!
//! A **read** is a hit if the cache accepts the secret and knows every requested field, and no
//! touch is due. The cache knows that a field is absent if an earlier read requested the field, or
//! a write removed it. On a miss, the reader gets a lease unless there is a write intent. The
//! reader then reads the origin. With a lease, it fills the cache in the background. The cache
//! accepts the fill only if no write intent was registered since the lease was granted.
//!
//! - A write intent **expires** after [`intent_ttl`](LayeredStoreBuilder::intent_ttl). If the
//!   writer dies, no reader fills the entry until then, so no stale data enters the cache. A writer
//!   that finishes after its intent has expired empties the entry and drops the lease.
//! - The **writes** of a session run one at a time in a process. So a busy session does not occupy
//!   the server of the cache. A write takes its turn before step 1 and keeps it until step 3 is
//!   done.
//! - If an entry has many write intents, the cache **merges** them into one that no write owns.
//!   The writes then finish as if their intents had expired.
//! - An **eviction** keeps the write intents, but the writes that registered them then store
//!   nothing.
//! - The **revocations** of a principal run one at a time in a process. A second revocation finds
//!   nothing to end, so it must not answer before the first revocation has finished in the cache.
//! - **Lifetimes** in the cache begin at the lookup that granted the lease, or at the registration
//!   of the write intent. The cache measures them by its own clock. So a late command does not
//!   extend a lifetime, and the clocks of the tiers need not agree.
//! - An entry in Redis or Valkey carries the **replication id** of the server. This id changes with
//!   every start and every failover. An entry with an earlier id is never served, even if a
//!   snapshot or a replica brings it back.
//!
//! The repository's `tests/protocol` searches all states of a model of this protocol. It also shows
//! that the protocol fails if any part of it is left out.
//!
//! # Cache policies
//!
//! | [`CachePolicy`](super::CachePolicy) of the field | effect |
//! | --- | --- |
//! | `Default` | the cache serves it for at most [`cache_ttl`](LayeredStoreBuilder::cache_ttl) |
//! | `MaxAge` | the cache serves it for at most the maximum age, and at most `cache_ttl` |
//! | `NoStore` | a read that names the field asks only the origin |
//! | `Revalidate` | a read that names the field asks the cache, and at the same time the origin for this field |
//!
//! If the values of a `Revalidate` field in the cache and in the origin differ, the store reads all
//! requested fields from the origin. Use this policy for roles and permissions. A read by the typed
//! key asks the origin even if the cache holds the field as absent. A read of all fields
//! revalidates only the fields whose policy the cache or this process knows.
//!
//! # Round trips
//!
//! | operation | cache | origin |
//! | --- | --- | --- |
//! | a read that hits | 1 | |
//! | a read that misses | 1, and 1 in the background | 1 |
//! | a read of a `NoStore` field | | 1 |
//! | a read of a `Revalidate` field | 1 | 1, at the same time |
//! | a write, or a read whose touch is always due (`after` is zero) | 2 | 1 |
//! | a new session | | 1 |
//!
//! These numbers require that the process knows the policies of the fields. The process knows the
//! policies of typed keys. Otherwise a read of a `NoStore` field also asks the cache, and a read of
//! a `Revalidate` field asks the origin only after the cache.
//!
//! If a read moves the idle deadline, it waits for its fill. Without a lease, the read waits for an
//! eviction instead, which is one more round trip to the cache.
//!
//! # Failures
//!
//! Each wait for the cache is limited by [`cache_timeout`](LayeredStoreBuilder::cache_timeout).
//! Each wait for the origin is limited by [`origin_timeout`](LayeredStoreBuilder::origin_timeout).
//! A read or write of one session waits for the cache at most six times, and for the origin at most
//! three times. A revocation, or a sign-in at its limit, waits more often: for each session that
//! ends and for each page of the list. `revoke_everyone` waits for each tier for at most ten times
//! `origin_timeout`.
//!
//! A write waits for the other writes of its session in this process, for at most `origin_timeout`.
//! After that, deletions and touches are carried out, and other writes are refused, as if the cache
//! were down. A sign-in that may end the oldest sessions also waits for the other such sign-ins of
//! its principal, again for at most `origin_timeout`.
//!
//! **The cache is down.** Reads continue without the cache, and one read each second probes it. A
//! warning is logged once. New sessions are created. Touches, deletions and revocations are carried
//! out. All other writes are refused before anything is changed, unless
//! [`writes_without_cache`](LayeredStoreBuilder::writes_without_cache) is on. The answer to a write
//! that did not reach the cache has a [`stale_for`](super::Written::stale_for).
//!
//! After such a write, this process keeps trying to evict the entry of the session. Until the
//! eviction succeeds, the process reads the session from the origin. Other processes may see the
//! former state for at most `cache_ttl`.
//!
//! **The origin is down.** Hits without a `Revalidate` field are still served, unless
//! [`hits_without_origin`](LayeredStoreBuilder::hits_without_origin) is off. Everything else fails.
//! If the outcome of a write is unknown, its write intent stays until it expires.
//!
//! This table shows when the promises of the [contract](super::Store) are kept. The notes name the
//! tests of each cell. A test is in `tests/stores/tests/layered`, unless the note names a different
//! file:
//!
//! | event | R: recency | N: no revival | M: merging | E: expiry | A: atomicity |
//! | --- | --- | --- | --- | --- | --- |
//! | normal operation | kept ¹ ² | kept ¹ ² | kept ¹ ² | kept ¹ | kept ¹ |
//! | a slow reader fills late | kept ³ | kept ³ | kept ⁵ | kept ³ | kept ⁵ |
//! | writers overtake each other | kept ⁴ | kept ² | kept ² ⁴ | kept ⁵ | kept ¹ ⁵ |
//! | the cache loses entries, or restarts empty | kept ⁶ ⁷ | kept ⁶ ⁷ | kept ⁵ | kept ⁵ | kept ⁵ |
//! | the cache returns with older data, or fails over | kept ⁸ ⁹ | kept ⁸ ⁹ | kept ⁵ | kept ⁵ | kept ⁵ |
//! | the cache is down or hangs, at a read | kept ⁷ ¹⁰ | kept ⁷ ¹⁰ | kept ⁵ | kept ⁵ | kept ⁵ |
//! | revocations overtake each other | kept ¹⁹ | kept ¹⁹ | | | |
//! | the cache is down or hangs, at a write | kept, or `stale_for` ⁷ ¹⁰ ¹¹ | as R ⁷ ¹⁰ ¹¹ | kept ⁷ ¹⁰ | kept ⁵ | kept ⁵ |
//! | the cache does not confirm step 3 | `stale_for` ¹² | as R ⁵ | kept ¹² | kept ⁵ | kept ⁵ |
//! | the cache is full | kept ¹³ | kept ¹³ | kept ¹³ | kept ⁵ | kept ⁵ |
//! | the writer is killed, or its future dropped | kept ¹⁴ ¹⁵ | kept ¹⁴ | kept ¹⁴ | kept ⁵ | kept ⁵ |
//! | the origin is down | kept ¹⁶ | kept ¹⁶ | kept ¹⁶ | kept ⁵ | kept ⁵ |
//! | the origin hangs, and writes later | kept ¹⁷ | kept ⁵ | kept ¹⁷ | kept ⁵ | kept ⁵ |
//! | all of this at the same time, for a minute | kept ¹⁸ | kept ¹⁸ | kept ¹⁸ | | |
//!
//! 1. `redis_over_postgres`, `valkey_over_postgres`, `cluster_over_redis`, `memory_over_postgres`
//!    in `tests/stores/tests/{stores,model}.rs`, `cached` in `tests/http/conformance.rs`
//! 2. `redis_over_postgres` in `tests/stores/tests/races.rs`
//! 3. `a_late_fill_changes_nothing` (`a_late_fill_of_a_cache_without_leases_is_found` shows that
//!    this test can fail), `a_cached_value_expires`, `a_cached_session_ends_at_its_deadlines`
//! 4. `the_last_commit_counts_if_another_write_finishes_last`,
//!    `a_write_whose_intent_was_lost_is_not_overwritten_in_the_cache`,
//!    `a_write_in_progress_keeps_its_fields_out_of_the_cache`
//! 5. the model in `tests/protocol`: only the origin decides lifetimes and the changes of a write
//! 6. `a_fill_after_a_lost_intent_changes_nothing`
//! 7. `a_killed_cache_that_restarts_empty`
//! 8. `a_cache_restored_from_a_snapshot`
//! 9. `a_cache_that_fails_over_and_back`
//! 10. `a_cache_that_hangs`
//! 11. `a_cache_that_one_process_cannot_reach`,
//!     `a_deletion_that_is_dropped_while_the_cache_hangs`, `a_touch_without_a_cache_is_answered`
//! 12. `a_write_whose_finish_is_not_confirmed_is_stale`,
//!     `a_write_that_cannot_finish_evicts_the_entry`
//! 13. `a_full_cache`
//! 14. `a_writer_killed_at_any_step_leaves_no_stale_entry`,
//!     `a_deletion_killed_at_any_step_leaves_no_stale_entry`
//! 15. `a_dropped_write_leaves_no_stale_entry`
//! 16. `an_origin_that_is_down`
//! 17. `an_origin_that_hangs`
//! 18. `no_read_is_stale_while_everything_fails` (`a_cache_without_leases_is_found` shows that this
//!     test can fail)
//! 19. `a_revocation_waits_for_one_of_the_same_principal`,
//!     `a_revocation_that_is_dropped_while_the_cache_hangs`
//!
//! # Requirements on the tiers
//!
//! Each read of the origin has to see every earlier write. A `PostgresStore` refuses a standby. It
//! cannot detect a pooler that sends some statements to a standby. Do not use such a pooler.
//!
//! The cache's server should evict entries (`maxmemory-policy allkeys-lru`). It needs neither
//! persistence nor replicas. [`LayeredStore::check`] warns of an append-only file, of replicas, and
//! of a server that has a memory limit and does not evict. These settings make the cache slower or
//! cause more misses, but do no other harm.
//!
//! All processes have to use the same cache. After a failover, no process may keep using the former
//! leader. No key may be restored into a running server (`RESTORE`, `DEBUG RELOAD`). If one of
//! these rules is broken, the cache may serve old data for at most `cache_ttl`.
//!
//! The clock of the cache's server must not be set back. If it is set back, entries expire later by
//! the same time, and the cache may serve old data for this longer time.
//!
//! If the cache's server cannot write a snapshot, it refuses writes
//! (`stop-writes-on-bgsave-error`). This store then behaves as if the cache were down.
//!
//! A request with an unknown token causes one lookup in the cache and one read of the origin. It
//! also leaves a lease of about 200 bytes in the cache for 15 seconds. If the cache server is out
//! of memory, it does not grant a lease.
//!
//! A write of unknown outcome was not acknowledged. It may take place after its intent has expired.
//! Then the cache may serve the state before the write for at most `cache_ttl`.
//!
//! A process may die during a revocation, and the cache may also lose the write intents of that
//! revocation. The cache may then serve the ended sessions for at most `cache_ttl`. A later
//! revocation then succeeds without a `stale_for`, because it finds no session to end.

mod breaker;
mod known_policies;
mod pending_evictions;
mod reading;
mod revoking;
mod sign_in_limit;
mod store;
mod tiers;
mod write_set;
mod writing;

pub use self::store::{LayeredStore, LayeredStoreBuilder};
