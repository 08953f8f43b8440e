//! [`PostgresStore`], which keeps sessions in PostgreSQL, and its builder.
//!
//! Used by applications. Each operation binds a statement, runs it and decodes its rows. The
//! batchers decide what is sent together.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use sqlx::{PgPool, postgres::PgRow};
use tokio::{sync::watch, time::Instant};

use super::{
    batch_read::{ReadBatch, ReadRequest},
    batch_write::{WriteBatch, WriteRequest},
    bind::{FieldColumns, Statement, last_of_each},
    decode::{
        created, deleted, expiry, has_sessions_to_end, inspected, listed, revoked, taken, updated,
    },
    error::{NAME, unsupported},
    executor::Executor,
    identifiers::Identifiers,
    migrate,
    statements::Statements,
};
use crate::{
    auth::PrincipalKey,
    store::{
        AuthChange, Create, Credentials, Expiry, Loaded, NewSignIn, PageRequest, Projection,
        RevokeTarget, SessionMeta, SessionPage, Store, StoreError, StoreResult, TakeField, Touch,
        Update, Updated, Written,
        batch::{BatchTuning, Batcher},
        cleanup_interval,
        sql::{Cleanup, InvalidName, clean_up},
    },
    token::SessionId,
    turns::Turn,
};

/// The greatest id.
const LAST_ID: SessionId = SessionId::from_bytes([0xff; 16]);

/// Maximum number of sessions in a page.
const MAX_PAGE: usize = 10_000;

/// Sessions in PostgreSQL.
///
/// The [module](super) describes tables, round trips and failures. Clones share the pool. The
/// cleanup ends when the last clone is dropped.
#[derive(Clone)]
pub struct PostgresStore {
    executor: Arc<Executor>,
    reads: Arc<Batcher<ReadBatch>>,
    writes: Arc<Batcher<WriteBatch>>,
    identifiers: Arc<Identifiers>,
    /// Dropping the last clone of this sender ends the cleanup.
    _cleanup: Arc<watch::Sender<()>>,
}

impl PostgresStore {
    /// Creates the builder of a store.
    pub fn builder(pool: PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder {
            pool,
            create_tables: false,
            schema: "public".to_owned(),
            table: "sessions".to_owned(),
            cleanup_interval: Some(Duration::from_secs(300)),
            timeout: Duration::from_secs(2),
            test_idle_after: Duration::from_secs(10),
        }
    }

    /// Checks whether the server, the tables and the role allow the store to keep its contract, as
    /// [`build`](PostgresStoreBuilder::build) did.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](crate::store::StoreErrorKind::Unsupported): the server is a standby, or
    ///   its version, its isolation level, the encoding of the database or a pooler is unsuitable.
    ///   The cause may also be the version of the tables, the row of the epoch, the privileges of
    ///   the role, or row-level security. The source of the error gives the reason.
    /// - [`Unavailable`](crate::store::StoreErrorKind::Unavailable): the server could not be
    ///   reached.
    pub async fn check(&self) -> Result<(), StoreError> {
        let (pool, timeout) = (self.executor.pool(), self.executor.timeout);
        Box::pin(migrate::prepare(pool, &self.identifiers, false, timeout)).await
    }

    /// Waits for the turn of an operation that locks a session or a principal. Waits for at most
    /// half of the timeout, like an operation in the queue of a batcher.
    async fn turn(&self, key: &[u8], begun: Instant) -> Result<Turn<'_, Box<[u8]>>, StoreError> {
        self.executor.turn(key, begun + self.executor.timeout / 2).await
    }

    /// Waits for the turn of a sign-in on its principal. An operation takes this turn before the
    /// turn on its session.
    async fn principal_turn(
        &self,
        who: Option<&NewSignIn<'_>>,
        begun: Instant,
    ) -> Result<Option<Turn<'_, Box<[u8]>>>, StoreError> {
        let Some(who) = who else { return Ok(None) };
        self.turn(who.principal.as_bytes(), begun).await.map(Some)
    }

    /// Repeats a statement until no session is above the limit. Each run ends some sessions, and
    /// has the whole timeout.
    async fn within_limit(
        &self,
        statement: impl Fn() -> Statement,
        mut begun: Instant,
    ) -> Result<PgRow, StoreError> {
        loop {
            let row = self.executor.fetch_one(statement(), begun + self.executor.timeout).await?;
            if !has_sessions_to_end(&row)? {
                return Ok(row);
            }
            begun = Instant::now();
        }
    }
}

impl Store for PostgresStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        self.reads.run(ReadRequest::new(credentials, fields, touch)).await
    }

    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        let begun = Instant::now();
        let _principal = self.principal_turn(create.sign_in.as_ref(), begun).await?;
        let fields = FieldColumns::set(last_of_each(create.fields.to_vec()));
        let statement = || {
            Statement::new(&self.executor.statements.create)
                .credentials(Credentials::new(create.id, create.secret))
                .ttl(create.idle)
                .ttl(create.absolute)
                .sign_in(create.sign_in.as_ref())
                .fields(&fields)
        };
        created(&self.within_limit(statement, begun).await?).map(Written::new)
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let begun = Instant::now();
        let who = match &update.auth_change {
            Some(AuthChange::In { who, .. }) => Some(who),
            _ => None,
        };
        let _principal = self.principal_turn(who, begun).await?;
        let _turn = self.turn(credentials.id.as_bytes(), begun).await?;
        if let Some(request) = WriteRequest::new(credentials, &update) {
            return self.writes.run_since(request, begun).await;
        }
        let statement = || {
            let statement = Statement::new(&self.executor.statements.update);
            statement.update(credentials, &update, FieldColumns::new(update.changes))
        };
        updated(&self.within_limit(statement, begun).await?)
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let begun = Instant::now();
        let _turn = self.turn(credentials.id.as_bytes(), begun).await?;
        let statement = Statement::new(&self.executor.statements.take)
            .credentials(credentials)
            .touch(take.touch)
            .secret(take.rotate)
            .bind(take.name)
            .bind(take.sign_out)
            .bind(take.max_version.map(i32::from));
        taken(&self.executor.fetch_one(statement, begun + self.executor.timeout).await?)
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let begun = Instant::now();
        let _turn = self.turn(credentials.id.as_bytes(), begun).await?;
        let statement = Statement::new(&self.executor.statements.delete)
            .credentials(credentials)
            .bind("delete");
        deleted(&self.executor.fetch_one(statement, begun + self.executor.timeout).await?)
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        let statement = Statement::read(&self.executor.statements.inspect).id(Some(id));
        inspected(&self.executor.fetch_one(statement, self.executor.deadline()).await?)
    }

    async fn expiry(&self, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
        let statement = Statement::read(&self.executor.statements.expiry).id(Some(id));
        expiry(&self.executor.fetch_one(statement, self.executor.deadline()).await?)
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let limit = page.limit.clamp(1, MAX_PAGE);
        let names = match fields {
            Projection::All => None,
            Projection::Named(names) => Some(names),
        };
        let statement = Statement::read(&self.executor.statements.list_by_principal)
            .bind(&principal.as_bytes()[..])
            .bind(page.after.map_or(&[][..], |after| &after.as_bytes()[..]))
            // Reads one session more than the page holds, to find out whether there is a next page.
            .bind(limit as i64 + 1)
            .bind(names);
        let rows = self.executor.fetch_all(statement, self.executor.deadline()).await?;
        let sessions = rows.iter().filter_map(|row| listed(row).transpose());
        let mut sessions = sessions.collect::<Result<Vec<_>, _>>()?;
        let has_next = sessions.len() > limit;
        sessions.truncate(limit);
        let next = sessions.last().filter(|_| has_next).map(|last| last.id);
        Ok(SessionPage::new(sessions, next))
    }

    /// # Round trips
    ///
    /// One for every 100 sessions, each with the whole timeout. Sign-ins of the principal may take
    /// place in between.
    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        let (mut from, to, except) = match target {
            RevokeTarget::One(one) => (one.as_bytes().to_vec(), *one, None),
            RevokeTarget::All { except } => (Vec::new(), LAST_ID, except),
        };
        let mut ended = Vec::new();
        loop {
            let begun = Instant::now();
            let _turn = self.turn(principal.as_bytes(), begun).await?;
            let statement = Statement::new(&self.executor.statements.revoke)
                .bind(&principal.as_bytes()[..])
                .bind(&from[..])
                .id(Some(&to))
                .id(except)
                .bind("revoke");
            let deadline = begun + self.executor.timeout;
            let (ids, next) = revoked(&self.executor.fetch_one(statement, deadline).await?)?;
            ended.extend(ids);
            match next {
                Some(next) => from = next,
                None => return Ok(Written::new(ended)),
            }
        }
    }

    async fn revoke_everyone(&self) -> Result<Written<()>, StoreError> {
        let statement = Statement::new(&self.executor.statements.revoke_everyone);
        self.executor.fetch_one(statement, self.executor.deadline()).await?;
        Ok(Written::new(()))
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.executor.delete_batch(limit, self.executor.timeout).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("timeout", &self.executor.timeout)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`PostgresStore`].
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use ruts::{SessionLayer, store::postgres::PostgresStore};
/// use sqlx::{PgPool, postgres::PgRow};
///
/// let pool = PgPool::connect_lazy("postgres://localhost/app")?;
/// let store = PostgresStore::builder(pool).create_tables(true).schema_name("app").build().await?;
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub struct PostgresStoreBuilder {
    pool: PgPool,
    create_tables: bool,
    schema: String,
    table: String,
    cleanup_interval: Option<Duration>,
    timeout: Duration,
    test_idle_after: Duration,
}

impl PostgresStoreBuilder {
    /// Sets whether [`build`](Self::build) creates and migrates the tables. Defaults to `false`,
    /// which needs tables from [`sql`](Self::sql).
    #[must_use]
    pub const fn create_tables(mut self, create_tables: bool) -> Self {
        self.create_tables = create_tables;
        self
    }

    /// Sets the name of the schema of the tables: at most 50 letters, digits, underscores and
    /// hyphens. Case matters, because statements quote the name. Defaults to `public`.
    #[must_use]
    pub fn schema_name(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets the name of the table of sessions: at most 50 letters, digits, underscores and hyphens.
    /// The names of the other tables and of the functions begin with this name. Defaults to
    /// `sessions`.
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
    /// Each interval varies by up to a fifth, so that instances do not delete at the same time,
    /// even if they start together.
    #[must_use]
    pub fn cleanup_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.cleanup_interval = interval.into().map(cleanup_interval::limited);
        self
    }

    /// Sets the maximum duration of an operation, from one millisecond to one day. It includes the
    /// wait for a connection. Defaults to two seconds.
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

    /// Returns the SQL that creates or migrates the tables and functions, for a role that may
    /// create them. The SQL changes nothing if the tables and functions are up to date.
    ///
    /// The role of the application then needs `usage` on the schema, `select`, `insert`, `update`
    /// and `delete` on the tables, and `execute` on the functions.
    ///
    /// # Errors
    ///
    /// Fails if the name of the schema or of the table is invalid.
    pub fn sql(&self) -> Result<String, InvalidName> {
        Identifiers::new(&self.schema, &self.table).map(|identifiers| migrate::sql(&identifiers))
    }

    /// Connects to the server and checks it. Also creates or migrates the tables if
    /// [`create_tables`](Self::create_tables) is set. Any number of instances may call this
    /// concurrently. Each uses up to three connections at once.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](crate::store::StoreErrorKind::Unsupported): a name is invalid, or the
    ///   server or its tables are unsuitable. The source of the error gives the reason.
    /// - [`Unavailable`](crate::store::StoreErrorKind::Unavailable): the server could not be
    ///   reached.
    pub async fn build(self) -> Result<PostgresStore, StoreError> {
        let identifiers = Identifiers::new(&self.schema, &self.table).map_err(unsupported)?;
        let migration =
            migrate::prepare(&self.pool, &identifiers, self.create_tables, self.timeout);
        Box::pin(migration).await?;
        // Reads may use half of the connections, and so may writes.
        let in_flight = (self.pool.options().get_max_connections() as usize / 2).max(1);
        let tuning = BatchTuning::on_connections(in_flight);
        let (timeout, statements) = (self.timeout, Statements::new(&identifiers));
        let executor =
            Arc::new(Executor::new(self.pool, statements, timeout, self.test_idle_after));
        let (cleanup, store_dropped) = watch::channel(());
        if let Some(interval) = self.cleanup_interval {
            tokio::spawn(clean_up(Arc::downgrade(&executor), store_dropped, interval));
        }
        let (reads, writes) = (ReadBatch(executor.clone()), WriteBatch(executor.clone()));
        Ok(PostgresStore {
            executor,
            identifiers: Arc::new(identifiers),
            reads: Arc::new(Batcher::new(reads, tuning, timeout)),
            writes: Arc::new(Batcher::new(writes, tuning, timeout)),
            _cleanup: Arc::new(cleanup),
        })
    }

    // Constructor of ruts 0.9.

    /// Creates the builder of a store, like [`PostgresStore::builder`] with
    /// [`create_tables`](Self::create_tables).
    pub fn new(pool: PgPool, create_table: bool) -> Self {
        PostgresStore::builder(pool).create_tables(create_table)
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("create_tables", &self.create_tables)
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("cleanup_interval", &self.cleanup_interval)
            .field("timeout", &self.timeout)
            .field("test_idle_after", &self.test_idle_after)
            .finish_non_exhaustive()
    }
}
