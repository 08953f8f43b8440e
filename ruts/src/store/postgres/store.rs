use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sqlx::{
    AssertSqlSafe, PgPool, Postgres, SqlSafeStr, SqlStr,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tracing::Instrument;

use super::{
    cleanup,
    failure::{Failed, NAME, corrupt, failed, late, unreachable},
    names::Names,
    reading::{Read, Reading, Reads},
    row::{answered, bytes, column, listed, peeked, updated},
    writing::{Writes, Writing, Written},
};
use crate::{
    principal::PrincipalKey,
    store::{
        AuthChange, Change, Confirmed, Create, Credentials, FieldWrite, ListedSession, Loaded,
        Lookup, NewSignIn, OnLimit, PageRequest, Projection, RevokeTarget, Revoked, SessionMeta,
        SessionPage, Store, StoreError, StoreErrorKind, TakeField, Touch, Update, Updated,
        gather::call,
    },
    token::{SecretHash, SessionId},
    ttl::{CachePolicy, Ttl},
};

/// Sessions in PostgreSQL, made by a [`PostgresStoreBuilder`](super::PostgresStoreBuilder).
///
/// The [module](super) tells how sessions are laid out and what failures look like. Clones share the
/// pool; when the last one is dropped, the cleanup ends.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
    reads: Arc<Reads>,
    writes: Arc<Writes>,
    /// How many reads, and how many writes, are under way before those that come wait.
    in_flight: usize,
    /// Dropped with the last clone.
    _alive: Arc<watch::Sender<()>>,
}

pub(super) struct Inner {
    pool: PgPool,
    pub(super) timeout: Duration,
    /// Until when connections are tested before they are used, because one was found dead.
    distrust: Mutex<Option<Instant>>,
    pub(super) statements: Statements,
}

/// Made once, so that the server recognises them.
pub(super) struct Statements {
    /// Of all fields, and of those named.
    pub(super) load: [SqlStr; 2],
    pub(super) load_and_touch: [SqlStr; 2],
    pub(super) load_together: [SqlStr; 2],
    pub(super) update_together: SqlStr,
    create: SqlStr,
    update: SqlStr,
    take: SqlStr,
    delete: SqlStr,
    find: SqlStr,
    inspect: SqlStr,
    revoke: SqlStr,
    revoke_everyone: SqlStr,
    delete_expired: SqlStr,
}

impl Statements {
    fn new(names: &Names) -> Self {
        let fill =
            |template: &str| AssertSqlSafe(Arc::<str>::from(names.fill(template))).into_sql_str();
        let read = |template: &str, named: &str| {
            let held = include_str!("sql/fields.sql").replace("{named}", named);
            let template = template.replace("{meta}", include_str!("sql/meta.sql").trim_end());
            fill(&template.replace("{held}", held.trim_end()))
        };
        // Two statements instead of one with a condition, so that a few fields of many are found by the index.
        let load = |touched: &str, named: &str| {
            let template = include_str!("sql/load.sql").replace("{touched}", touched);
            [read(&template, ""), read(&template, named)]
        };
        let due = |secret| include_str!("sql/due.sql").trim_end().replace("{secret}", secret);
        let touched = include_str!("sql/touched.sql").replace("{due}", &due("s.secret = $2"));
        let touched = format!(",\n  {}", touched.trim_end());
        let together = include_str!("sql/load_together.sql");
        let together = together.replace("{due}", &due("s.secret = q.secret"));
        Self {
            load: load("", " and f.name = any ($3)"),
            load_and_touch: load(&touched, " and f.name = any ($5)"),
            load_together: [read(&together, ""), read(&together, " and f.name = any ($5)")],
            update_together: fill(
                "select said, ago, hits, value, place \
                 from {update_many}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            ),
            create: fill(
                "select said from {create}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            ),
            update: fill(
                "select said, ago, hits, value \
                 from {update}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
                 $17, $18, $19, $20, $21, $22, $23, $24)",
            ),
            take: fill("select said, ago, value from {take}($1, $2, $3, $4, $5, $6, $7)"),
            delete: fill("select said, ago from {delete}($1, $2)"),
            find: read(
                include_str!("sql/find.sql"),
                " and ($4::text[] is null or f.name = any ($4))",
            ),
            inspect: read(include_str!("sql/peek.sql"), ""),
            revoke: fill("select id from {revoke}($1, $2, $3) id"),
            revoke_everyone: fill("update {epoch} set epoch = epoch + 1 returning epoch"),
            delete_expired: fill(include_str!("sql/sweep.sql")),
        }
    }
}

pub(super) type Statement = Query<'static, Postgres, PgArguments>;

/// How long connections are tested after one was found dead: the pool holds more of its age.
const DISTRUST: Duration = Duration::from_secs(10);

/// More sessions than this are not listed at once.
const LONGEST_PAGE: usize = 10_000;

/// For how many times the time of an operation a statement may go on that nobody waits for any more.
/// Until then it keeps its place in the pool, so that the server never has more of them than that.
const PATIENCE: u32 = 5;

impl Inner {
    /// A connection: an idle one as it is, or, after trouble, one that the pool has tested.
    async fn connect(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let until = *self.distrust.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_none_or(|until| until < Instant::now())
            && let Some(connection) = self.pool.try_acquire()
        {
            return Ok(connection);
        }
        self.pool.acquire().await
    }

    /// Runs a statement. It has been committed when this returns: the first row alone would come
    /// before that.
    ///
    /// A task of its own carries it out: to drop a statement halfway would cost its connection, or
    /// make the next one wait for it.
    pub(super) async fn rows(
        self: &Arc<Self>,
        statement: Statement,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, Failed> {
        let turn = Arc::new(Turn::default());
        let task = Arc::clone(self).carry_out(statement, Arc::clone(&turn), deadline);
        let task = tokio::spawn(task.in_current_span());
        let waiter = Waiter(&turn);
        match timeout_at(deadline, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(gone().into()),
            Err(_) if waiter.leave() => Err(late(StoreErrorKind::Unavailable).into()),
            Err(_) => Err(late(StoreErrorKind::Unknown).into()),
        }
    }

    async fn carry_out(
        self: Arc<Self>,
        statement: Statement,
        turn: Arc<Turn>,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, Failed> {
        let mut connection = self.connect().await.map_err(unreachable)?;
        if !turn.begin() {
            return Err(late(StoreErrorKind::Unavailable).into());
        }
        let end = deadline + self.timeout * (PATIENCE - 1);
        let answer = match timeout_at(end, statement.fetch_all(&mut *connection)).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => {
                Err(Failed { error: late(StoreErrorKind::Unknown), connection_is_dead: true })
            }
        };
        if answer.as_ref().is_err_and(|failed| failed.connection_is_dead) {
            *self.distrust.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Instant::now() + DISTRUST);
            // To give it back would mean to wait for it.
            drop(connection.detach());
        }
        answer
    }

    /// The one row that a function of the database answers with.
    async fn row(self: &Arc<Self>, statement: Statement) -> Result<PgRow, StoreError> {
        let rows = self.rows(statement, Instant::now() + self.timeout).await;
        rows?.pop().ok_or_else(corrupt)
    }

    /// The statement that updates a session.
    pub(super) fn update(
        &self,
        credentials: Credentials<'_>,
        update: &Update<'_>,
        operations: Option<Vec<&'static str>>,
        columns: Columns<'_>,
    ) -> Statement {
        let statement = open(&self.statements.update, credentials);
        let statement = touch(statement, update.touch)
            .bind(update.rotate.map(hash))
            .bind(update.absolute.map(|end| millis(end.from_now)))
            .bind(update.absolute.and_then(|end| end.from_creation).map(millis))
            .bind(update.precondition.map(|expect| expect.name))
            .bind(update.precondition.and_then(|expect| expect.value).map(|value| &**value))
            .bind(update.renew.map(|renew| hash(renew.secret)))
            .bind(update.renew.map(|renew| millis(renew.every)))
            .bind(update.renew.map(|renew| grace(renew.grace)));
        let statement = match &update.sign {
            Some(AuthChange::In { who: somebody, idle, absolute }) => who(
                statement.bind("in").bind(idle.map(millis)).bind(absolute.map(millis)),
                Some(somebody),
            ),
            Some(AuthChange::Out) => {
                who(statement.bind("out").bind(None::<i64>).bind(None::<i64>), None)
            }
            None => who(statement.bind(None::<&str>).bind(None::<i64>).bind(None::<i64>), None),
        };
        columns.bind(statement.bind(operations))
    }

    pub(super) async fn delete_expired(
        self: &Arc<Self>,
        limit: usize,
        timeout: Duration,
    ) -> Result<usize, StoreError> {
        let statement =
            query(&self.statements.delete_expired).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.rows(statement, Instant::now() + timeout).await?;
        let removed: i64 = column(rows.first().ok_or_else(corrupt)?, 0)?;
        Ok(usize::try_from(removed).unwrap_or_default())
    }
}

/// Whether a statement is sent or given up, whichever comes first.
#[derive(Default)]
struct Turn(AtomicU8);

impl Turn {
    const OPEN: u8 = 0;
    const SENT: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn settle(&self, how: u8) -> bool {
        self.0.compare_exchange(Self::OPEN, how, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn begin(&self) -> bool {
        self.settle(Self::SENT)
    }
}

/// One who waits for a statement, and gives it up by leaving.
struct Waiter<'a>(&'a Turn);

impl Waiter<'_> {
    /// Whether the statement will never be sent.
    fn leave(self) -> bool {
        self.0.settle(Turn::GIVEN_UP)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.settle(Turn::GIVEN_UP);
    }
}

pub(super) fn query(sql: &SqlStr) -> Statement {
    sqlx::query(sql.clone())
}

impl PostgresStore {
    pub(super) fn new(
        pool: PgPool,
        names: &Names,
        cleanup: Option<Duration>,
        timeout: Duration,
    ) -> Self {
        // Others find connections too.
        let in_flight = (pool.options().get_max_connections() as usize / 2).max(1);
        let inner = Arc::new(Inner {
            pool,
            timeout,
            distrust: Mutex::new(None),
            statements: Statements::new(names),
        });
        let (alive, gone) = watch::channel(());
        if let Some(interval) = cleanup {
            tokio::spawn(cleanup::run(Arc::downgrade(&inner), gone, interval));
        }
        let reads = Arc::new(Reads::new(&inner));
        let writes = Arc::new(Writes::new(&inner));
        Self { inner, reads, writes, in_flight, _alive: Arc::new(alive) }
    }
}

/// A statement about the session that a secret may open.
pub(super) fn open(sql: &SqlStr, credentials: Credentials<'_>) -> Statement {
    query(sql).bind(credentials.id.as_bytes().as_slice()).bind(hash(credentials.secret))
}

/// The runtime is shutting down.
fn gone() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unknown)
}

fn hash(secret: &SecretHash) -> &[u8] {
    secret.as_bytes()
}

fn millis(ttl: Ttl) -> i64 {
    // A lifetime is at most 100 years.
    ttl.as_millis() as i64
}

fn grace(grace: Duration) -> i64 {
    i64::try_from(grace.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

pub(super) fn touch(statement: Statement, touch: Option<Touch>) -> Statement {
    let after = touch.map(|touch| i64::try_from(touch.after.as_millis()).unwrap_or(i64::MAX));
    statement.bind(touch.map(|touch| millis(touch.idle))).bind(after)
}

fn hot(hot: CachePolicy) -> i64 {
    match hot {
        CachePolicy::Auto => 0,
        CachePolicy::Never => -1,
        CachePolicy::Checked => -2,
        CachePolicy::For(ttl) => millis(ttl),
    }
}

/// What is written of a field, column by column.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) names: Vec<&'a str>,
    pub(super) values: Vec<Option<&'a [u8]>>,
    pub(super) hots: Vec<Option<i64>>,
    pub(super) ttls: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    /// Values for fields: the last one for each, because one statement writes a row once.
    pub(super) fn of(puts: &[FieldWrite<'a>]) -> Self {
        let (mut columns, mut seen) = (Self::default(), HashSet::new());
        puts.iter().rev().filter(|put| seen.insert(put.name)).for_each(|put| columns.put(put));
        columns
    }

    /// What is done to fields, one after the other.
    fn in_turn(changes: &[Change<'a>]) -> (Vec<&'static str>, Self) {
        let mut columns = Self::default();
        let operations = changes.iter().map(|change| match change {
            Change::Set(put) => {
                columns.put(put);
                "set"
            }
            Change::Remove(name) => {
                columns.name(name, None);
                "remove"
            }
            Change::Expire(name, ttl) => {
                columns.name(name, Some(*ttl));
                "expire"
            }
        });
        (operations.collect(), columns)
    }

    fn put(&mut self, put: &FieldWrite<'a>) {
        self.names.push(put.name);
        self.values.push(Some(put.value));
        self.hots.push(Some(hot(put.hot)));
        self.ttls.push(put.ttl.map(millis));
    }

    fn name(&mut self, name: &'a str, ttl: Option<Ttl>) {
        self.names.push(name);
        self.values.push(None);
        self.hots.push(None);
        self.ttls.push(ttl.map(millis));
    }

    fn bind(self, statement: Statement) -> Statement {
        statement.bind(self.names).bind(self.values).bind(self.hots).bind(self.ttls)
    }
}

fn id(row: &PgRow, index: usize) -> Result<SessionId, StoreError> {
    let name = column::<&[u8]>(row, index)?.try_into().map_err(|_| corrupt())?;
    Ok(SessionId::from_bytes(name))
}

/// Who signs in, as a statement is told.
fn who(statement: Statement, who: Option<&NewSignIn<'_>>) -> Statement {
    let limit = who.and_then(|who| who.limit);
    let most = limit.map(|limit| i32::try_from(limit.sessions.max(1)).unwrap_or(i32::MAX));
    statement
        .bind(who.map(|who| who.principal.as_bytes().as_slice()))
        .bind(who.map(|who| i16::from(who.assurance.level())))
        .bind(most)
        .bind(limit.map(|limit| limit.on_limit == OnLimit::EndOldest))
}

impl Store for PostgresStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touched: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let (timeout, deadline) = (self.inner.timeout, Instant::now() + self.inner.timeout);
        let reading = Reading::new(credentials, fields, touched);
        // One that always counts as activity takes a lock, so it does not go with others.
        if touched.is_some_and(|touch| touch.after.is_zero()) {
            return Box::pin(self.inner.read(&reading, deadline)).await;
        }
        match call(&self.reads, reading, timeout, self.in_flight).await {
            Some(Read::Is(answer)) => answer,
            // Boxed: it is rare, and would make the future of every read as large.
            Some(Read::Alone(reading)) => Box::pin(self.inner.read(&reading, deadline)).await,
            None => Err(gone()),
        }
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        let columns = Columns::of(create.fields);
        let credentials = Credentials { id: create.id, secret: create.secret };
        let statement = open(&self.inner.statements.create, credentials)
            .bind(create.idle.map(millis))
            .bind(create.absolute.map(millis));
        let statement = columns.bind(who(statement, create.sign_in.as_ref()));
        match column(&self.inner.row(statement).await?, 0)? {
            "found" => Ok(()),
            "exists" => Err(StoreError::new(NAME, StoreErrorKind::Exists)),
            "limit" => Err(StoreError::new(NAME, StoreErrorKind::SessionLimit)),
            _ => Err(corrupt()),
        }
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let (timeout, deadline) = (self.inner.timeout, Instant::now() + self.inner.timeout);
        let put = |change| if let Change::Set(put) = change { Some(put) } else { None };
        let puts: Option<Vec<FieldWrite<'_>>> = update.changes.iter().copied().map(put).collect();
        if let Some(writing) =
            puts.as_ref().and_then(|puts| Writing::new(credentials, &update, puts))
        {
            return match call(&self.writes, writing, timeout, self.in_flight).await {
                Some(Written::Is(answer)) => answer,
                // Boxed: it is rare, and would make the future of every write as large.
                Some(Written::Alone(writing)) => {
                    Box::pin(self.inner.write(&writing, deadline)).await
                }
                None => Err(gone()),
            };
        }
        let (operations, columns) = match puts {
            Some(puts) => (None, Columns::of(&puts)),
            None => {
                let (operations, columns) = Columns::in_turn(update.changes);
                (Some(operations), columns)
            }
        };
        let statement = self.inner.update(credentials, &update, operations, columns);
        let rows = self.inner.rows(statement, deadline).await?;
        updated(rows.first().ok_or_else(corrupt)?)
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let statement = open(&self.inner.statements.take, credentials);
        let statement = touch(statement, take.touch)
            .bind(take.rotate.map(hash))
            .bind(take.name)
            .bind(take.sign_out);
        let row = self.inner.row(statement).await?;
        answered(&row, || bytes(&row, 2))
    }

    async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
        let statement = open(&self.inner.statements.delete, credentials);
        let row = self.inner.row(statement).await?;
        answered(&row, || Ok(()))
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        let statement = query(&self.inner.statements.inspect).bind(id.as_bytes().to_vec());
        let rows = self.inner.rows(statement, Instant::now() + self.inner.timeout).await?;
        rows.first().map(peeked).transpose()
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let limit = page.limit.clamp(1, LONGEST_PAGE);
        let names = match fields {
            Projection::All => None,
            Projection::Named(names) => Some(names),
        };
        let statement = query(&self.inner.statements.find)
            .bind(principal.as_bytes().as_slice())
            .bind(page.after.map_or(&[][..], |after| after.as_bytes().as_slice()))
            // One more, to see whether there is one.
            .bind(limit as i64 + 1)
            .bind(names);
        let rows = self.inner.rows(statement, Instant::now() + self.inner.timeout).await?;
        let mut sessions = rows
            .iter()
            .map(|row| Ok(ListedSession { id: id(row, 14)?, loaded: listed(row)? }))
            .collect::<Result<Vec<_>, StoreError>>()?;
        let is_more = sessions.len() > limit;
        sessions.truncate(limit);
        let next = sessions.last().filter(|_| is_more).map(|listed| listed.id);
        Ok(SessionPage { sessions, next })
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Revoked, StoreError> {
        let (one, except) = match target {
            RevokeTarget::One(one) => (Some(one), None),
            RevokeTarget::All { except } => (None, except),
        };
        let name = |id: Option<&SessionId>| id.map(|id| id.as_bytes().to_vec());
        let statement = query(&self.inner.statements.revoke)
            .bind(principal.as_bytes().as_slice())
            .bind(name(one))
            .bind(name(except));
        let rows = self.inner.rows(statement, Instant::now() + self.inner.timeout).await?;
        let ids = rows.iter().map(|row| id(row, 0)).collect::<Result<_, _>>()?;
        Ok(Revoked { ids, confirmed: Confirmed::Yes })
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.inner.row(query(&self.inner.statements.revoke_everyone)).await?;
        Ok(Confirmed::Yes)
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.inner.delete_expired(limit, self.inner.timeout).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("timeout", &self.inner.timeout)
            .finish_non_exhaustive()
    }
}
