use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use super::{Clock, SystemClock, record::Record};
use crate::{
    store::{
        Access, Create, Fields, Loaded, Lookup, Store, StoreError, StoreErrorKind, Take, Touch,
        Update, Updated,
    },
    token::Handle,
};

const NAME: &str = "memory";
const SHARDS: usize = 16;

/// How many due sessions a `create` looks at: more than one, so that the store shrinks.
const SWEEP_AT_CREATE: usize = 4;

/// Sessions in this process's memory.
///
/// It keeps the whole contract of [`Store`], and loses everything when the process ends. Clones
/// share the sessions. Expired sessions are freed as new ones come, without a background task; a
/// live session is never evicted.
///
/// ```
/// use ruts::{SessionLayer, store::memory::MemoryStore};
///
/// let layer = SessionLayer::new(MemoryStore::new());
/// # drop(layer);
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    shards: [Mutex<Shard>; SHARDS],
    sessions: AtomicUsize,
    capacity: usize,
    clock: Box<dyn Clock>,
}

#[derive(Default)]
struct Shard {
    sessions: HashMap<Handle, Record>,
    /// When to look at a session again. Only the entry that equals the session's `filed` counts;
    /// the others are leftovers.
    due: BinaryHeap<Reverse<(Duration, Handle)>>,
}

/// Settings of a [`MemoryStore`].
pub struct MemoryStoreBuilder {
    capacity: usize,
    clock: Box<dyn Clock>,
}

impl MemoryStoreBuilder {
    /// At most `sessions` at a time: at the limit, creating another fails with
    /// [`StoreErrorKind::Full`]. Deleted sessions, of which a few bytes are kept for
    /// [`LATE`](crate::store::LATE), do not count. Unlimited by default.
    #[must_use]
    pub fn capacity(mut self, sessions: usize) -> Self {
        self.capacity = sessions;
        self
    }

    /// The clock to go by. By default that of the operating system.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// The store.
    pub fn build(self) -> MemoryStore {
        MemoryStore {
            shared: Arc::new(Shared {
                shards: Default::default(),
                sessions: AtomicUsize::new(0),
                capacity: self.capacity,
                clock: self.clock,
            }),
        }
    }
}

impl MemoryStore {
    /// An empty store without a limit.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A store with settings of your own.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { capacity: usize::MAX, clock: Box::new(SystemClock::new()) }
    }

    /// How many sessions it holds. Deleted ones are not counted, expired ones that were not freed
    /// yet are.
    pub fn len(&self) -> usize {
        self.shared.sessions.load(Ordering::Relaxed)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shared.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` on the live session that `access` opens. The clock is read under the lock, so
    /// that operations happen in the order of their times.
    fn open<T>(
        &self,
        access: Access<'_>,
        work: impl FnOnce(&mut Record, Duration) -> T,
    ) -> Lookup<T> {
        let mut shard = self.lock(shard_of(access.handle));
        let now = self.shared.clock.now();
        let Some(record) = shard.sessions.get_mut(access.handle).filter(|held| held.is_known(now))
        else {
            return Lookup::NotFound;
        };
        let answer = record.open(access.secret, now).map(|record| work(record, now));
        shard.file(access.handle);
        answer
    }

    fn reserve(&self) -> Result<(), StoreError> {
        (self.shared.sessions)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sessions| {
                (sessions < self.shared.capacity).then_some(sessions + 1)
            })
            .map(drop)
            .map_err(|_| StoreError::new(NAME, StoreErrorKind::Full))
    }

    fn release(&self, sessions: usize) {
        self.shared.sessions.fetch_sub(sessions, Ordering::Relaxed);
    }

    fn sweep_shard(&self, shard: usize, limit: usize) -> usize {
        let mut shard = self.lock(shard);
        let (removed, expired) = shard.sweep(limit, self.shared.clock.now());
        self.release(expired);
        removed
    }
}

fn shard_of(handle: &Handle) -> usize {
    usize::from(handle.as_bytes()[0]) % SHARDS
}

impl Shard {
    /// Sees to it that a session is looked at no later than its deadline.
    fn file(&mut self, handle: &Handle) {
        let Some(record) = self.sessions.get_mut(handle) else {
            return;
        };
        let Some(deadline) = record.deadline() else {
            return;
        };
        if record.filed.is_none_or(|filed| deadline < filed) {
            record.filed = Some(deadline);
            self.due.push(Reverse((deadline, *handle)));
        }
    }

    /// Drops the leftovers once they are the larger part.
    fn compact(&mut self) {
        if self.due.len() > 2 * self.sessions.len() + 64 {
            self.due.retain(|Reverse((due, handle))| {
                self.sessions.get(handle).is_some_and(|record| record.filed == Some(*due))
            });
        }
    }

    /// Removes at most `limit` sessions whose deadline has passed; files the others anew. Says how
    /// many it removed, and how many of them had not been deleted before.
    fn sweep(&mut self, limit: usize, now: Duration) -> (usize, usize) {
        let (mut removed, mut expired) = (0, 0);
        while removed < limit {
            let Some(&Reverse((due, handle))) = self.due.peek() else { break };
            if now < due {
                break;
            }
            self.due.pop();
            match self.sessions.get_mut(&handle).filter(|record| record.filed == Some(due)) {
                Some(record) if record.is_known(now) => {
                    record.prune(now);
                    record.filed = None;
                    self.file(&handle);
                }
                Some(record) => {
                    expired += usize::from(!record.is_ended());
                    removed += 1;
                    self.sessions.remove(&handle);
                }
                None => {}
            }
        }
        (removed, expired)
    }
}

impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        Ok(self.open(access, |record, now| {
            record.touch(touch, now);
            record.load(fields, now)
        }))
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        let place = shard_of(create.handle);
        self.sweep_shard(place, SWEEP_AT_CREATE);
        if self.len() >= self.shared.capacity {
            self.sweep(usize::MAX).await?;
        }
        self.reserve()?;
        let mut shard = self.lock(place);
        let now = self.shared.clock.now();
        let record = Record::new(&create, now);
        match shard.sessions.get(create.handle) {
            Some(held) if held.is_known(now) => {
                self.release(1);
                return Err(StoreError::new(NAME, StoreErrorKind::Exists));
            }
            Some(held) => self.release(usize::from(!held.is_ended())),
            None => {}
        }
        shard.sessions.insert(*create.handle, record);
        shard.file(create.handle);
        shard.compact();
        Ok(())
    }

    async fn update(
        &self,
        access: Access<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        Ok(self.open(access, |record, now| {
            let conflict = update.expect.and_then(|expect| record.conflict(&expect, now));
            if let Some(current) = conflict {
                return Updated::Conflict { current };
            }
            record.prune(now);
            record.touch(update.touch, now);
            record.rotate(update.rotate, now);
            record.end_at(update.absolute, now);
            let found = update.changes.iter().filter(|change| record.apply(change, now)).count();
            Updated::Applied { found }
        }))
    }

    async fn take(
        &self,
        access: Access<'_>,
        take: Take<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        Ok(self.open(access, |record, now| {
            record.touch(take.touch, now);
            record.rotate(take.rotate, now);
            record.take(take.name, now)
        }))
    }

    async fn delete(&self, access: Access<'_>) -> Result<Lookup<()>, StoreError> {
        Ok(self.open(access, |record, now| {
            record.end(now);
            self.release(1);
        }))
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        let mut freed = 0;
        for shard in 0..SHARDS {
            freed += self.sweep_shard(shard, limit - freed);
        }
        Ok(freed)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("sessions", &self.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStoreBuilder")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::memory::ManualClock,
        token::{Secret, SecretHash},
        ttl::Ttl,
    };

    fn secret() -> SecretHash {
        Secret::random().unwrap().hash("")
    }

    async fn create(store: &MemoryStore, idle: Option<Ttl>) -> Result<(), StoreError> {
        let (handle, secret) = (Handle::random().unwrap(), secret());
        let create = Create { handle: &handle, secret: &secret, idle, absolute: None, fields: &[] };
        store.create(create).await
    }

    #[tokio::test]
    async fn a_full_store_refuses_rather_than_evicts() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().capacity(2).clock(clock.clone()).build();
        let minute = Some(Ttl::from_secs(60));
        create(&store, minute).await.unwrap();
        create(&store, minute).await.unwrap();
        let error = create(&store, minute).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Full);
        assert_eq!(store.len(), 2);

        clock.advance(Duration::from_secs(60));
        create(&store, minute).await.unwrap();
        create(&store, minute).await.unwrap();
        assert_eq!(store.len(), 2, "the expired ones made room");
    }

    #[tokio::test]
    async fn expired_sessions_are_freed_as_new_ones_come() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        for _ in 0..1000 {
            create(&store, Some(Ttl::from_secs(1))).await.unwrap();
        }
        clock.advance(Duration::from_secs(1));
        for _ in 0..1000 {
            create(&store, None).await.unwrap();
        }
        assert_eq!(store.len(), 1000);
    }

    #[tokio::test]
    async fn the_end_of_time_is_no_panic() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        clock.advance(Duration::MAX);
        create(&store, Some(Ttl::MAX)).await.unwrap();
        assert_eq!(store.sweep(usize::MAX).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn the_schedule_forgets_ended_sessions() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let secret = secret();
        for _ in 0..10_000 {
            clock.advance(Duration::from_secs(1));
            let handle = Handle::random().unwrap();
            let absolute = Some(Ttl::MAX);
            let new =
                Create { handle: &handle, secret: &secret, idle: None, absolute, fields: &[] };
            store.create(new).await.unwrap();
            store.delete(Access { handle: &handle, secret: &secret }).await.unwrap();
        }
        assert!(store.is_empty());
        let filed: usize = (0..SHARDS).map(|shard| store.lock(shard).due.len()).sum();
        assert!(filed <= SHARDS * 66 + 180, "{filed}");
    }

    #[tokio::test]
    async fn the_schedule_does_not_grow_with_activity() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let (handle, secret) = (Handle::random().unwrap(), secret());
        let idle = Ttl::from_secs(10);
        let new = Create {
            handle: &handle,
            secret: &secret,
            idle: Some(idle),
            absolute: None,
            fields: &[],
        };
        store.create(new).await.unwrap();
        for _ in 0..100 {
            clock.advance(Duration::from_secs(9));
            let touch = Some(Touch { idle, after: Duration::ZERO });
            let access = Access { handle: &handle, secret: &secret };
            let loaded = store.load(access, Fields::All, touch).await.unwrap();
            assert!(matches!(loaded, Lookup::Found(_)));
            store.sweep(usize::MAX).await.unwrap();
        }
        assert_eq!(store.lock(shard_of(&handle)).due.len(), 1);
    }
}
