//! [`RedisStore`], which keeps sessions in Redis or Valkey, and its [`RedisStoreBuilder`].
//!
//! It translates the contract into calls of the executor, the batches, the principal list and the
//! cache entries. Called by the session, or by a layered store.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

#[cfg(feature = "layered-store")]
use super::cache::CacheEntries;
use super::{
    batch::{
        read::{ReadBatch, ReadRequest},
        write::{WriteBatch, WriteRequest},
    },
    driver::{
        client::{Connect, RedisClient},
        connections::Connections,
    },
    error::{NAME, corrupt},
    executor::{Executor, Reader},
    principal::{list::PrincipalList, sign_in::SignIn},
    scripts::{ADVICE, CREATE, DELETE, EPOCH_PROBE, LIST_PROBE, LOAD, NEXT_EPOCH, PROBE, TAKE},
    wire::{
        args::{Arguments, change_kinds, presented, touch_millis},
        keys::{epoch_keys, principal_key, session_key},
        reply::{ScriptOutcome, single_value, updated},
    },
};
#[cfg(feature = "layered-store")]
use crate::store::{
    Cache, CacheLookup, CachedField, CachedRecord, InvalidationScope, Lease, SharedCache,
    WriteIntent,
};
use crate::{
    auth::PrincipalKey,
    store::{
        AuthChange, Change, Create, Credentials, DELETED_RETENTION, Loaded, PageRequest,
        Projection, RevokeTarget, SessionMeta, SessionPage, Store, StoreError, StoreErrorKind,
        StoreResult, TakeField, Touch, Update, Updated, Written,
        batch::{BatchTuning, Batcher},
    },
    token::SessionId,
    ttl::Ttl,
};

/// The connections of a store.
type ClientConnections<C> = Connections<<C as Connect>::Connector>;

/// Sessions in Redis or Valkey: one hash for each session.
///
/// The [module](super) describes servers, clients, the layout of the data, and failures. The store
/// opens its own connections with the settings of the client. Clones of the store share the
/// connections.
///
/// ```no_run
/// # #[cfg(feature = "redis-store")]
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{sync::Arc, time::Duration};
/// use fred::{clients::Client, types::config::Config};
/// use ruts::{SessionLayer, store::redis::RedisStore};
///
/// let client = Client::new(Config::from_url("redis://localhost:6379")?, None, None, None);
/// let store = RedisStore::builder(Arc::new(client))
///     .prefix("shop")
///     .timeout(Duration::from_secs(1))
///     .build();
/// store.check().await?;
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub struct RedisStore<C: RedisClient> {
    executor: Arc<Executor<ClientConnections<C>>>,
    reads: Arc<Batcher<ReadBatch<ClientConnections<C>>>>,
    writes: Arc<Batcher<WriteBatch<ClientConnections<C>>>>,
    #[cfg(feature = "layered-store")]
    cache: CacheEntries<ClientConnections<C>>,
}

/// Options of a [`RedisStore`].
#[must_use]
pub struct RedisStoreBuilder<C> {
    client: Arc<C>,
    prefix: String,
    timeout: Duration,
    max_in_flight: usize,
}

impl<C: RedisClient> RedisStoreBuilder<C> {
    /// Sets the text before the colon of each key, so that several applications can share a server.
    /// Defaults to `ruts`.
    ///
    /// # Panics
    ///
    /// Panics if the prefix contains a brace, which would choose the shard of a cluster.
    #[track_caller]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        assert!(!self.prefix.contains(['{', '}']), "the prefix must not contain braces");
        self
    }

    /// Sets the maximum time of an operation on one session, from one millisecond to one day.
    /// Defaults to two seconds. The [module](super) names operations that may take longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self
    }

    /// Sets the maximum number of commands in flight, separately for reads, for updates, and for
    /// lookups in a cache. Defaults to 4.
    ///
    /// Operations beyond this limit wait for an answer, and then up to 64 of them share a command.
    /// After a batch of 8 or more operations, the server counts as busy until a smaller batch is
    /// sent. On a busy server, operations also wait when fewer commands are in flight. The next
    /// batch is sent when a command ends and at most one other command is in flight, or when 32
    /// operations wait.
    ///
    /// If the server is far away, a higher limit lets single operations start sooner. A lower limit
    /// reduces the load of a busy server. On a cluster the limit has no effect: every operation is
    /// sent immediately.
    pub fn max_in_flight(mut self, commands: usize) -> Self {
        self.max_in_flight = commands.max(1);
        self
    }

    /// Builds the store. Sends nothing.
    #[must_use]
    pub fn build(self) -> RedisStore<C> {
        let Self { client, prefix, timeout, max_in_flight } = self;
        let executor =
            Arc::new(Executor::new(Connections::new(client.connectors()), prefix, timeout));
        let tuning = BatchTuning::new(max_in_flight);
        RedisStore {
            reads: Arc::new(Batcher::new(ReadBatch::new(&executor), tuning, timeout)),
            writes: Arc::new(Batcher::new(WriteBatch::new(&executor), tuning, timeout)),
            #[cfg(feature = "layered-store")]
            cache: CacheEntries::new(&executor, tuning),
            executor,
        }
    }
}

impl<C: RedisClient> RedisStore<C> {
    /// Returns a builder for a store that connects with the settings of `client`. The client itself
    /// need not be connected.
    pub fn builder(client: Arc<C>) -> RedisStoreBuilder<C> {
        let timeout = Duration::from_secs(2);
        RedisStoreBuilder { client, prefix: "ruts".to_owned(), timeout, max_in_flight: 4 }
    }

    /// Checks that the server answers and can keep sessions, for use at start-up. On a cluster, it
    /// asks the nodes of three keys. Logs a warning if the server may evict keys.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Unsupported`] if the server cannot expire fields, or if the user may not
    /// run a necessary command on the keys of the store. Otherwise, the same errors as any
    /// operation.
    ///
    /// # Round trips
    ///
    /// Five, or up to nine if the server does not know the scripts yet.
    pub async fn check(&self) -> Result<(), StoreError> {
        let Executor { prefix, .. } = &*self.executor;
        let id = SessionId::from_bytes([0; 16]);
        let list = principal_key(prefix, &PrincipalKey::from_bytes([0; 32]));
        let probes = [(PROBE, session_key(prefix, &id)), (LIST_PROBE, list)];
        let epoch = epoch_keys(prefix).next().map(|key| (EPOCH_PROBE, key));
        // Boxed, here and in the other set-up calls of the stores: the futures of drivers are deep,
        // and the compiler limits the depth of the type of an application's `main`.
        for (probe, key) in probes.into_iter().chain(epoch) {
            Box::pin(self.executor.probe(probe, key)).await?;
        }
        let arguments = Arguments::for_session(&[0; 32], [0, 0], "", 0);
        let load = self.executor.call_one(&LOAD, &id, arguments, self.executor.deadline());
        Box::pin(load).await?;
        Box::pin(self.executor.log_advice(&ADVICE, session_key(prefix, &id))).await
    }

    // The constructor of ruts 0.9.

    /// Creates a store that connects with the settings of `client`, and has the defaults of the
    /// [builder](Self::builder). Sends nothing.
    pub fn new(client: Arc<C>) -> Self {
        Self::builder(client).build()
    }
}

impl<C: RedisClient> Store for RedisStore<C> {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        if let Projection::Named(names) = fields {
            return self.reads.run(ReadRequest::new(credentials, names, touch)).await;
        }
        let reader = Reader::Credentials(credentials);
        Box::pin(self.executor.load(reader, credentials.id, fields, touch)).await
    }

    /// # Round trips
    ///
    /// One. For a sign-in on a cluster, see the [module documentation](super).
    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        let Create { id, fields, absolute, .. } = create;
        let changes = fields.iter().copied().map(Change::Set);
        let times = [create.idle, absolute].map(|ttl| ttl.map_or(0, Ttl::as_millis));
        let capacity = 3 + 2 * fields.len();
        let arguments = Arguments::for_session(create.secret.as_bytes(), times, "", capacity)
            .sign_in(create.sign_in.as_ref())
            .bytes(change_kinds(changes.clone()))
            .changes(changes);
        let outcome = match create.sign_in {
            Some(who) => {
                let arguments = arguments.into_list();
                let sign_in = SignIn { id, who, absolute, creates: true, arguments };
                // Boxed, because sign-ins are rare: otherwise the future of every creation would be
                // as large as the future of a sign-in.
                Box::pin(sign_in.run(&self.executor)).await?
            }
            None => {
                let deadline = self.executor.deadline();
                self.executor.call_one(&CREATE, id, arguments, deadline).await?
            }
        };
        match outcome {
            ScriptOutcome::Done(_) => Ok(Written::new(())),
            ScriptOutcome::Exists => Err(StoreError::new(NAME, StoreErrorKind::Exists)),
            ScriptOutcome::Refused(_) | ScriptOutcome::NotDue => Err(corrupt()),
        }
    }

    /// # Round trips
    ///
    /// One. For a sign-in on a cluster, see the [module documentation](super).
    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let request = WriteRequest::new(credentials, &update);
        let outcome = if let Some(AuthChange::In { who, absolute, .. }) = update.auth_change {
            let (id, arguments) = (credentials.id, request.arguments().into_list());
            let sign_in = SignIn { id, who, absolute, creates: false, arguments };
            Box::pin(sign_in.run(&self.executor)).await?
        } else {
            self.writes.run(request).await?
        };
        if matches!(outcome, ScriptOutcome::NotDue) {
            return Ok(Ok(Written::new(Updated::NotDue)));
        }
        outcome.answer(|reply| updated(reply).map(Written::new))
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let (id, presented) = (credentials.id, presented(credentials));
        let arguments = Arguments::for_session(&presented, touch_millis(take.touch), "", 4)
            .secret(take.rotate)
            .text(take.name)
            .constant(if take.sign_out { "out" } else { "" })
            .bytes(take.max_version.map_or_else(Bytes::new, |newest| newest.to_string().into()));
        let outcome = self.executor.call_one(&TAKE, id, arguments, self.executor.deadline());
        outcome.await?.answer(|reply| single_value(reply).map(Written::new))
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let (id, presented) = (credentials.id, presented(credentials));
        let retention = Ttl::from_duration(DELETED_RETENTION).as_millis();
        let arguments = Arguments::for_session(&presented, [retention, 0], "", 0);
        let outcome = self.executor.call_one(&DELETE, id, arguments, self.executor.deadline());
        outcome.await?.answer(|_| Some(Written::new(())))
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        let loaded = self.executor.load(Reader::Anyone, id, Projection::Named(&[]), None);
        Ok(loaded.await?.ok().map(|loaded| loaded.meta))
    }

    /// # Round trips
    ///
    /// For every 256 listed sessions, live or ended:
    ///
    /// - one for the list,
    /// - one more if there are at least 16 sessions,
    /// - one for each session, up to 256 at the same time,
    /// - one to remove the entries of ended sessions, if there are any.
    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        PrincipalList::new(&self.executor, principal).page(page, fields).await
    }

    /// # Round trips
    ///
    /// Two for every 256 sessions, and one for every 64. On a cluster, two for every 256 sessions,
    /// and one for each session, up to 64 at the same time.
    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        PrincipalList::new(&self.executor, principal).revoke(target).await.map(Written::new)
    }

    /// # Round trips
    ///
    /// 4096, up to 256 of them at the same time.
    async fn revoke_everyone(&self) -> Result<Written<()>, StoreError> {
        let keys = epoch_keys(&self.executor.prefix);
        self.executor.run_at_each(&NEXT_EPOCH, keys).await.map(Written::new)
    }

    /// Returns zero: the server expires keys and fields.
    async fn delete_expired(&self, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }
}

#[cfg(feature = "layered-store")]
impl<C: RedisClient> Cache for RedisStore<C> {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn lookup(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<CacheLookup, StoreError> {
        self.cache.lookup(credentials, fields, touch).await
    }

    async fn begin_write(
        &self,
        id: &SessionId,
        scope: InvalidationScope<'_>,
        life: Duration,
    ) -> Result<WriteIntent, StoreError> {
        self.cache.begin_write(id, scope, life).await
    }

    async fn finish_write(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        self.cache.finish_write(id, intent, items).await
    }

    async fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        self.cache.fill(credentials, lease, record, items).await
    }

    async fn evict(&self, id: &SessionId) -> Result<(), StoreError> {
        self.cache.evict(id).await
    }

    /// # Round trips
    ///
    /// 4096, up to 256 of them at the same time.
    async fn clear(&self) -> Result<(), StoreError> {
        self.cache.clear().await
    }

    /// On a cluster, it asks one node.
    ///
    /// # Round trips
    ///
    /// Two, or four if the server does not know the script yet.
    async fn check(&self) -> Result<(), StoreError> {
        self.cache.check().await
    }
}

#[cfg(feature = "layered-store")]
impl<C: RedisClient> SharedCache for RedisStore<C> {}

impl<C: RedisClient> Clone for RedisStore<C> {
    fn clone(&self) -> Self {
        Self {
            executor: Arc::clone(&self.executor),
            reads: Arc::clone(&self.reads),
            writes: Arc::clone(&self.writes),
            #[cfg(feature = "layered-store")]
            cache: self.cache.clone(),
        }
    }
}

impl<C: RedisClient> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.executor.prefix)
            .field("timeout", &self.executor.timeout)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for RedisStoreBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}
