use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use super::{Clock, SystemClock};
use crate::{
    store::{
        Cache, CacheLookup, CachedField, CachedRecord, Credentials, InvalidationScope, Lease,
        Loaded, Projection, SessionMeta, StoreError, StoredField, Touch, WriteIntent,
    },
    token::{SecretHash, SessionId},
    ttl::CachePolicy,
};

const NAME: &str = "memory cache";
const SHARDS: usize = 16;

/// A cache in this process's memory, for a
/// [`LayeredStore::in_one_process`](crate::store::layered::LayeredStore::in_one_process).
///
/// Another process knows nothing of its intents, so it must not write to the same sessions. Clones
/// share the entries. At its capacity it evicts some entry to make room for another.
///
/// ```
/// use ruts::store::{layered::LayeredStore, memory::{MemoryCache, MemoryStore}};
///
/// let cold = MemoryStore::new(); // or any other
/// let store = LayeredStore::in_one_process(MemoryCache::new(10_000), cold);
/// # drop(store);
/// ```
#[derive(Clone)]
pub struct MemoryCache {
    shared: Arc<Shared>,
}

struct Shared {
    shards: [Mutex<Shard>; SHARDS],
    /// Of each shard.
    capacity: usize,
    clock: Box<dyn Clock>,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<SessionId, Entry>,
    /// The ids of the entries, in no order: the first to find one at random.
    ids: Vec<SessionId>,
    /// How many marks were made.
    marks: u64,
}

/// What is held of a session. Moments are of the cache's clock.
#[derive(Default)]
struct Entry {
    record: Option<Own>,
    fields: HashMap<Box<str>, Field>,
    /// Until when the fields count as all there are.
    complete: Option<Duration>,
    lease: Option<u64>,
    intents: Vec<Standing>,
    /// Where its id stands in the shard's list.
    place: usize,
}

/// The session's own record.
struct Own {
    until: Duration,
    secret: SecretHash,
    /// When it was read, and what it said then.
    at: Duration,
    meta: SessionMeta,
}

struct Field {
    until: Duration,
    /// `None` is known not to be there.
    value: Option<(Bytes, CachePolicy)>,
    ends: Option<Duration>,
}

struct Standing {
    mark: u64,
    until: Duration,
    /// There was another one.
    beside: bool,
}

impl MemoryCache {
    /// A cache for that many entries, about.
    pub fn new(capacity: usize) -> Self {
        Self::with_clock(capacity, SystemClock::new())
    }

    /// A cache with a clock of your own.
    pub fn with_clock(capacity: usize, clock: impl Clock) -> Self {
        let shards = Default::default();
        let capacity = capacity.div_ceil(SHARDS);
        Self { shared: Arc::new(Shared { shards, capacity, clock: Box::new(clock) }) }
    }

    /// The shard of a session and the time, which is read under the lock.
    fn lock(&self, id: &SessionId) -> (MutexGuard<'_, Shard>, Duration) {
        let shard = &self.shared.shards[usize::from(id.as_bytes()[0]) % SHARDS];
        let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shared.clock.now();
        (shard, now)
    }
}

impl Shard {
    fn mark(&mut self) -> u64 {
        self.marks += 1;
        self.marks
    }

    /// The entry, a new one if there is none. Some other one makes room for it.
    fn entry(&mut self, id: &SessionId, capacity: usize) -> &mut Entry {
        if !self.entries.contains_key(id) {
            if self.ids.len() >= capacity {
                let some = scattered(self.marks) as usize % self.ids.len();
                self.remove(&self.ids[some].clone());
            }
            self.ids.push(*id);
        }
        let place = self.ids.len() - 1;
        self.entries.entry(*id).or_insert_with(|| Entry { place, ..Entry::default() })
    }

    fn remove(&mut self, id: &SessionId) {
        let Some(entry) = self.entries.remove(id) else { return };
        self.ids.swap_remove(entry.place);
        if let Some(moved) = self.ids.get(entry.place) {
            self.entries.entry(*moved).and_modify(|moved| moved.place = entry.place);
        }
    }
}

/// A number that looks like another number each time (the finaliser of SplitMix64).
fn scattered(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Own {
    /// Whether it is good when the other one is read, and tells of a later use.
    fn is_after(&self, other: &Self) -> bool {
        let deadline = |own: &Self| own.meta.idle.map(|idle| own.at.saturating_add(idle));
        self.secret == other.secret && self.until > other.at && deadline(self) > deadline(other)
    }
}

impl Entry {
    /// Forgets everything but the intents.
    fn empty(&mut self) {
        let (intents, place) = (std::mem::take(&mut self.intents), self.place);
        *self = Self { intents, place, ..Self::default() };
    }

    fn stand(&mut self, now: Duration) -> &mut Vec<Standing> {
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
        let own = self.record.as_ref().filter(|own| now < own.until)?;
        if own.secret != *credentials.secret || own.is_due(touch, now) {
            return None;
        }
        let fields: Vec<Option<StoredField>> = match fields {
            Projection::All => {
                self.complete.filter(|until| now < *until)?;
                let all = self.fields.iter().map(|(name, field)| field.read(name, now));
                all.collect::<Option<_>>()?
            }
            Projection::Named(names) => {
                let read = |name: &&str| self.fields.get(*name)?.read(name, now);
                names.iter().map(read).collect::<Option<_>>()?
            }
        };
        Some(Loaded {
            meta: own.meta.later(now.saturating_sub(own.at)),
            fields: fields.into_iter().flatten().collect(),
        })
    }

    fn put(&mut self, items: &[CachedField<'_>], at: Duration, now: Duration) {
        for item in items {
            let field = Field {
                until: at.saturating_add(item.life),
                // A copy: it may be a part of something much larger.
                value: item.value.map(|value| (Bytes::copy_from_slice(value), item.hot)),
                ends: item.ttl.map(|ttl| at.saturating_add(ttl)),
            };
            if now < field.until {
                self.fields.insert(item.name.into(), field);
            }
        }
    }
}

impl Own {
    /// Whether use counts now.
    fn is_due(&self, touch: Option<Touch>, now: Duration) -> bool {
        let idle = self.meta.later(now.saturating_sub(self.at)).idle;
        let (Some(touch), Some(left)) = (touch, idle) else { return false };
        touch.idle.as_duration().saturating_sub(left) >= touch.after
    }
}

impl Field {
    /// What is known of it: that it is there, or that it is not; `None` if nothing is.
    fn read(&self, name: &str, now: Duration) -> Option<Option<StoredField>> {
        (now < self.until).then(|| {
            let (value, hot) = self.value.clone()?;
            let ttl = self.ends.map(|ends| ends.saturating_sub(now));
            Some(StoredField { name: name.into(), value, ttl, hot })
        })
    }
}

fn written(mark: u64) -> Bytes {
    Bytes::copy_from_slice(&mark.to_be_bytes())
}

/// A moment as it is told. It does not come back as it was: a part of a millisecond is lost, which
/// makes lives shorter.
fn told(now: Duration) -> u64 {
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
        let next = shard.mark();
        let entry = shard.entry(credentials.id, self.shared.capacity);
        if let Some(loaded) = entry.read(credentials, fields, touch, now) {
            return Ok(CacheLookup::Hit(loaded));
        }
        let is_free = entry.stand(now).is_empty();
        Ok(CacheLookup::Miss(
            is_free
                .then(|| Lease { mark: written(*entry.lease.get_or_insert(next)), at: told(now) }),
        ))
    }

    async fn begin_write(
        &self,
        id: &SessionId,
        scope: InvalidationScope<'_>,
        life: Duration,
    ) -> Result<WriteIntent, StoreError> {
        let (mut shard, now) = self.lock(id);
        let mark = shard.mark();
        let entry = shard.entry(id, self.shared.capacity);
        match scope {
            InvalidationScope::All => entry.empty(),
            InvalidationScope::Some { names, record, touch } => {
                entry.record.take_if(|own| record || own.is_due(touch, now));
                (entry.lease, entry.complete) = (None, None);
                for name in names {
                    entry.fields.remove(*name);
                }
            }
        }
        let others = entry.stand(now);
        let beside = !others.is_empty();
        others.iter_mut().for_each(|intent| intent.beside = true);
        others.push(Standing { mark, until: now.saturating_add(life), beside });
        Ok(WriteIntent { mark: written(mark), at: told(now) })
    }

    async fn finish_write(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let (mut shard, now) = self.lock(id);
        let Some(entry) = shard.entries.get_mut(id) else { return Ok(()) };
        let standing = entry.stand(now);
        match standing.iter().position(|other| written(other.mark) == intent.mark) {
            Some(position) => {
                if !standing.remove(position).beside {
                    entry.put(items, Duration::from_millis(intent.at), now);
                }
            }
            // It fell: readers may have filled in what this write replaced, and a write that is under
            // way may have come before this one.
            None => {
                standing.iter_mut().for_each(|intent| intent.beside = true);
                entry.empty();
            }
        }
        Ok(())
    }

    async fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let (mut shard, now) = self.lock(credentials.id);
        let at = Duration::from_millis(lease.at);
        let Some(entry) = shard.entries.get_mut(credentials.id) else { return Ok(()) };
        if entry.lease.map(written).as_ref() == Some(&lease.mark) {
            let CachedRecord { meta, life, complete } = record;
            let own = Own { until: at.saturating_add(life), secret: *credentials.secret, at, meta };
            if !entry.record.as_ref().is_some_and(|held| held.is_after(&own)) {
                entry.record = Some(own);
            }
            if let Some(complete) = complete {
                // What else is held is over, or is among what follows.
                entry.fields.clear();
                entry.complete = Some(at.saturating_add(complete));
            }
            entry.put(items, at, now);
        }
        Ok(())
    }

    async fn evict(&self, id: &SessionId) -> Result<(), StoreError> {
        self.lock(id).0.remove(id);
        Ok(())
    }

    async fn clear(&self) -> Result<(), StoreError> {
        for shard in &self.shared.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // Marks are counted on: none is ever the same.
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
            .field("capacity", &(self.shared.capacity * SHARDS))
            .finish_non_exhaustive()
    }
}
