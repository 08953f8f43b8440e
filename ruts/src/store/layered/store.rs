//! [`LayeredStore`], which keeps sessions in an origin behind a cache, and its builder.
//!
//! Called by the session like any [`Store`]. Passes reads, writes and revocations to `reading`,
//! `writing` and `revoking`, which implement the protocol. Passes all other operations directly to
//! the origin.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    reading::Read,
    revoking,
    sign_in_limit::SignInLimit,
    tiers::{NAME, Settings, Tiers},
    write_set::WriteSet,
    writing::{Effect, Write},
};
use crate::{
    auth::PrincipalKey,
    cache_policy::CachePolicy,
    store::{
        AuthChange, Cache, Change, Create, Credentials, Expiry, Loaded, PageRequest, Projection,
        RevokeTarget, SessionMeta, SessionPage, SharedCache, Store, StoreError, StoreErrorKind,
        StoreResult, TakeField, Touch, Update, Updated, Written,
    },
    token::SessionId,
    turns::Turn,
};

/// Sessions in an origin (the store of record), read through a cache.
///
/// The [module](super) explains how the tiers stay consistent, how many round trips an operation
/// takes, and what happens if a tier fails. Clones share everything. The store needs a tokio
/// runtime with time enabled.
///
/// ```no_run
/// # #[cfg(all(feature = "redis-store", feature = "postgres-store"))]
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{sync::Arc, time::Duration};
/// use fred::{clients::Client, types::config::Config};
/// use ruts::{SessionLayer, store::{
///     layered::LayeredStore, postgres::PostgresStoreBuilder, redis::RedisStore,
/// }};
/// use sqlx::PgPool;
///
/// let client = Client::new(Config::from_url("redis://localhost:6379")?, None, None, None);
/// let pool = PgPool::connect_lazy("postgres://localhost/app")?;
///
/// let cache = RedisStore::new(Arc::new(client));
/// let origin = PostgresStoreBuilder::new(pool, true).build().await?;
/// let store = LayeredStore::builder(cache, origin).cache_ttl(Duration::from_secs(60)).build();
/// store.check().await?;
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub struct LayeredStore<C, O> {
    tiers: Arc<Tiers<C, O>>,
}

/// Settings of a [`LayeredStore`].
///
/// Each duration is limited to the range from a millisecond to a day.
#[derive(Clone)]
pub struct LayeredStoreBuilder<C, O> {
    cache: C,
    origin: O,
    settings: Settings,
}

impl<C: Cache, O: Store> LayeredStoreBuilder<C, O> {
    /// Sets the maximum time for which the cache serves a copy. Defaults to five minutes. The cache
    /// policy of a field can shorten this time for the field.
    ///
    /// [`Written::stale_for`] reports this time. A different process may have filled the stale
    /// entry, so set the same time in all processes.
    #[must_use]
    pub fn cache_ttl(mut self, ttl: Duration) -> Self {
        self.settings.cache_ttl = limited(ttl);
        self
    }

    /// Sets how long to wait for each answer of the cache. Defaults to half a second. If a lookup
    /// takes longer, the read goes to the origin.
    #[must_use]
    pub fn cache_timeout(mut self, timeout: Duration) -> Self {
        self.settings.cache_timeout = limited(timeout);
        self
    }

    /// Sets how long to wait for each answer of the origin. Defaults to five seconds. A shorter
    /// timeout of the origin itself still applies.
    #[must_use]
    pub fn origin_timeout(mut self, timeout: Duration) -> Self {
        self.settings.origin_timeout = limited(timeout);
        self
    }

    /// Sets the TTL of a write intent. If the outcome of a write is unknown, the fields that it may
    /// have changed stay out of the cache for this time. Defaults to 30 seconds. A value below
    /// twice the [`origin_timeout`](Self::origin_timeout) counts as twice that timeout.
    ///
    /// Set a longer time than the origin may spend on an abandoned statement: for a
    /// `PostgresStore`, three times its timeout. A write may still take place after this time. Such
    /// a write was never acknowledged, and is not lost. But the cache may then serve the former
    /// value for at most [`cache_ttl`](Self::cache_ttl).
    #[must_use]
    pub fn intent_ttl(mut self, ttl: Duration) -> Self {
        self.settings.intent_ttl = limited(ttl);
        self
    }

    /// Sets whether writes are carried out while the cache is down. By default they are refused
    /// before anything is changed.
    ///
    /// The answer to a write that did not reach the cache has a [`Written::stale_for`]. Touches,
    /// deletions and revocations are carried out with either setting.
    #[must_use]
    pub fn writes_without_cache(mut self, is_allowed: bool) -> Self {
        self.settings.writes_without_cache = is_allowed;
        self
    }

    /// Sets whether the cache answers reads after an operation has found the origin down. By
    /// default, it answers them. Its entries are up to date with every acknowledged write whose
    /// answer has no [`Written::stale_for`].
    #[must_use]
    pub fn hits_without_origin(mut self, is_allowed: bool) -> Self {
        self.settings.hits_without_origin = is_allowed;
        self
    }

    /// Builds a store for a cache that only this process uses, such as a
    /// [`MemoryCache`](crate::store::memory::MemoryCache).
    ///
    /// No other process may use the origin. Otherwise the cache may serve data that the other
    /// process has replaced, for at most [`cache_ttl`](Self::cache_ttl).
    pub fn build_for_one_process(self) -> LayeredStore<C, O> {
        LayeredStore { tiers: Arc::new(Tiers::new(self.cache, self.origin, self.settings)) }
    }
}

impl<C: SharedCache, O: Store> LayeredStoreBuilder<C, O> {
    /// Builds the store. All processes that use the origin have to use the same cache.
    pub fn build(self) -> LayeredStore<C, O> {
        self.build_for_one_process()
    }
}

fn limited(duration: Duration) -> Duration {
    duration.clamp(Duration::from_millis(1), Duration::from_secs(86_400))
}

// The constructor of ruts 0.9.
impl<C: SharedCache, O: Store> LayeredStore<C, O> {
    /// Creates a store with the default settings. All processes that use the origin, `cold`, have
    /// to use the same cache, `hot`.
    pub fn new(hot: C, cold: O) -> Self {
        Self::builder(hot, cold).build()
    }
}

impl<C: Cache, O: Store> LayeredStore<C, O> {
    /// Creates the builder of a store that reads `origin` through `cache`.
    pub fn builder(cache: C, origin: O) -> LayeredStoreBuilder<C, O> {
        LayeredStoreBuilder { cache, origin, settings: Settings::default() }
    }

    /// Checks that the cache is usable, for use at start-up. Logs a warning for each setting of its
    /// server that does not suit a cache. Does not check the origin.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Unsupported`] if the server cannot be a cache. Otherwise, the error of a
    /// failed command.
    ///
    /// # Round trips
    ///
    /// As many as the cache's own [`check`](Cache::check) takes.
    pub async fn check(&self) -> Result<(), StoreError> {
        let Tiers { breaker, settings, .. } = &*self.tiers;
        Box::pin(breaker.call(settings.origin_timeout, breaker.cache().check())).await
    }

    async fn insert(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        let operation = self.tiers.origin.create(create);
        self.tiers.call_origin(StoreErrorKind::OutcomeUnknown, operation).await
    }

    /// Waits for the turn of a sign-in, for at most the timeout of the origin.
    async fn sign_in_turn(
        &self,
        limit: &SignInLimit<'_>,
    ) -> Result<Option<Turn<'_, PrincipalKey>>, StoreError> {
        let Tiers { sign_ins, settings, .. } = &*self.tiers;
        limit.turn(sign_ins, Instant::now() + settings.origin_timeout).await
    }

    async fn change(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let tiers = &*self.tiers;
        for change in update.changes {
            if let Change::Set(write) = change {
                tiers.policies.learn(write.name, write.cache_policy);
            }
        }
        // A store may begin its work when its method is called, before the future is polled. So the
        // call is inside another future, which is polled only after the write intent is registered.
        let operation = async move { tiers.origin.update(credentials, update).await };
        let operation = tiers.call_origin(StoreErrorKind::OutcomeUnknown, operation);
        let set = WriteSet::update(&update, tiers.settings.cache_ttl);
        let effect = |updated: &Updated| match updated {
            Updated::Applied { .. } => Effect::Planned,
            _ => Effect::Nothing,
        };
        Write::new(&self.tiers, credentials.id, set).run(operation, effect).await
    }

    /// Reads the origin with a touch that is always due. This runs as a write, because it moves the
    /// idle deadline.
    async fn load_and_touch(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Touch,
    ) -> StoreResult<Loaded> {
        let tiers = &*self.tiers;
        let operation = async move {
            let loaded = tiers.origin.load(credentials, fields, Some(touch)).await?;
            Ok(loaded.map(Written::new))
        };
        let operation = tiers.call_origin(StoreErrorKind::OutcomeUnknown, operation);
        let write = Write::new(&self.tiers, credentials.id, WriteSet::touch());
        let written = write.without_cache().run(operation, |_| Effect::Planned).await?;
        // `stale_for` is dropped: a cache that missed this write only has an old idle deadline.
        Ok(written.map(|written| written.answer))
    }
}

#[deny(clippy::missing_trait_methods, reason = "a default would hide the method of the origin")]
impl<C: Cache, O: Store> Store for LayeredStore<C, O> {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A hit takes one round trip to the cache. A miss takes one to each tier, and fills the cache
    /// in the background. The [module](super) names the exceptions.
    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        match touch.filter(|touch| touch.after.is_zero()) {
            Some(touch) => self.load_and_touch(credentials, fields, touch).await,
            None => Read { tiers: &self.tiers, credentials, fields, touch }.run().await,
        }
    }

    /// Takes one round trip to the origin: no cache can know a new session. A sign-in at its limit
    /// takes more.
    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        for write in create.fields {
            self.tiers.policies.learn(write.name, write.cache_policy);
        }
        let Some(who) = create.sign_in else { return self.insert(create).await };
        let mut limit = SignInLimit::new(who);
        let _turn = self.sign_in_turn(&limit).await?;
        loop {
            let answer = self.insert(create.sign_in(limit.who)).await;
            let Some(sessions) = limit.retry(&answer)? else {
                return answer.map(|created| limit.answer(created));
            };
            let ended = revoking::end_oldest(&self.tiers, who.principal, create.id, sessions);
            limit.note_ended(&ended.await?);
        }
    }

    /// Takes one round trip to the cache, one to the origin, and one more to the cache. A sign-in
    /// at its limit takes more.
    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let Some(AuthChange::In { who, idle, absolute }) = update.auth_change else {
            return self.change(credentials, update).await;
        };
        let mut limit = SignInLimit::new(who);
        let _turn = self.sign_in_turn(&limit).await?;
        loop {
            let sign = AuthChange::In { who: limit.who, idle, absolute };
            let answer = self.change(credentials, update.auth_change(sign)).await;
            let Some(sessions) = limit.retry(&answer)? else {
                return Ok(answer?.map(|updated| limit.answer(updated)));
            };
            let ended = revoking::end_oldest(&self.tiers, who.principal, credentials.id, sessions);
            limit.note_ended(&ended.await?);
        }
    }

    /// Takes one round trip to the cache, one to the origin, and one more to the cache.
    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let tiers = &*self.tiers;
        let operation = async move { tiers.origin.take(credentials, take).await };
        let operation = tiers.call_origin(StoreErrorKind::OutcomeUnknown, operation);
        let set = WriteSet::take(&take, tiers.settings.cache_ttl);
        let effect = |value: &Option<Bytes>| match value {
            Some(value) if take.keeps(value) => Effect::Other,
            _ => Effect::Planned,
        };
        Write::new(&self.tiers, credentials.id, set).run(operation, effect).await
    }

    /// Takes one round trip to the cache, one to the origin, and one more to the cache. The
    /// deletion succeeds even if the cache is down.
    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let tiers = &*self.tiers;
        let operation = async move { tiers.origin.delete(credentials).await };
        let operation = tiers.call_origin(StoreErrorKind::OutcomeUnknown, operation);
        let write = Write::new(&self.tiers, credentials.id, WriteSet::delete());
        write.without_cache().run(operation, |()| Effect::Planned).await
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        let operation = self.tiers.origin.inspect(id);
        self.tiers.call_origin(StoreErrorKind::Unavailable, operation).await
    }

    async fn expiry(&self, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
        let operation = self.tiers.origin.expiry(id);
        self.tiers.call_origin(StoreErrorKind::Unavailable, operation).await
    }

    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        self.tiers.origin.wait_for_change(id)
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let operation = self.tiers.origin.list_by_principal(principal, page, fields);
        self.tiers.call_origin(StoreErrorKind::Unavailable, operation).await
    }

    /// Takes one operation of the origin, and two round trips to the cache for each session. A
    /// revocation of all sessions of the principal first lists them, with one operation of the
    /// origin for each page. Succeeds even if the cache is down.
    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        revoking::revoke(&self.tiers, principal, target).await
    }

    /// Takes one operation of the origin, and one [`clear`](Cache::clear) of the cache. Succeeds
    /// even if the cache is down.
    async fn revoke_everyone(&self) -> Result<Written<()>, StoreError> {
        revoking::revoke_everyone(&self.tiers).await
    }

    fn hint_cache_policy(&self, name: &str, policy: CachePolicy) {
        self.tiers.policies.learn(name, policy);
        self.tiers.origin.hint_cache_policy(name, policy);
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.tiers.origin.delete_expired(limit).await
    }
}

impl<C, O> Clone for LayeredStore<C, O> {
    fn clone(&self) -> Self {
        Self { tiers: Arc::clone(&self.tiers) }
    }
}

impl<C, O> fmt::Debug for LayeredStore<C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.tiers.settings;
        f.debug_struct("LayeredStore").field("settings", settings).finish_non_exhaustive()
    }
}

impl<C, O> fmt::Debug for LayeredStoreBuilder<C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        f.debug_struct("LayeredStoreBuilder").field("settings", settings).finish_non_exhaustive()
    }
}
