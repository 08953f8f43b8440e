//! The contract of a cache in front of an origin: the [`Cache`] trait.
//!
//! Implemented by the caches of this crate and of other crates. Called only by
//! [`LayeredStore`](super::layered::LayeredStore). Knows nothing about the origin, types or HTTP.

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;

use super::{
    error::StoreError,
    request::{Credentials, Projection, Touch},
    response::{Loaded, SessionMeta},
};
use crate::{cache_policy::CachePolicy, token::SessionId};

/// A cache in front of the store of record, for a [`LayeredStore`](super::layered::LayeredStore).
///
/// It holds an *entry* for each cached session:
///
/// | part | holds |
/// | --- | --- |
/// | record | the hash of the secret and the [`SessionMeta`] |
/// | fields | some fields of the session: a value, or the knowledge that the field is absent |
/// | completeness | whether these are all fields of the session |
/// | lease | the right to fill the entry, if a lease was granted |
/// | write intents | one for each write in progress |
///
/// # Contract
///
/// Every method but [`name`](Self::name), [`clear`](Self::clear) and [`check`](Self::check) is
/// **one atomic operation on one entry** and one round trip.
///
/// - **Loss is safe.** The cache may lose an entry, or any part of it, at any time.
/// - **Repetition is safe.** A command may be lost, arrive late, or be carried out twice. The worst
///   effect is an empty entry.
/// - **Leases and intents are unique.** The cache, not the caller, makes the `mark` of each. It
///   never makes the same mark twice, even after a restart.
/// - **Data does not return.** A restored snapshot, or a replica that took over, may bring back
///   older data. The cache does not serve such data.
/// - **Time is relative.** A lifetime counts from `at` of the lease or intent, by the cache's own
///   clock. So a late command does not extend any lifetime.
///
/// A lease is valid until the next write intent. While there is a write intent, no lease is
/// granted.
///
/// To check a cache, run the conformance suite (`ruts::conformance`) on a `LayeredStore` of that
/// cache over a [`MemoryStore`](super::memory::MemoryStore). The suite does not test failures.
///
/// # Security
///
/// A cache accepts [`Credentials`] only if their hash is equal to the hash in the record of the
/// entry. Compare hashes with `==` of [`SecretHash`](crate::token::SecretHash), which takes
/// constant time, or inside the server.
///
/// # Cancel safety
///
/// A dropped future leaves its operation done or not done, never half done.
///
/// # Minimal implementation
///
/// The smallest correct cache holds nothing. A real cache adds entries and leases.
/// [`MemoryCache`](super::memory::MemoryCache) is the reference implementation, in one file.
///
/// ```
/// use std::{sync::atomic::{AtomicU64, Ordering}, time::Duration};
/// use ruts::{token::SessionId, store::{
///     Cache, CacheLookup, CachedField, CachedRecord, Credentials, InvalidationScope, Lease,
///     Projection, StoreError, Touch, WriteIntent, layered::LayeredStore, memory::MemoryStore,
/// }};
///
/// #[derive(Default)]
/// struct EmptyCache {
///     intents: AtomicU64,
/// }
///
/// impl Cache for EmptyCache {
///     fn name(&self) -> &'static str {
///         "empty"
///     }
///
///     async fn lookup(
///         &self,
///         _: Credentials<'_>,
///         _: Projection<'_>,
///         _: Option<Touch>,
///     ) -> Result<CacheLookup, StoreError> {
///         Ok(CacheLookup::Miss(None))
///     }
///
///     async fn begin_write(
///         &self,
///         _: &SessionId,
///         _: InvalidationScope<'_>,
///         _: Duration,
///     ) -> Result<WriteIntent, StoreError> {
///         let mark = self.intents.fetch_add(1, Ordering::Relaxed).to_be_bytes();
///         Ok(WriteIntent::new(mark.to_vec(), 0))
///     }
///
///     async fn finish_write(
///         &self,
///         _: &SessionId,
///         _: &WriteIntent,
///         _: &[CachedField<'_>],
///     ) -> Result<(), StoreError> {
///         Ok(())
///     }
///
///     async fn fill(
///         &self,
///         _: Credentials<'_>,
///         _: &Lease,
///         _: CachedRecord,
///         _: &[CachedField<'_>],
///     ) -> Result<(), StoreError> {
///         Ok(())
///     }
///
///     async fn evict(&self, _: &SessionId) -> Result<(), StoreError> {
///         Ok(())
///     }
///
///     async fn clear(&self) -> Result<(), StoreError> {
///         Ok(())
///     }
///
///     async fn check(&self) -> Result<(), StoreError> {
///         Ok(())
///     }
/// }
///
/// let origin = MemoryStore::new();
/// let store = LayeredStore::builder(EmptyCache::default(), origin).build_for_one_process();
/// # drop(store);
/// ```
pub trait Cache: Send + Sync + 'static {
    /// Returns a short name for errors and traces.
    fn name(&self) -> &'static str;

    /// Reads the named fields, or all fields.
    ///
    /// The answer is a [`CacheLookup::Hit`] only if all of these conditions hold:
    ///
    /// - the entry has a record, and the cache accepts `credentials` for it;
    /// - every requested field is known, with a value or as absent;
    /// - `touch` would not move the idle deadline.
    ///
    /// Otherwise the answer is a [`CacheLookup::Miss`]. The miss has no lease if there is a write
    /// intent, or no room for a lease. All readers that miss the same entry share one lease.
    fn lookup(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> impl Future<Output = Result<CacheLookup, StoreError>> + Send;

    /// Registers a write intent, which expires after `ttl`.
    ///
    /// Drops the completeness, the lease, and the parts of the entry that `scope` names. If there
    /// are other intents, marks all of them and the new intent as overlapping.
    ///
    /// The cache has to bound the number of intents of an entry, because a session may be written
    /// often. At the bound, it may merge the other intents into one. No write owns the merged
    /// intent, and it expires with the last of them.
    fn begin_write(
        &self,
        id: &SessionId,
        scope: InvalidationScope<'_>,
        ttl: Duration,
    ) -> impl Future<Output = Result<WriteIntent, StoreError>> + Send;

    /// Removes a write intent, and stores `fields` unless the intent is marked as overlapping.
    ///
    /// If the intent is gone, another write or a reader may have stored older values in the
    /// meantime. The call then empties the entry and drops the lease. The other intents stay, and
    /// are marked as overlapping.
    fn finish_write(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        fields: &[CachedField<'_>],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Stores a record and fields that a reader got from the origin, if its lease is still valid.
    ///
    /// Keeps the record of the entry if that record may still be served, has the same secret and
    /// has a later idle deadline. The later deadline shows that the session was used after this
    /// reader's read.
    fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        fields: &[CachedField<'_>],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Empties the entry and drops the lease. The intents stay, and are marked as overlapping.
    fn evict(&self, id: &SessionId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes all entries, with their leases and intents.
    /// [`revoke_everyone`](super::Store::revoke_everyone) of a layered store waits for this call.
    fn clear(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Checks at start-up that the cache is usable. Logs a warning for each setting of its server
    /// that does not suit a cache.
    fn check(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A [`Cache`] that all processes share, so that each process sees the leases and intents of all
/// processes.
pub trait SharedCache: Cache {}

/// The answer to a [`Cache::lookup`].
#[derive(Debug)]
#[non_exhaustive]
pub enum CacheLookup {
    /// The cache entry answers the whole read.
    Hit(Loaded),
    /// The entry does not answer the whole read. With a lease, the caller may fill the entry with
    /// the answer of the origin.
    Miss(Option<Lease>),
}

/// The right to fill an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// Distinguishes this lease from every other lease and intent of the cache.
    pub mark: Bytes,
    /// Time of the lookup, in milliseconds of the cache's clock.
    pub at: u64,
}

impl Lease {
    /// Creates a lease that was granted at the time `at`.
    pub fn new(mark: impl Into<Bytes>, at: u64) -> Self {
        Self { mark: mark.into(), at }
    }
}

/// The registration of a write in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteIntent {
    /// Distinguishes this intent from every other lease and intent of the cache.
    pub mark: Bytes,
    /// Time of the registration, in milliseconds of the cache's clock.
    pub at: u64,
}

impl WriteIntent {
    /// Creates a write intent that was registered at the time `at`.
    pub fn new(mark: impl Into<Bytes>, at: u64) -> Self {
        Self { mark: mark.into(), at }
    }
}

/// The parts of an entry that a write invalidates.
///
/// A cache treats a scope that it does not know as [`All`](Self::All).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum InvalidationScope<'a> {
    /// The whole entry.
    All,
    /// Some parts of the entry.
    Some {
        /// Names of the fields.
        names: &'a [&'a str],
        /// Whether the record is one of these parts.
        record: bool,
        /// A touch of the write. If it would move the idle deadline of the record, the record is
        /// one of these parts, too.
        touch: Option<Touch>,
    },
}

/// A field to store in an entry.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct CachedField<'a> {
    /// Name of the field.
    pub name: &'a str,
    /// Value of the field. `None` if the field is known to be absent.
    pub value: Option<&'a Bytes>,
    /// Time left of the field's own TTL. `None` if the field has no TTL.
    pub ttl: Option<Duration>,
    /// How a cache may serve the field.
    pub cache_policy: CachePolicy,
    /// Time for which the entry may serve the field.
    pub life: Duration,
}

impl<'a> CachedField<'a> {
    /// Creates a field without a TTL of its own, under the default cache policy.
    pub const fn new(name: &'a str, value: Option<&'a Bytes>, life: Duration) -> Self {
        Self { name, value, ttl: None, cache_policy: CachePolicy::Default, life }
    }

    /// Sets the remaining TTL of the field.
    #[must_use]
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.ttl = ttl.into();
        self
    }

    /// Sets the cache policy.
    #[must_use]
    pub const fn cache_policy(mut self, policy: CachePolicy) -> Self {
        self.cache_policy = policy;
        self
    }
}

/// The record of a session to store in an entry.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CachedRecord {
    /// Ages, deadlines and principal of the session.
    pub meta: SessionMeta,
    /// Time for which the entry may serve the record.
    pub life: Duration,
    /// Time for which the accompanying fields are known to be all fields of the session. `None` if
    /// the session may have other fields.
    pub complete: Option<Duration>,
}

impl CachedRecord {
    /// Creates a record of a session that may have more fields than the accompanying ones.
    pub const fn new(meta: SessionMeta, life: Duration) -> Self {
        Self { meta, life, complete: None }
    }

    /// Sets how long the accompanying fields count as all fields of the session.
    #[must_use]
    pub fn complete(mut self, life: impl Into<Option<Duration>>) -> Self {
        self.complete = life.into();
        self
    }
}

/// Shows only the length of the value.
impl fmt::Debug for CachedField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedField")
            .field("name", &self.name)
            .field("bytes", &self.value.map(Bytes::len))
            .field("ttl", &self.ttl)
            .field("cache_policy", &self.cache_policy)
            .field("life", &self.life)
            .finish()
    }
}
