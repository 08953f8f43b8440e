//! [`MySqlStore`], which keeps sessions in MariaDB or MySQL, and its builder.
//!
//! Used by applications. Each operation is a read, a write in one statement, or a transaction of
//! two round trips.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use sqlx::{
    ConnectOptions, Executor as _,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use tokio::{sync::watch, time::Instant};

use super::{
    batch_read::{Found, ReadBatch, ReadRequest},
    batch_write::{WriteBatch, WriteRequest},
    error::{NAME, StatementError, unsupported},
    executor::Executor,
    migrate,
    operations::{
        CreateSession, Delete, LoadAndTouch, Revoke, Step, Take, UpdateSession, signs_in,
    },
    reading::Read,
    tables::Tables,
    transaction::{Operation, Transaction},
    writing::{create, revoke_everyone, save_if_unchanged},
};
use crate::{
    auth::PrincipalKey,
    store::{
        Create, Credentials, Expiry, ListedSession, Loaded, NewSignIn, PageRequest, Projection,
        Refused, RevokeTarget, SessionMeta, SessionPage, SessionRecord, Store, StoreError,
        StoreResult, TakeField, Touch, Update, Updated, Written,
        batch::{BatchTuning, Batcher},
        cleanup_interval,
        owned_request::{OwnedCreate, OwnedCredentials, OwnedTake, OwnedTarget, OwnedUpdate},
        sql::{Cleanup, InvalidName, clean_up},
    },
    token::SessionId,
    turns::Turn,
};

/// Maximum number of sessions in a page.
const MAX_PAGE: usize = 10_000;

/// Maximum number of sessions that one transaction examines, so that its locks do not delay
/// callers.
const BATCH: usize = 500;

/// The settings of each connection. A wait for a lock ends after a second, and the operation is
/// repeated on any connection. If a process is suspended between two round trips, MariaDB ends its
/// transaction after five seconds. The other settings have their usual values, even if the server
/// has different defaults.
const SETTINGS: &str = "set session transaction isolation level read committed, read write; \
     set session autocommit = 1, time_zone = '+00:00', innodb_lock_wait_timeout = 1, \
     lock_wait_timeout = 1, completion_type = 'NO_CHAIN', sql_safe_updates = 0, wait_timeout = 28800, \
     sql_select_limit = 18446744073709551615, \
     sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION' \
     /*M! , idle_transaction_timeout = 5 */";

/// Sessions in MariaDB or MySQL.
///
/// The [module](super) describes tables, round trips and failures. Clones share the connections.
/// The cleanup ends when the last clone is dropped.
///
/// # Cancel safety
///
/// If the future of a transaction is dropped before the last statement was sent, the transaction
/// changes nothing. If the future is dropped later, the transaction is carried out as a whole. An
/// operation that ends many sessions takes several transactions.
#[derive(Clone)]
pub struct MySqlStore {
    executor: Arc<Executor>,
    reads: Arc<Batcher<ReadBatch>>,
    writes: Arc<Batcher<WriteBatch>>,
    /// Dropping the last clone of this sender ends the cleanup.
    _cleanup: Arc<watch::Sender<()>>,
}

impl MySqlStore {
    /// Creates the builder of a store. The store has connections of its own.
    pub fn builder(options: MySqlConnectOptions) -> MySqlStoreBuilder {
        MySqlStoreBuilder {
            options,
            max_connections: 10,
            create_tables: false,
            table: "sessions".to_owned(),
            cleanup_interval: Some(Duration::from_secs(300)),
            timeout: Duration::from_secs(2),
            test_idle_after: Duration::from_secs(10),
        }
    }

    /// Checks whether the server, the tables and the role allow the store to keep its contract, as
    /// [`build`](MySqlStoreBuilder::build) did.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](crate::store::StoreErrorKind::Unsupported): the server is read-only, or
    ///   its version, a setting or a proxy is unsuitable. The cause may also be the version or the
    ///   engine of the tables, or the privileges of the role. The source of the error gives the
    ///   reason.
    /// - [`Unavailable`](crate::store::StoreErrorKind::Unavailable): the server could not be
    ///   reached.
    pub async fn check(&self) -> Result<(), StoreError> {
        Box::pin(migrate::prepare(&self.executor, false)).await
    }

    /// Reads a session, live or not, without a lock.
    async fn read(&self, id: &SessionId, fields: Projection<'_>) -> Result<Found, StoreError> {
        self.reads.run(ReadRequest::new(id, fields)).await
    }

    /// Waits for the turn of an operation that locks a session or a principal, for at most half of
    /// the timeout.
    async fn turn(&self, key: &[u8], begun: Instant) -> Result<Turn<'_, Box<[u8]>>, StoreError> {
        self.executor.turn(key, begun + self.executor.timeout / 2).await
    }

    /// Waits for the turn of a sign-in with a limit on its principal. An operation takes this turn
    /// before the turn on its session.
    async fn principal_turn(
        &self,
        who: Option<&NewSignIn<'_>>,
        begun: Instant,
    ) -> Result<Option<Turn<'_, Box<[u8]>>>, StoreError> {
        let Some(who) = who.filter(|who| who.limit.is_some()) else { return Ok(None) };
        self.turn(who.principal.as_bytes(), begun).await.map(Some)
    }

    /// Carries out an operation in two round trips.
    async fn transact<O: Operation>(
        &self,
        operation: O,
        begun: Instant,
    ) -> Result<O::Answer, StoreError> {
        let transaction = Transaction { executor: Arc::clone(&self.executor), operation };
        let answer = self.executor.run(transaction, begun + self.executor.timeout).await;
        answer.map_err(StatementError::into)
    }
}

impl Store for MySqlStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        let begun = Instant::now();
        let Found { now, session } = self.read(credentials.id, fields).await?;
        let Some((row, mut record)) = session else { return Ok(Err(Refused::NotFound)) };
        let answer = record.load(credentials.proof, fields, touch, now);
        if !record.is_modified() {
            return Ok(answer);
        }
        let _turn = self.turn(credentials.id.as_bytes(), begun).await?;
        let save = save_if_unchanged(&self.executor.tables, &row, &record);
        if self.executor.run(save, begun + self.executor.timeout).await? > 0 {
            return Ok(answer);
        }
        let (credentials, fields) = (credentials.into(), fields.into());
        self.transact(LoadAndTouch { credentials, fields, touch }, begun).await
    }

    async fn create(&self, request: Create<'_>) -> Result<Written<()>, StoreError> {
        let begun = Instant::now();
        let _principal = self.principal_turn(request.sign_in.as_ref(), begun).await?;
        let mut begun = begun;
        if request.sign_in.is_none_or(|who| who.limit.is_none()) {
            let insert = create(&self.executor.tables, &request);
            match self.executor.run(insert, begun + self.executor.timeout).await {
                Ok(_) => return Ok(Written::new(())),
                // The session with that id may have ended. If so, the transaction below replaces a
                // session that is no longer retained.
                Err(failed) if failed.is_duplicate => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        let request = Arc::new(OwnedCreate::from(&request));
        loop {
            let create = CreateSession(Arc::clone(&request));
            if let Step::Done(()) = self.transact(create, begun).await? {
                return Ok(Written::new(()));
            }
            // Each step has the full timeout.
            begun = Instant::now();
        }
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let begun = Instant::now();
        let _principal = self.principal_turn(signs_in(&update).as_ref(), begun).await?;
        let _turn = self.turn(credentials.id.as_bytes(), begun).await?;
        if let Some(write) = WriteRequest::new(credentials, &update)
            && let Some(answer) = self.writes.run_since(write, begun).await?
        {
            return Ok(answer);
        }
        let update = Arc::new(OwnedUpdate::from(&update));
        let mut begun = begun;
        loop {
            let (credentials, update) = (credentials.into(), Arc::clone(&update));
            if let Step::Done(updated) =
                self.transact(UpdateSession { credentials, update }, begun).await?
            {
                return Ok(updated.map(Written::new));
            }
            // Each step has the full timeout.
            begun = Instant::now();
        }
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let begun = Instant::now();
        let _turn = self.turn(credentials.id.as_bytes(), begun).await?;
        let (credentials, take) = (credentials.into(), OwnedTake::from(take));
        Ok(self.transact(Take { credentials, take }, begun).await?.map(Written::new))
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let begun = Instant::now();
        let _turn = self.turn(credentials.id.as_bytes(), begun).await?;
        let delete = Delete(OwnedCredentials::from(credentials));
        Ok(self.transact(delete, begun).await?.map(Written::new))
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        let Found { now, session } = self.read(id, Projection::Named(&[])).await?;
        Ok(session.and_then(|(_, record)| record.inspect(now)))
    }

    async fn expiry(&self, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
        let Found { now, session } = self.read(id, Projection::Named(&[])).await?;
        Ok(session.and_then(|(_, record)| record.expiry(now)))
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let limit = page.limit.clamp(1, MAX_PAGE);
        let tables = &self.executor.tables;
        // Reads one session more than the page holds, to find out whether there is a next page.
        let read = Read::sessions_of(tables, principal, page.after, limit + 1, fields);
        let mut snapshot = self.executor.run(read, self.executor.deadline()).await?;
        let has_next = snapshot.sessions.len() > limit;
        snapshot.sessions.truncate(limit);
        let next = snapshot.sessions.last().filter(|_| has_next).map(|(last, _)| last.id);
        let mut sessions = Vec::with_capacity(snapshot.sessions.len());
        for (row, stored) in snapshot.sessions {
            let record = SessionRecord::from_parts(row.head, stored);
            if let Some(loaded) = record.load_for(principal, fields, snapshot.now) {
                sessions.push(ListedSession::new(row.id, loaded));
            }
        }
        Ok(SessionPage::new(sessions, next))
    }

    /// Takes one transaction for every 500 sessions.
    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        let (mut ended, mut after) = (Vec::new(), None);
        let target = OwnedTarget::from(target);
        loop {
            let begun = Instant::now();
            let _turn = self.turn(principal.as_bytes(), begun).await?;
            let revoke = Revoke { principal: *principal, target, after, limit: BATCH };
            let batch = self.transact(revoke, begun).await?;
            ended.extend(batch.ended);
            match batch.next {
                // The next step reads the same sessions again. It no longer finds sessions that the
                // principal has left.
                _ if batch.is_incomplete => {}
                Some(next) => after = Some(next),
                None => return Ok(Written::new(ended)),
            }
        }
    }

    async fn revoke_everyone(&self) -> Result<Written<()>, StoreError> {
        let revoke = revoke_everyone(&self.executor.tables);
        self.executor.run(revoke, self.executor.deadline()).await?;
        Ok(Written::new(()))
    }

    /// Takes one transaction for every 500 sessions.
    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let mut deleted = 0;
        loop {
            let batch = BATCH.min(limit - deleted);
            let number = self.executor.delete_batch(batch, self.executor.timeout).await?;
            deleted += number;
            if number < batch || deleted == limit {
                return Ok(deleted);
            }
        }
    }
}

impl fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStore")
            .field("timeout", &self.executor.timeout)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`MySqlStore`].
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use ruts::{SessionLayer, store::mysql::MySqlStore};
///
/// let options = "mysql://app@localhost/shop".parse()?;
/// let store = MySqlStore::builder(options).create_tables(true).build().await?;
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub struct MySqlStoreBuilder {
    options: MySqlConnectOptions,
    max_connections: u32,
    create_tables: bool,
    table: String,
    cleanup_interval: Option<Duration>,
    timeout: Duration,
    test_idle_after: Duration,
}

impl MySqlStoreBuilder {
    /// Sets the maximum number of connections, at least one. Defaults to ten.
    ///
    /// The store does not use the pool of the application, because sqlx logs the statements of a
    /// pool by default. The statements of the store contain values.
    #[must_use]
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Sets whether [`build`](Self::build) creates and migrates the tables. Defaults to `false`,
    /// which needs tables from [`sql`](Self::sql).
    #[must_use]
    pub const fn create_tables(mut self, create_tables: bool) -> Self {
        self.create_tables = create_tables;
        self
    }

    /// Sets the name of the table of sessions: at most 50 letters, digits, underscores and hyphens.
    /// The names of the other tables begin with this name. Defaults to `sessions`.
    ///
    /// Stores with different tables can share a database.
    #[must_use]
    pub fn table_name(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Sets the interval at which this instance deletes expired sessions, from one second to one
    /// year. Defaults to five minutes. With `None`, expired sessions are deleted only by
    /// [`Store::delete_expired`].
    ///
    /// Each interval varies randomly by up to a fifth, so that instances do not delete at the same
    /// time, even if they start together.
    #[must_use]
    pub fn cleanup_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.cleanup_interval = interval.into().map(cleanup_interval::limited);
        self
    }

    /// Sets the maximum duration of an operation, from a millisecond to a day. It includes the wait
    /// for a connection. Defaults to two seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self
    }

    /// Sets the idle time after which a connection is tested before its next use. Defaults to ten
    /// seconds. The test takes a round trip.
    ///
    /// Set a shorter time if a firewall or proxy forgets idle connections sooner.
    #[must_use]
    pub const fn test_idle_after(mut self, test_idle_after: Duration) -> Self {
        self.test_idle_after = test_idle_after;
        self
    }

    /// Returns the SQL that creates or migrates the tables, for a role that may create them. The
    /// SQL changes nothing if the tables are up to date.
    ///
    /// The role of the application then needs `select`, `insert`, `update` and `delete` on the
    /// tables.
    ///
    /// # Errors
    ///
    /// Fails if the name of the table is invalid.
    pub fn sql(&self) -> Result<String, InvalidName> {
        Tables::new(&self.table).map(|tables| migrate::sql(&tables))
    }

    /// Connects to the server and checks it. Also creates or migrates the tables if
    /// [`create_tables`](Self::create_tables) is set. Any number of instances may call this
    /// concurrently.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](crate::store::StoreErrorKind::Unsupported): the name of the table is
    ///   invalid, or the server or its tables are unsuitable. The source of the error gives the
    ///   reason.
    /// - [`Unavailable`](crate::store::StoreErrorKind::Unavailable): the server could not be
    ///   reached.
    pub async fn build(self) -> Result<MySqlStore, StoreError> {
        let tables = Tables::new(&self.table).map_err(unsupported)?;
        let pool = MySqlPoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.timeout)
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(sqlx::raw_sql(SETTINGS)).await.map(drop) })
            })
            .connect_lazy_with(self.options.disable_statement_logging());
        let executor = Arc::new(Executor::new(pool, tables, self.timeout, self.test_idle_after));
        Box::pin(migrate::prepare(&executor, self.create_tables)).await?;
        let (cleanup, store_dropped) = watch::channel(());
        if let Some(interval) = self.cleanup_interval {
            tokio::spawn(clean_up(Arc::downgrade(&executor), store_dropped, interval));
        }
        // Reads and plain writes may each use half of the connections.
        let tuning = BatchTuning::on_connections((self.max_connections as usize / 2).max(1));
        let reads = Batcher::new(ReadBatch(Arc::clone(&executor)), tuning, self.timeout);
        let writes = Batcher::new(WriteBatch(Arc::clone(&executor)), tuning, self.timeout);
        let (reads, writes) = (Arc::new(reads), Arc::new(writes));
        Ok(MySqlStore { executor, reads, writes, _cleanup: Arc::new(cleanup) })
    }
}

impl fmt::Debug for MySqlStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStoreBuilder")
            .field("max_connections", &self.max_connections)
            .field("create_tables", &self.create_tables)
            .field("table", &self.table)
            .field("cleanup_interval", &self.cleanup_interval)
            .field("timeout", &self.timeout)
            .field("test_idle_after", &self.test_idle_after)
            .finish_non_exhaustive()
    }
}
