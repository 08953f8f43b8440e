use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::broadcast;

use super::{
    Clock, SystemClock,
    record::{Opened, Record},
};
use crate::{
    principal::PrincipalKey,
    store::{
        AuthChange, Confirmed, Create, Credentials, ListedSession, Loaded, Lookup, NewSignIn,
        OnLimit, PageRequest, Projection, RevokeTarget, Revoked, SessionLimit, SessionMeta,
        SessionPage, Store, StoreError, StoreErrorKind, TakeField, Touch, Update, Updated,
    },
    token::SessionId,
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
    /// Which sessions signed in as target. Those that ended since may still be listed. Whoever locks it
    /// locks no shard before.
    index: Mutex<Index>,
    /// The sessions that ended or changed hands, for those who watch them; `None` is all of them.
    changes: broadcast::Sender<Option<SessionId>>,
    sessions: AtomicUsize,
    capacity: usize,
    clock: Box<dyn Clock>,
}

type Index = HashMap<PrincipalKey, BTreeSet<SessionId>>;

#[derive(Default)]
struct Shard {
    sessions: HashMap<SessionId, Record>,
    /// When to look at a session again. Only the entry that equals the session's `filed` counts;
    /// the others are leftovers.
    due: BinaryHeap<Reverse<(Duration, SessionId)>>,
}

/// Settings of a [`MemoryStore`].
pub struct MemoryStoreBuilder {
    capacity: usize,
    clock: Box<dyn Clock>,
}

impl MemoryStoreBuilder {
    /// At most `sessions` at a time: at the limit, creating another fails with
    /// [`StoreErrorKind::Full`]. Deleted sessions, of which a few bytes are kept for
    /// [`ENDED_RETENTION`](crate::store::ENDED_RETENTION), do not count. Unlimited by default.
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
                index: Mutex::default(),
                changes: broadcast::Sender::new(64),
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

    fn index(&self) -> MutexGuard<'_, Index> {
        self.shared.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` on a session that is live, or ended of late. The clock is read under the lock, so
    /// that operations happen in the order of their times.
    fn visit<T>(&self, id: &SessionId, work: impl FnOnce(&mut Record, Duration) -> T) -> Option<T> {
        let mut shard = self.lock(shard_of(id));
        let now = self.shared.clock.now();
        let record = shard.sessions.get_mut(id).filter(|held| held.is_known(now))?;
        let answer = work(record, now);
        shard.file(id);
        Some(answer)
    }

    /// Does `work` on the live session that `credentials` opens.
    fn open<T>(
        &self,
        credentials: Credentials<'_>,
        work: impl FnOnce(&mut Record, Opened, Duration) -> Lookup<T>,
    ) -> Lookup<T> {
        let opened =
            self.visit(credentials.id, |record, now| match record.open(credentials.secret, now) {
                Lookup::Found(opened) => work(record, opened, now),
                Lookup::Unconfirmed { .. } | Lookup::NotFound => Lookup::NotFound,
                Lookup::Replaced { ago } => Lookup::Replaced { ago },
                Lookup::Ended { ago } => Lookup::Ended { ago },
            });
        opened.unwrap_or(Lookup::NotFound)
    }

    fn end(&self, id: &SessionId, record: &mut Record, now: Duration) {
        record.end(now);
        self.release(1);
        self.tell(Some(*id));
    }

    /// Tells those who watch. Nobody may.
    fn tell(&self, changed: Option<SessionId>) {
        let _ = self.shared.changes.send(changed);
    }

    /// Ends a session if it is still a live one of the principal.
    fn end_of(&self, principal: &PrincipalKey, id: &SessionId) -> bool {
        let mut shard = self.lock(shard_of(id));
        let now = self.shared.clock.now();
        let held = shard.sessions.get(id);
        let is_theirs = held.is_some_and(|record| record.belongs_to(principal, now));
        if is_theirs {
            shard.sessions.remove(id);
            self.release(1);
            self.tell(Some(*id));
        }
        is_theirs
    }

    /// Makes room for another session of somebody, beside `own`, if that can be done.
    fn make_room(
        &self,
        listed: &mut BTreeSet<SessionId>,
        own: &SessionId,
        who: &NewSignIn<'_>,
        limit: SessionLimit,
    ) -> Result<(), StoreError> {
        let since = |id: &SessionId| {
            let signed_in_at = |record: &mut Record, now: Duration| {
                let signed_in_at = record.signed_in_at();
                signed_in_at.filter(|_| record.belongs_to(who.principal, now))
            };
            self.visit(id, signed_in_at).flatten()
        };
        let others = listed.iter().filter(|id| *id != own);
        let mut live: Vec<(Duration, SessionId)> =
            others.filter_map(|id| Some((since(id)?, *id))).collect();
        let most = limit.sessions.max(1) as usize - 1;
        if live.len() <= most {
            return Ok(());
        }
        if limit.on_limit == OnLimit::Reject {
            return Err(StoreError::new(NAME, StoreErrorKind::SessionLimit));
        }
        live.sort_unstable();
        for (_, id) in &live[..live.len() - most] {
            self.end_of(who.principal, id);
            listed.remove(id);
        }
        Ok(())
    }

    /// Removes a session from the index if it is not the principal's any more.
    fn unlist(&self, index: &mut Index, principal: &PrincipalKey, id: &SessionId) {
        let is_theirs =
            self.visit(id, |record, now| record.belongs_to(principal, now)).unwrap_or(false);
        if let Some(listed) = index.get_mut(principal).filter(|_| !is_theirs) {
            listed.remove(id);
            if listed.is_empty() {
                index.remove(principal);
            }
        }
    }

    fn insert(&self, create: &Create<'_>) -> Result<(), StoreError> {
        let mut shard = self.lock(shard_of(create.id));
        let now = self.shared.clock.now();
        match shard.sessions.get(create.id) {
            Some(held) if held.is_known(now) => {
                self.release(1);
                return Err(StoreError::new(NAME, StoreErrorKind::Exists));
            }
            Some(held) => self.release(usize::from(!held.is_ended())),
            None => {}
        }
        shard.sessions.insert(*create.id, Record::new(create, now));
        shard.file(create.id);
        shard.compact();
        Ok(())
    }

    fn change(&self, credentials: Credentials<'_>, update: &Update<'_>) -> Lookup<Updated> {
        self.open(credentials, |record, opened, now| {
            let is_more = update.rotate.is_some()
                || update.renew.is_some()
                || update.absolute.is_some()
                || update.sign.is_some();
            if opened == Opened::Late && is_more {
                return record.replaced(now);
            }
            record.confirm(opened, now);
            if update.renew.is_some_and(|renew| !record.is_due(&renew, now)) {
                return Lookup::Found(Updated::NotDue);
            }
            let conflict = update.precondition.and_then(|expect| record.conflict(&expect, now));
            if let Some(current) = conflict {
                return Lookup::Found(Updated::Conflict { current });
            }
            let touch = update.touch.filter(|_| opened != Opened::Late);
            let found = record.update(credentials.secret, &Update { touch, ..*update }, now);
            Lookup::Found(Updated::Applied { found })
        })
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
        let swept = {
            let mut shard = self.lock(shard);
            shard.delete_expired(limit, self.shared.clock.now())
        };
        self.release(swept.expired);
        if !swept.listed.is_empty() {
            let mut index = self.index();
            for (principal, id) in &swept.listed {
                self.unlist(&mut index, principal, id);
            }
        }
        swept.removed
    }
}

fn shard_of(id: &SessionId) -> usize {
    usize::from(id.as_bytes()[0]) % SHARDS
}

impl Shard {
    /// Sees to it that a session is looked at no later than its deadline.
    fn file(&mut self, id: &SessionId) {
        let Some(record) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(deadline) = record.deadline() else {
            return;
        };
        if record.filed.is_none_or(|filed| deadline < filed) {
            record.filed = Some(deadline);
            self.due.push(Reverse((deadline, *id)));
        }
    }

    /// Drops the leftovers once they are the larger part.
    fn compact(&mut self) {
        if self.due.len() > 2 * self.sessions.len() + 64 {
            self.due.retain(|Reverse((due, id))| {
                self.sessions.get(id).is_some_and(|record| record.filed == Some(*due))
            });
        }
    }

    /// Removes at most `limit` sessions whose deadline has passed; files the others anew.
    fn delete_expired(&mut self, limit: usize, now: Duration) -> Swept {
        let mut swept = Swept::default();
        while swept.removed < limit {
            let Some(&Reverse((due, id))) = self.due.peek() else { break };
            if now < due {
                break;
            }
            self.due.pop();
            match self.sessions.get_mut(&id).filter(|record| record.filed == Some(due)) {
                Some(record) if record.is_known(now) => {
                    record.prune(now);
                    record.filed = None;
                    self.file(&id);
                }
                Some(record) => {
                    swept.expired += usize::from(!record.is_ended());
                    swept.removed += 1;
                    swept.listed.extend(record.principal().map(|principal| (principal, id)));
                    self.sessions.remove(&id);
                }
                None => {}
            }
        }
        swept
    }
}

/// What a delete_expired has removed.
#[derive(Default)]
struct Swept {
    removed: usize,
    /// How many of them had not been deleted before.
    expired: usize,
    /// Those that the index may list.
    listed: Vec<(PrincipalKey, SessionId)>,
}

impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        Ok(self.open(credentials, |record, opened, now| {
            if opened != Opened::Late && touch.is_some() {
                record.confirm(opened, now);
                record.touch(touch, now);
            }
            Lookup::Found(record.load(fields, opened, now))
        }))
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        let place = shard_of(create.id);
        self.sweep_shard(place, SWEEP_AT_CREATE);
        if self.len() >= self.shared.capacity {
            self.delete_expired(usize::MAX).await?;
        }
        self.reserve()?;
        let Some(who) = create.sign_in else { return self.insert(&create) };
        let mut index = self.index();
        let listed = index.entry(*who.principal).or_default();
        if let Some(limit) = who.limit
            && let Err(refused) = self.make_room(listed, create.id, &who, limit)
        {
            self.release(1);
            return Err(refused);
        }
        listed.insert(*create.id);
        let inserted = self.insert(&create);
        if inserted.is_err() {
            self.unlist(&mut index, who.principal, create.id);
        }
        inserted
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        if update.sign.is_none() {
            return Ok(self.change(credentials, &update));
        }
        let mut index = self.index();
        // Nobody makes room for one who is refused.
        let before = self.open(credentials, |record, opened, now| match opened {
            Opened::ByItsOwn | Opened::ByTheFormer => {
                let conflict = update.precondition.and_then(|expect| record.conflict(&expect, now));
                Lookup::Found((conflict.is_none(), record.principal()))
            }
            Opened::Late => record.replaced(now),
        });
        if let (Lookup::Found((true, _)), Some(AuthChange::In { who, .. })) = (before, update.sign)
        {
            let listed = index.entry(*who.principal).or_default();
            if let Some(limit) = who.limit {
                self.make_room(listed, credentials.id, &who, limit)?;
            }
            listed.insert(*credentials.id);
        }
        let changed = self.change(credentials, &update);
        self.tell(Some(*credentials.id));
        if let Lookup::Found((_, Some(former))) = before {
            self.unlist(&mut index, &former, credentials.id);
        }
        Ok(changed)
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let taken = self.open(credentials, |record, opened, now| {
            if opened != Opened::Late {
                record.touch(take.touch, now);
            } else if take.rotate.is_some() || take.sign_out {
                return record.replaced(now);
            }
            record.confirm(opened, now);
            if let Some(secret) = take.rotate {
                record.rotate(credentials.secret, secret, now);
            }
            let former = record.principal().filter(|_| take.sign_out);
            if take.sign_out {
                record.sign_out();
            }
            Lookup::Found((record.take(take.name, now), former))
        });
        if let Lookup::Found((_, Some(former))) = &taken {
            self.tell(Some(*credentials.id));
            self.unlist(&mut self.index(), former, credentials.id);
        }
        Ok(taken.map(|(value, _)| value))
    }

    async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
        Ok(self.open(credentials, |record, _, now| {
            self.end(credentials.id, record, now);
            Lookup::Found(())
        }))
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        let meta = self.visit(id, |record, now| {
            (!record.is_ended()).then(|| record.meta(Opened::ByItsOwn, now))
        });
        Ok(meta.flatten())
    }

    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        let (mut changes, id) = (self.shared.changes.subscribe(), *id);
        async move {
            // Whoever is behind looks for himself.
            while changes.recv().await.is_ok_and(|changed| changed.is_some_and(|it| it != id)) {}
        }
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let index = self.index();
        let Some(listed) = index.get(principal) else { return Ok(SessionPage::default()) };
        let mut following =
            listed.iter().skip_while(|id| page.after.is_some_and(|after| *id <= after)).peekable();
        let mut listing = SessionPage::default();
        for id in following.by_ref().take(page.limit.max(1)) {
            let load = |record: &mut Record, now: Duration| {
                record
                    .belongs_to(principal, now)
                    .then(|| record.load(fields, Opened::ByItsOwn, now))
            };
            if let Some(loaded) = self.visit(id, load).flatten() {
                listing.sessions.push(ListedSession { id: *id, loaded });
            }
            listing.next = Some(*id);
        }
        if following.peek().is_none() {
            listing.next = None;
        }
        Ok(listing)
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Revoked, StoreError> {
        let mut index = self.index();
        let mut ids = Vec::new();
        if let Some(listed) = index.get_mut(principal) {
            listed.retain(|id| {
                let is_meant = match target {
                    RevokeTarget::One(one) => id == one,
                    RevokeTarget::All { except } => Some(id) != except,
                };
                if is_meant && self.end_of(principal, id) {
                    ids.push(*id);
                }
                !is_meant
            });
            if listed.is_empty() {
                index.remove(principal);
            }
        }
        Ok(Revoked { ids, confirmed: Confirmed::Yes })
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        let mut index = self.index();
        index.clear();
        for shard in 0..SHARDS {
            let all = std::mem::take(&mut *self.lock(shard));
            self.release(all.sessions.values().filter(|record| !record.is_ended()).count());
        }
        self.tell(None);
        Ok(Confirmed::Yes)
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
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
        let (id, secret) = (SessionId::random().unwrap(), secret());
        let create =
            Create { id: &id, secret: &secret, idle, absolute: None, fields: &[], sign_in: None };
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
            let absolute = Some(Ttl::MAX);
            let new = Create {
                id: &id,
                secret: &secret,
                idle: None,
                absolute,
                fields: &[],
                sign_in: None,
            };
            store.create(new).await.unwrap();
            store.delete(Credentials { id: &id, secret: &secret }).await.unwrap();
        }
        assert!(store.is_empty());
        let filed: usize = (0..SHARDS).map(|shard| store.lock(shard).due.len()).sum();
        assert!(filed <= SHARDS * 66 + 180, "{filed}");
    }

    #[tokio::test]
    async fn the_schedule_does_not_grow_with_activity() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let (id, secret) = (SessionId::random().unwrap(), secret());
        let idle = Ttl::from_secs(10);
        let new = Create {
            id: &id,
            secret: &secret,
            idle: Some(idle),
            absolute: None,
            fields: &[],
            sign_in: None,
        };
        store.create(new).await.unwrap();
        for _ in 0..100 {
            clock.advance(Duration::from_secs(9));
            let touch = Some(Touch { idle, after: Duration::ZERO });
            let credentials = Credentials { id: &id, secret: &secret };
            let loaded = store.load(credentials, Projection::All, touch).await.unwrap();
            assert!(matches!(loaded, Lookup::Found(_)));
            store.delete_expired(usize::MAX).await.unwrap();
        }
        assert_eq!(store.lock(shard_of(&id)).due.len(), 1);
    }
}
