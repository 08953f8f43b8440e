use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{doubts::Doubts, hot::CacheTier, plan::Plan, policies::Policies, revoking::Room};
use crate::{
    event,
    principal::PrincipalKey,
    store::{
        AuthChange, Cache, Change, Confirmed, Create, Credentials, Loaded, Lookup, PageRequest,
        Projection, RevokeTarget, Revoked, SessionMeta, SessionPage, SharedCache, Store,
        StoreError, StoreErrorKind, TakeField, Touch, Update, Updated,
    },
    token::SessionId,
    ttl,
};

pub(super) const NAME: &str = "layered";

/// How many entries may be in the course of being filled. Reads beyond that fill none.
const FILLS: usize = 256;

/// Sessions in a store of record, `cold`, read through a cache, `hot`.
///
/// The [module](super) tells how the two are kept in step, what it costs, and what happens when one of
/// them fails. Clones share everything. It needs a tokio runtime with time enabled.
///
/// ```no_run
/// # #[cfg(all(feature = "redis-store", feature = "postgres-store"))]
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use fred::{clients::Client, interfaces::ClientLike, types::config::Config};
/// use ruts::{SessionLayer, store::{
///     layered::LayeredStore, postgres::PostgresStoreBuilder, redis::RedisStore,
/// }};
/// use sqlx::PgPool;
///
/// let client = Client::new(Config::from_url("redis://localhost:6379")?, None, None, None);
/// client.init().await?;
/// let pool = PgPool::connect("postgres://localhost/app").await?;
/// let cold = PostgresStoreBuilder::new(pool, true).build().await?;
/// let store = LayeredStore::new(RedisStore::new(Arc::new(client)), cold);
/// store.check().await?;
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub struct LayeredStore<H, C> {
    pub(super) tiers: Arc<Tiers<H, C>>,
    pub(super) settings: Settings,
}

/// The answer of a tier, to come.
pub(super) type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

pub(super) struct Tiers<H, C> {
    pub(super) hot: CacheTier<H>,
    pub(super) cold: C,
    pub(super) cold_is_down: AtomicBool,
    pub(super) policies: Policies,
    pub(super) doubts: Doubts,
    pub(super) fills: Arc<Semaphore>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) hot_ttl: Duration,
    hot_timeout: Duration,
    pub(super) cold_timeout: Duration,
    pub(super) intent: Duration,
    writes_without_hot: bool,
    pub(super) hits_without_cold: bool,
}

impl<H: SharedCache, C: Store> LayeredStore<H, C> {
    /// A store that reads `cold` through `hot`. All processes that use `cold` must use the same `hot`.
    pub fn new(hot: H, cold: C) -> Self {
        Self::of(hot, cold)
    }
}

fn bounded(duration: Duration) -> Duration {
    duration.clamp(Duration::from_millis(1), Duration::from_secs(86_400))
}

impl<H: Cache, C: Store> LayeredStore<H, C> {
    /// A store that reads `cold` through a cache of this process, such as a
    /// [`MemoryCache`](crate::store::memory::MemoryCache). This must be the only process that uses
    /// `cold`: what another one writes goes unnoticed until [`with_hot_ttl`](Self::with_hot_ttl).
    pub fn in_one_process(hot: H, cold: C) -> Self {
        Self::of(hot, cold)
    }

    fn of(hot: H, cold: C) -> Self {
        let tiers = Tiers {
            hot: CacheTier::new(hot),
            cold,
            cold_is_down: AtomicBool::new(false),
            policies: Policies::default(),
            doubts: Doubts::default(),
            fills: Arc::new(Semaphore::new(FILLS)),
        };
        Self {
            tiers: Arc::new(tiers),
            settings: Settings {
                hot_ttl: Duration::from_secs(300),
                hot_timeout: Duration::from_millis(500),
                cold_timeout: Duration::from_secs(5),
                intent: Duration::from_secs(30),
                writes_without_hot: false,
                hits_without_cold: true,
            },
        }
    }

    /// How long anything is served from the cache at most: five minutes unless set. A field's own `hot`
    /// can make it less. From a millisecond to a day, as all of these.
    ///
    /// It is also the bound of all that can go wrong: see [`Lookup::Unconfirmed`]. So it should be the
    /// same in all processes.
    #[must_use]
    pub fn with_hot_ttl(mut self, ttl: Duration) -> Self {
        self.settings.hot_ttl = bounded(ttl);
        self
    }

    /// How long to wait for the cache: half a second unless set. A read then goes on without it.
    #[must_use]
    pub fn with_hot_timeout(mut self, timeout: Duration) -> Self {
        self.settings.hot_timeout = bounded(timeout);
        self
    }

    /// How long to wait for the store of record, should it not keep to a time of its own: five seconds
    /// unless set.
    #[must_use]
    pub fn with_cold_timeout(mut self, timeout: Duration) -> Self {
        self.settings.cold_timeout = bounded(timeout);
        self
    }

    /// For how long a session is kept out of the cache after a write whose outcome is not known: 30
    /// seconds unless set, and never less than twice the cold timeout.
    ///
    /// It should be longer than a statement can go on in the store of record after nobody waits for it
    /// any more; that is five times its timeout for a `PostgresStore`. What is written after that is
    /// not lost, and was never acknowledged, but a cached value of before may be served until
    /// [`with_hot_ttl`](Self::with_hot_ttl).
    #[must_use]
    pub fn with_fence(mut self, intent: Duration) -> Self {
        self.settings.intent = bounded(intent);
        self
    }

    /// Lets writes go on while the cache is down, instead of refusing them before anything was changed.
    /// They answer with [`Lookup::Unconfirmed`], as deletions always do then.
    #[must_use]
    pub fn writes_without_hot(mut self, go_on: bool) -> Self {
        self.settings.writes_without_hot = go_on;
        self
    }

    /// Whether the cache answers reads although the store of record failed when it was last asked. It
    /// does unless told otherwise: what it holds is right as far as anybody was told.
    #[must_use]
    pub fn hits_without_cold(mut self, serve: bool) -> Self {
        self.settings.hits_without_cold = serve;
        self
    }

    /// Whether the cache can do its part, good to have at start-up. What it has and does not need is
    /// logged as a warning. The round trips are those of its [`Cache::check`].
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Unsupported`], and whatever a command may fail with.
    pub async fn check(&self) -> Result<(), StoreError> {
        let Tiers { hot, .. } = &*self.tiers;
        hot.run(self.settings.cold_timeout, hot.cache().check()).await
    }

    /// Waits for the cache. Each wait is boxed, or the types of drivers' futures would nest so deeply that
    /// a handler does not compile.
    pub(super) fn hot<'a, T: Send + 'a>(
        &'a self,
        command: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Reply<'a, T> {
        Box::pin(self.tiers.hot.run(self.settings.hot_timeout, command))
    }

    /// Waits for the store of record. `late` is what it means if it takes too long. Nothing begins before
    /// it is awaited.
    pub(super) fn cold<'a, T: Send + 'a>(
        &'a self,
        late: StoreErrorKind,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Reply<'a, T> {
        Box::pin(async move {
            let begun = Instant::now();
            let answer = match timeout(self.settings.cold_timeout, operation).await {
                Ok(answer) => answer,
                Err(elapsed) => {
                    Err(StoreError::new(self.tiers.cold.name(), late).with_source(elapsed))
                }
            };
            event::tier_called("cold", self.tiers.cold.name(), begun.elapsed(), answer.is_ok());
            let is_down = answer.as_ref().is_err_and(|error| {
                matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Unknown)
            });
            self.tiers.cold_is_down.store(is_down, Ordering::Relaxed);
            answer
        })
    }

    async fn insert(&self, create: Create<'_>) -> Result<(), StoreError> {
        self.cold(StoreErrorKind::Unknown, async move { self.tiers.cold.create(create).await })
            .await
    }

    async fn change(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        for change in update.changes {
            if let Change::Set(put) = change {
                self.tiers.policies.learn(put.name, put.hot);
            }
        }
        let plan = Plan::update(&update, self.settings.hot_ttl);
        let operation = self.cold(StoreErrorKind::Unknown, async move {
            self.tiers.cold.update(credentials, update).await
        });
        let applied = |updated: &Updated| matches!(updated, Updated::Applied { .. });
        let goes_on = self.settings.writes_without_hot;
        match self.write(credentials.id, plan, goes_on, operation, applied).await? {
            (Lookup::Found(updated), false) if applied(&updated) => Ok(self.unconfirmed(updated)),
            (answer, _) => Ok(answer),
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method of the contract that is inherited lies")]
impl<H: Cache, C: Store> Store for LayeredStore<H, C> {
    fn name(&self) -> &'static str {
        NAME
    }

    /// One hot round trip if the cache holds what is asked for; else one hot and one cold, and one hot
    /// that nobody waits for, unless the read has moved the idle deadline.
    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        self.read(credentials, fields, touch).await
    }

    /// One cold round trip: nobody can know of the session yet.
    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        for put in create.fields {
            self.tiers.policies.learn(put.name, put.hot);
        }
        let Some(who) = create.sign_in else { return self.insert(create).await };
        let mut room = Room::new(who);
        loop {
            let answer = self.insert(Create { sign_in: Some(room.who), ..create }).await;
            let refused = answer.as_ref().err().map(StoreError::kind);
            if !self.make_room(&mut room, create.id, refused).await? {
                return answer;
            }
        }
    }

    /// One hot round trip, one cold, one hot. At a limit, some more.
    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let Some(AuthChange::In { who, idle, absolute }) = update.sign else {
            return self.change(credentials, update).await;
        };
        let mut room = Room::new(who);
        loop {
            let sign = Some(AuthChange::In { who: room.who, idle, absolute });
            let answer = self.change(credentials, Update { sign, ..update }).await;
            let refused = answer.as_ref().err().map(StoreError::kind);
            if !self.make_room(&mut room, credentials.id, refused).await? {
                return answer;
            }
        }
    }

    /// One hot round trip, one cold, one hot.
    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let plan = Plan::take(&take, self.settings.hot_ttl);
        let operation = self.cold(StoreErrorKind::Unknown, async move {
            self.tiers.cold.take(credentials, take).await
        });
        let goes_on = self.settings.writes_without_hot;
        match self.write(credentials.id, plan, goes_on, operation, |_| true).await? {
            (Lookup::Found(value), false) => Ok(self.unconfirmed(value)),
            (answer, _) => Ok(answer),
        }
    }

    /// One hot round trip, one cold, one hot. It goes on without the cache.
    async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
        let operation =
            self.cold(
                StoreErrorKind::Unknown,
                async move { self.tiers.cold.delete(credentials).await },
            );
        match self.write(credentials.id, Plan::delete(), true, operation, |()| true).await? {
            (Lookup::Found(()), false) => Ok(self.unconfirmed(())),
            (answer, _) => Ok(answer),
        }
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        self.cold(StoreErrorKind::Unavailable, self.tiers.cold.inspect(id)).await
    }

    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        self.tiers.cold.wait_for_change(id)
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let operation = self.tiers.cold.list_by_principal(principal, page, fields);
        self.cold(StoreErrorKind::Unavailable, operation).await
    }

    /// Two cold operations, and two hot round trips for each session. It goes on without the cache.
    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Revoked, StoreError> {
        self.end_all(principal, target).await
    }

    /// It goes on without the cache.
    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.end_everyone().await
    }

    fn hint_cache_policy(&self, name: &str, hot: ttl::CachePolicy) {
        self.tiers.policies.learn(name, hot);
        self.tiers.cold.hint_cache_policy(name, hot);
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.tiers.cold.delete_expired(limit).await
    }
}

impl<H, C> Clone for LayeredStore<H, C> {
    fn clone(&self) -> Self {
        Self { tiers: Arc::clone(&self.tiers), settings: self.settings }
    }
}

impl<H, C> fmt::Debug for LayeredStore<H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}
