//! [`MemoryCache`]: a cache in the memory of this process.
//!
//! Used by a `LayeredStore`, like any [`Cache`]. Knows nothing about the origin.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use super::clock::{Clock, SystemClock};
use crate::{
    cache_policy::CachePolicy,
    store::{
        Cache, CacheLookup, CachedField, CachedRecord, Credentials, InvalidationScope, Lease,
        Loaded, Projection, SessionMeta, StoreError, StoredField, Touch, WriteIntent,
    },
    token::{SecretHash, SessionId},
};

const NAME: &str = "memory cache";
const SHARDS: usize = 16;

/// Maximum number of write intents of an entry beside a new intent. If there are more, they are
/// merged.
const MAX_INTENTS: usize = 16;

/// Mark of merged intents. No write owns it, because the marks of a shard begin with one.
const MERGED: u64 = 0;

/// A cache in the memory of this process, for a
/// [`LayeredStore`](crate::store::layered::LayeredStore).
///
/// No other process sees its write intents, so no other process may write to the same sessions.
/// Clones share the entries. At its capacity the cache evicts a random entry for each new entry.
///
/// ```
/// use ruts::store::{layered::LayeredStore, memory::{MemoryCache, MemoryStore}};
///
/// let origin = MemoryStore::new(); // or any other store
/// let store = LayeredStore::builder(MemoryCache::new(10_000), origin).build_for_one_process();
/// # drop(store);
/// ```
#[derive(Clone)]
pub struct MemoryCache {
    inner: Arc<Inner>,
}

/// Settings of a [`MemoryCache`].
pub struct MemoryCacheBuilder {
    capacity: usize,
    clock: Box<dyn Clock>,
}

impl MemoryCacheBuilder {
    /// Sets the clock. Defaults to the clock of the operating system.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Builds the cache.
    pub fn build(self) -> MemoryCache {
        let (shards, capacity) = (Default::default(), self.capacity.div_ceil(SHARDS).max(1));
        MemoryCache { inner: Arc::new(Inner { shards, capacity, clock: self.clock }) }
    }
}

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    /// Maximum number of entries of each shard.
    capacity: usize,
    clock: Box<dyn Clock>,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<SessionId, Entry>,
    /// The ids of the entries in any order, to find one at random.
    ids: Vec<SessionId>,
    /// Number of marks made so far. It never decreases, so each mark is unique.
    marks: u64,
}

/// The entry of a session. Its moments are measured by the cache's clock.
#[derive(Default)]
struct Entry {
    record: Option<Record>,
    fields: HashMap<Box<str>, Field>,
    /// The moment until which `fields` are known to be all fields of the session.
    complete_until: Option<Duration>,
    lease: Option<u64>,
    intents: Vec<Intent>,
    /// Position of the entry's id in `ids` of the shard.
    position: usize,
}

struct Record {
    until: Duration,
    secret: SecretHash,
    /// Time of the lookup that led to this fill. `meta` was read later.
    at: Duration,
    meta: SessionMeta,
}

struct Field {
    until: Duration,
    /// The value, or `None` if the field is known to be absent.
    value: Option<(Bytes, CachePolicy)>,
    expires: Option<Duration>,
}

struct Intent {
    mark: u64,
    until: Duration,
    /// Whether there was another intent at the same time.
    overlapped: bool,
}

impl MemoryCache {
    /// Creates a cache for about `capacity` entries, at least 16.
    pub fn new(capacity: usize) -> Self {
        Self::builder(capacity).build()
    }

    /// Creates the builder of a cache for about `capacity` entries, at least 16.
    pub fn builder(capacity: usize) -> MemoryCacheBuilder {
        MemoryCacheBuilder { capacity, clock: Box::new(SystemClock::new()) }
    }

    /// Locks the shard of a session. The time is read under the lock.
    fn lock(&self, id: &SessionId) -> (MutexGuard<'_, Shard>, Duration) {
        let shard = &self.inner.shards[usize::from(id.as_bytes()[0]) % SHARDS];
        let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.inner.clock.now();
        (shard, now)
    }
}

impl Shard {
    fn next_mark(&mut self) -> u64 {
        self.marks += 1;
        self.marks
    }

    /// Returns the entry of a session. At the capacity, a new entry replaces a random one.
    fn entry(&mut self, id: &SessionId, capacity: usize) -> &mut Entry {
        if !self.entries.contains_key(id) {
            if self.ids.len() >= capacity {
                let random = scattered(self.marks) as usize % self.ids.len();
                self.remove(&self.ids[random].clone());
            }
            self.ids.push(*id);
        }
        let position = self.ids.len() - 1;
        self.entries.entry(*id).or_insert_with(|| Entry { position, ..Entry::default() })
    }

    fn remove(&mut self, id: &SessionId) {
        let Some(entry) = self.entries.remove(id) else { return };
        self.ids.swap_remove(entry.position);
        if let Some(moved) = self.ids.get(entry.position) {
            self.entries.entry(*moved).and_modify(|moved| moved.position = entry.position);
        }
    }
}

/// Returns a pseudorandom number: the finaliser of SplitMix64.
fn scattered(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Record {
    /// Returns whether this record stays instead of `other`. It stays if it has the same secret and
    /// a later idle deadline, and could still be served at the lookup that led to `other`.
    fn supersedes(&self, other: &Self) -> bool {
        let deadline =
            |record: &Self| record.meta.idle_remaining.map(|idle| record.at.saturating_add(idle));
        self.secret == other.secret && self.until > other.at && deadline(self) > deadline(other)
    }

    /// Returns whether the touch would move the idle deadline.
    fn is_moved_by(&self, touch: Option<Touch>, now: Duration) -> bool {
        let idle = self.meta.after(now.saturating_sub(self.at)).idle_remaining;
        let (Some(touch), Some(left)) = (touch, idle) else { return false };
        touch.idle.as_duration().saturating_sub(left) >= touch.after
    }
}

impl Entry {
    /// Drops everything but the intents.
    fn clear(&mut self) {
        let (intents, position) = (std::mem::take(&mut self.intents), self.position);
        *self = Self { intents, position, ..Self::default() };
    }

    /// Drops everything but the intents. The writes in progress will not store their values.
    fn evict(&mut self) {
        self.intents.iter_mut().for_each(|intent| intent.overlapped = true);
        self.clear();
    }

    /// Removes the expired intents, and returns the others.
    fn live_intents(&mut self, now: Duration) -> &mut Vec<Intent> {
        self.intents.retain(|intent| now < intent.until);
        &mut self.intents
    }

    fn read(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
        now: Duration,
    ) -> Option<Loaded> {
        let record = self.record.as_ref().filter(|record| now < record.until)?;
        if credentials.secret() != Some(&record.secret) || record.is_moved_by(touch, now) {
            return None;
        }
        let fields: Vec<Option<StoredField>> = match fields {
            Projection::All => {
                self.complete_until.filter(|until| now < *until)?;
                let all = self.fields.iter().map(|(name, field)| field.read(name, now));
                all.collect::<Option<_>>()?
            }
            Projection::Named(names) => {
                let read = |name: &&str| self.fields.get(*name)?.read(name, now);
                names.iter().map(read).collect::<Option<_>>()?
            }
        };
        let meta = record.meta.after(now.saturating_sub(record.at));
        Some(Loaded::new(meta, fields.into_iter().flatten().collect()))
    }

    /// Stores fields. Their lifetimes count from `at`.
    fn put(&mut self, fields: &[CachedField<'_>], at: Duration, now: Duration) {
        for cached in fields {
            let field = Field {
                until: at.saturating_add(cached.life),
                // A copy, because the value may be a part of a much larger buffer.
                value: cached
                    .value
                    .map(|value| (Bytes::copy_from_slice(value), cached.cache_policy)),
                expires: cached.ttl.map(|ttl| at.saturating_add(ttl)),
            };
            if now < field.until {
                self.fields.insert(cached.name.into(), field);
            }
        }
    }
}

impl Field {
    /// Returns `None` if nothing is known of the field, and `Some(None)` if it is absent.
    fn read(&self, name: &str, now: Duration) -> Option<Option<StoredField>> {
        (now < self.until).then(|| {
            let (value, policy) = self.value.clone()?;
            let ttl = self.expires.map(|expires| expires.saturating_sub(now));
            Some(StoredField::new(name, value).ttl(ttl).cache_policy(policy))
        })
    }
}

fn mark_bytes(mark: u64) -> Bytes {
    Bytes::copy_from_slice(&mark.to_be_bytes())
}

/// Returns a moment as the `at` of a lease or intent. Rounding down only shortens lifetimes.
fn millis(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl Cache for MemoryCache {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn lookup(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<CacheLookup, StoreError> {
        let (mut shard, now) = self.lock(credentials.id);
        let next = shard.next_mark();
        let entry = shard.entry(credentials.id, self.inner.capacity);
        if let Some(loaded) = entry.read(credentials, fields, touch, now) {
            return Ok(CacheLookup::Hit(loaded));
        }
        if !entry.live_intents(now).is_empty() {
            return Ok(CacheLookup::Miss(None));
        }
        let mark = *entry.lease.get_or_insert(next);
        Ok(CacheLookup::Miss(Some(Lease::new(mark_bytes(mark), millis(now)))))
    }

    async fn begin_write(
        &self,
        id: &SessionId,
        scope: InvalidationScope<'_>,
        ttl: Duration,
    ) -> Result<WriteIntent, StoreError> {
        let (mut shard, now) = self.lock(id);
        let mark = shard.next_mark();
        let entry = shard.entry(id, self.inner.capacity);
        match scope {
            InvalidationScope::All => entry.clear(),
            InvalidationScope::Some { names, record, touch } => {
                entry.record.take_if(|held| record || held.is_moved_by(touch, now));
                (entry.lease, entry.complete_until) = (None, None);
                for name in names {
                    entry.fields.remove(*name);
                }
            }
        }
        let others = entry.live_intents(now);
        if let Some(until) = others.iter().map(|other| other.until).max()
            && others.len() > MAX_INTENTS
        {
            *others = vec![Intent { mark: MERGED, until, overlapped: true }];
        }
        let overlapped = !others.is_empty();
        others.iter_mut().for_each(|other| other.overlapped = true);
        others.push(Intent { mark, until: now.saturating_add(ttl), overlapped });
        Ok(WriteIntent::new(mark_bytes(mark), millis(now)))
    }

    async fn finish_write(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        fields: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let (mut shard, now) = self.lock(id);
        let Some(entry) = shard.entries.get_mut(id) else { return Ok(()) };
        let intents = entry.live_intents(now);
        match intents.iter().position(|other| mark_bytes(other.mark) == intent.mark) {
            Some(position) => {
                if !intents.remove(position).overlapped {
                    entry.put(fields, Duration::from_millis(intent.at), now);
                }
            }
            // The intent has expired or was evicted. Since then, readers may have filled in values
            // that this write replaced. Another write in progress may have reached the origin
            // before this write. The other write must not store its values.
            None => entry.evict(),
        }
        Ok(())
    }

    async fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        fields: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let Some(secret) = credentials.secret() else { return Ok(()) };
        let (mut shard, now) = self.lock(credentials.id);
        let at = Duration::from_millis(lease.at);
        let Some(entry) = shard.entries.get_mut(credentials.id) else { return Ok(()) };
        if entry.lease.map(mark_bytes).as_ref() != Some(&lease.mark) {
            return Ok(());
        }
        let CachedRecord { meta, life, complete } = record;
        let new = Record { until: at.saturating_add(life), secret: *secret, at, meta };
        if !entry.record.as_ref().is_some_and(|held| held.supersedes(&new)) {
            entry.record = Some(new);
        }
        if let Some(life) = complete {
            // The fill has all fields of the session, so any other field of the entry has expired.
            entry.fields.clear();
            entry.complete_until = Some(at.saturating_add(life));
        }
        entry.put(fields, at, now);
        Ok(())
    }

    async fn evict(&self, id: &SessionId) -> Result<(), StoreError> {
        let (mut shard, now) = self.lock(id);
        if let Some(entry) = shard.entries.get_mut(id) {
            entry.evict();
            if entry.live_intents(now).is_empty() {
                shard.remove(id);
            }
        }
        Ok(())
    }

    async fn clear(&self) -> Result<(), StoreError> {
        for shard in &self.inner.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (shard.entries, shard.ids) = Default::default();
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache")
            .field("capacity", &self.inner.capacity.saturating_mul(SHARDS))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCacheBuilder")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
