//! [`MemoryStore`]: sessions in the memory of this process.
//!
//! A [`RecordStore`] over sharded maps. `store::record` has the rules of a session. This file has
//! the capacity, the schedule by which expired records are freed, and the lists of principals.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    fmt,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::OwnedMutexGuard;

use super::clock::{Clock, SystemClock};
use crate::{
    auth::PrincipalKey,
    store::{RecordStore, SessionRecord, StoreError, StoreErrorKind, watchers::Watchers},
    token::SessionId,
};

const NAME: &str = "memory";
const SHARDS: usize = 16;

/// Maximum number of expired sessions that a creation frees while the store is not full. It is more
/// than one, so that the store shrinks.
const FREED_AT_CREATION: usize = 4;

/// Sessions in the memory of this process.
///
/// Everything is lost when the process ends. Clones share the sessions. Expired sessions are freed
/// as new ones are created, without a background task. A live session is never evicted.
///
/// ```
/// use ruts::{SessionLayer, store::memory::MemoryStore};
///
/// let layer = SessionLayer::new(MemoryStore::new());
/// # drop(layer);
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    /// Locked before a shard, never while a shard is locked.
    lists: Arc<tokio::sync::Mutex<PrincipalLists>>,
    /// Freed sessions that may still be on a list. The next holder of `lists` removes them, because
    /// a session is freed under the lock of a shard, where `lists` must not be locked.
    unlisted: Mutex<Vec<(PrincipalKey, SessionId)>>,
    /// Woken when a session was deleted or revoked, or changed its principal.
    watchers: Watchers,
    /// Number of stored sessions that were not deleted or revoked.
    sessions: AtomicUsize,
    capacity: usize,
    clock: Box<dyn Clock>,
}

/// The sessions of each principal, each with the number of its sign-in. The number orders sign-ins
/// that have the same time, such as all sign-ins of a test that does not advance its clock.
#[derive(Default)]
pub struct PrincipalLists {
    sessions: HashMap<PrincipalKey, BTreeMap<SessionId, u64>>,
    sign_ins: u64,
}

#[derive(Default)]
struct Shard {
    sessions: HashMap<SessionId, Slot>,
    /// The sessions, ordered by the time at which their deadline has to be checked. An item is
    /// obsolete if its time differs from `scheduled_at` in the slot of the session.
    due: BinaryHeap<Reverse<(Duration, SessionId)>>,
}

struct Slot {
    /// `None` only within an operation that removes the record.
    record: Option<SessionRecord>,
    /// The deadline with which this session is in `due`.
    scheduled_at: Option<Duration>,
}

/// Settings of a [`MemoryStore`].
pub struct MemoryStoreBuilder {
    capacity: usize,
    clock: Box<dyn Clock>,
}

impl MemoryStoreBuilder {
    /// Sets the maximum number of sessions. At the limit, creating one more fails with
    /// [`StoreErrorKind::Full`]. Unlimited by default.
    ///
    /// Deleted and revoked sessions do not count, although the store still keeps their secret
    /// hashes. If the store holds more than about `2 * sessions` sessions, including deleted and
    /// revoked ones, it removes a session immediately when it is revoked.
    #[must_use]
    pub fn capacity(mut self, sessions: usize) -> Self {
        self.capacity = sessions;
        self
    }

    /// Sets the clock. Defaults to the clock of the operating system.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Builds the store.
    pub fn build(self) -> MemoryStore {
        MemoryStore {
            inner: Arc::new(Inner {
                shards: Default::default(),
                lists: Arc::default(),
                unlisted: Mutex::default(),
                watchers: Watchers::default(),
                sessions: AtomicUsize::new(0),
                capacity: self.capacity,
                clock: self.clock,
            }),
        }
    }
}

impl MemoryStore {
    /// Creates an empty store without a limit.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates the builder of a store.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { capacity: usize::MAX, clock: Box::new(SystemClock::new()) }
    }

    /// Returns the number of sessions. Deleted and revoked sessions are not counted. Expired
    /// sessions are counted until they are freed.
    pub fn len(&self) -> usize {
        self.inner.sessions.load(Ordering::Relaxed)
    }

    /// Returns whether the store holds no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.inner.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees expired sessions before a session is created.
    fn make_room(&self, shard: usize) {
        self.free(shard, FREED_AT_CREATION);
        if self.len() >= self.inner.capacity {
            (0..SHARDS).for_each(|shard| self.free(shard, usize::MAX));
        }
    }

    fn free(&self, shard: usize, limit: usize) {
        let mut shard = self.lock(shard);
        for id in shard.expired(limit, self.inner.clock.now()) {
            let slot = shard.sessions.remove(&id);
            let Some(record) = slot.and_then(|slot| slot.record) else { continue };
            self.inner.sessions.fetch_sub(usize::from(!record.is_ended()), Ordering::Relaxed);
            if let Some(principal) = record.principal() {
                let mut unlisted =
                    self.inner.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
                unlisted.push((principal, id));
            }
        }
    }

    /// Returns whether a shard has no room for revoked sessions.
    fn is_over_capacity(&self, shard: &Shard) -> bool {
        shard.sessions.len() / 2 > self.inner.capacity / SHARDS
    }

    fn reserve(&self) -> Result<(), StoreError> {
        let sessions = &self.inner.sessions;
        let reserved = sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sessions| {
            (sessions < self.inner.capacity).then_some(sessions + 1)
        });
        reserved.map(drop).map_err(|_| StoreError::new(NAME, StoreErrorKind::Full))
    }
}

fn shard_of(id: &SessionId) -> usize {
    usize::from(id.as_bytes()[0]) % SHARDS
}

impl Shard {
    /// Schedules a session, so that it is checked at its deadline at the latest.
    fn schedule(&mut self, id: &SessionId) {
        let Some(slot) = self.sessions.get_mut(id) else { return };
        let Some(deadline) = slot.record.as_ref().and_then(SessionRecord::deadline) else { return };
        if slot.scheduled_at.is_none_or(|scheduled_at| deadline < scheduled_at) {
            slot.scheduled_at = Some(deadline);
            self.due.push(Reverse((deadline, *id)));
        }
    }

    /// Drops obsolete entries of the schedule when they are the majority.
    fn compact(&mut self) {
        if self.due.len() > 2 * self.sessions.len() + 64 {
            self.due.retain(|Reverse((due, id))| {
                self.sessions.get(id).is_some_and(|slot| slot.scheduled_at == Some(*due))
            });
        }
    }

    /// Returns at most `limit` expired sessions, which stay in the schedule until they are removed.
    /// Reschedules the sessions whose deadline has moved.
    fn expired(&mut self, limit: usize, now: Duration) -> Vec<SessionId> {
        let mut expired = Vec::new();
        while expired.len() < limit {
            let Some(&Reverse((due, id))) = self.due.peek() else { break };
            if now < due {
                break;
            }
            self.due.pop();
            let slot = self.sessions.get_mut(&id).filter(|slot| slot.scheduled_at == Some(due));
            let Some(Slot { record: Some(record), scheduled_at }) = slot else { continue };
            if record.is_retained(now) {
                record.prune(now);
                *scheduled_at = None;
                self.schedule(&id);
            } else {
                expired.push((due, id));
            }
        }
        self.due.extend(expired.iter().copied().map(Reverse));
        expired.into_iter().map(|(_, id)| id).collect()
    }
}

impl RecordStore for MemoryStore {
    type PrincipalLock = OwnedMutexGuard<PrincipalLists>;

    fn name(&self) -> &'static str {
        NAME
    }

    /// The clock is read under the lock, so that operations happen in the order of their times.
    async fn with_record<T: Send>(
        &self,
        id: &SessionId,
        operation: impl FnOnce(&mut Option<SessionRecord>, Duration) -> T + Send,
    ) -> Result<T, StoreError> {
        let place = shard_of(id);
        let mut shard = self.lock(place);
        if !shard.sessions.contains_key(id) {
            drop(shard);
            self.make_room(place);
            shard = self.lock(place);
        }
        let now = self.inner.clock.now();
        let mut absent = None;
        let is_over_capacity = self.is_over_capacity(&shard);
        let slot = shard.sessions.get_mut(id);
        let record = slot.map_or(&mut absent, |slot| &mut slot.record);
        let (was_live, former) = state(record.as_ref());
        let answer = operation(record, now);
        let (is_live, principal) = state(record.as_ref());
        if was_live && !is_live && is_over_capacity {
            // A store that lacks space need not recognise the secret of a revoked session.
            record.take_if(|record| record.is_revoked());
        }
        let is_gone = record.is_none();
        if is_live
            && !was_live
            && let Err(full) = self.reserve()
        {
            shard.sessions.remove(id);
            return Err(full);
        }
        if was_live && !is_live {
            self.inner.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(record) = absent {
            shard.sessions.insert(*id, Slot { record: Some(record), scheduled_at: None });
            shard.compact();
        }
        if is_gone {
            shard.sessions.remove(id);
        } else {
            shard.schedule(id);
        }
        drop(shard);
        if (was_live && !is_live) || former != principal {
            self.inner.watchers.wake(Some(*id));
        }
        Ok(answer)
    }

    async fn lock_principal(&self, _: &PrincipalKey) -> Result<Self::PrincipalLock, StoreError> {
        let mut lists = Arc::clone(&self.inner.lists).lock_owned().await;
        let unlisted = std::mem::take(
            &mut *self.inner.unlisted.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for (principal, id) in unlisted {
            let now = self.inner.clock.now();
            let shard = self.lock(shard_of(&id));
            let record = shard.sessions.get(&id).and_then(|slot| slot.record.as_ref());
            if !record.is_some_and(|record| record.belongs_to(&principal, now)) {
                lists.remove(&principal, &id);
            }
        }
        Ok(lists)
    }

    async fn sessions_of(
        &self,
        principal: &PrincipalKey,
        lists: &mut Self::PrincipalLock,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut listed: Vec<(u64, SessionId)> =
            (lists.sessions.get(principal).into_iter().flatten())
                .map(|(id, sign_in)| (*sign_in, *id))
                .collect();
        listed.sort_unstable();
        Ok(listed.into_iter().map(|(_, id)| id).collect())
    }

    async fn page_of(
        &self,
        principal: &PrincipalKey,
        after: Option<&SessionId>,
        limit: usize,
        lists: &mut Self::PrincipalLock,
    ) -> Result<Vec<SessionId>, StoreError> {
        let begin = after.map_or(Bound::Unbounded, |after| Bound::Excluded(*after));
        let listed = lists.sessions.get(principal).into_iter();
        let listed = listed.flat_map(|ids| ids.range((begin, Bound::Unbounded)));
        Ok(listed.take(limit).map(|(id, _)| *id).collect())
    }

    async fn add_to_list(
        &self,
        principal: &PrincipalKey,
        id: &SessionId,
        lists: &mut Self::PrincipalLock,
    ) -> Result<(), StoreError> {
        lists.sign_ins += 1;
        let number = lists.sign_ins;
        lists.sessions.entry(*principal).or_default().insert(*id, number);
        Ok(())
    }

    async fn remove_from_list(
        &self,
        principal: &PrincipalKey,
        id: &SessionId,
        lists: &mut Self::PrincipalLock,
    ) -> Result<(), StoreError> {
        lists.remove(principal, id);
        Ok(())
    }

    async fn expired(&self, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        let mut expired = Vec::new();
        for shard in 0..SHARDS {
            let left = limit - expired.len();
            expired.extend(self.lock(shard).expired(left, self.inner.clock.now()));
        }
        Ok(expired)
    }

    async fn end_all(&self) -> Result<(), StoreError> {
        let mut lists = self.inner.lists.lock().await;
        lists.sessions.clear();
        for place in 0..SHARDS {
            let mut shard = self.lock(place);
            let (now, is_over_capacity) = (self.inner.clock.now(), self.is_over_capacity(&shard));
            let mut revoked = Vec::new();
            shard.sessions.retain(|id, Slot { record, .. }| {
                let Some(record) = record.as_mut().filter(|record| record.is_live(now)) else {
                    return true;
                };
                record.revoke(now);
                revoked.push(*id);
                !is_over_capacity
            });
            revoked.iter().for_each(|id| shard.schedule(id));
            self.inner.sessions.fetch_sub(revoked.len(), Ordering::Relaxed);
        }
        self.inner.watchers.wake(None);
        Ok(())
    }

    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        self.inner.watchers.watch(id)
    }
}

/// Returns whether a record counts towards the capacity, and its principal.
fn state(record: Option<&SessionRecord>) -> (bool, Option<PrincipalKey>) {
    let is_live = record.is_some_and(|record| !record.is_ended());
    (is_live, record.and_then(SessionRecord::principal))
}

impl PrincipalLists {
    fn remove(&mut self, principal: &PrincipalKey, id: &SessionId) {
        if let Some(listed) = self.sessions.get_mut(principal) {
            listed.remove(id);
            if listed.is_empty() {
                self.sessions.remove(principal);
            }
        }
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
        store::{Create, Credentials, Projection, Store, Touch, memory::ManualClock},
        token::{CookieLife, Secret, SecretHash},
        ttl::Ttl,
    };

    fn secret() -> SecretHash {
        Secret::random(CookieLife::Default).unwrap().hash("")
    }

    async fn create(store: &MemoryStore, idle: Option<Ttl>) -> Result<(), StoreError> {
        let (id, secret) = (SessionId::random().unwrap(), secret());
        let create =
            Create { id: &id, secret: &secret, idle, absolute: None, fields: &[], sign_in: None };
        store.create(create).await.map(drop)
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
        assert_eq!(store.len(), 2, "expired sessions should make room");
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
        assert_eq!(store.delete_expired(usize::MAX).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn the_schedule_forgets_ended_sessions() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let secret = secret();
        for _ in 0..10_000 {
            clock.advance(Duration::from_secs(1));
            let id = SessionId::random().unwrap();
            let new = Create::new(&id, &secret).absolute(Ttl::MAX);
            store.create(new).await.unwrap();
            let _ = store.delete(Credentials::new(&id, &secret)).await.unwrap();
        }
        assert!(store.is_empty());
        let scheduled_at: usize = (0..SHARDS).map(|shard| store.lock(shard).due.len()).sum();
        assert!(scheduled_at <= SHARDS * 66 + 180, "{scheduled_at}");
    }

    #[tokio::test]
    async fn the_schedule_does_not_grow_with_activity() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let (id, secret) = (SessionId::random().unwrap(), secret());
        let idle = Ttl::from_secs(10);
        let new = Create::new(&id, &secret).idle(idle);
        store.create(new).await.unwrap();
        for _ in 0..100 {
            clock.advance(Duration::from_secs(9));
            let touch = Some(Touch::new(idle, Duration::ZERO));
            let credentials = Credentials::new(&id, &secret);
            let loaded = store.load(credentials, Projection::All, touch).await.unwrap();
            assert!(loaded.is_ok());
            store.delete_expired(usize::MAX).await.unwrap();
        }
        assert_eq!(store.lock(shard_of(&id)).due.len(), 1);
    }
}
