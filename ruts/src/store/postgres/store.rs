use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sqlx::{
    AssertSqlSafe, Decode, PgPool, Postgres, Row, SqlSafeStr, SqlStr, Type,
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
    failure::{Failed, NAME, STANDBY, corrupt, failed, late, unfit, unreachable},
    names::Names,
};
use crate::{
    principal::{Assurance, PrincipalKey},
    store::{
        Access, Change, Confirmed, Create, Fields, Listed, Listing, Loaded, Lookup, Meta, OnLimit,
        Page, Put, Revoked, Sign, SignIn, SignedIn, Store, StoreError, StoreErrorKind, Stored,
        Take, Touch, Update, Updated, Whom,
    },
    token::{Handle, SecretHash},
    ttl::{Hot, Ttl},
};

/// Sessions in PostgreSQL, made by a [`PostgresStoreBuilder`](super::PostgresStoreBuilder).
///
/// The [module](super) tells how sessions are laid out and what failures look like. Clones share the
/// pool; when the last one is dropped, the cleanup ends.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
    /// Dropped with the last clone.
    _alive: Arc<watch::Sender<()>>,
}

pub(super) struct Inner {
    pool: PgPool,
    timeout: Duration,
    /// Until when connections are tested before they are used, because one was found dead.
    distrust: Mutex<Option<Instant>>,
    statements: Statements,
}

/// Made once, so that the server recognises them.
struct Statements {
    load: SqlStr,
    load_and_touch: SqlStr,
    create: SqlStr,
    update: SqlStr,
    take: SqlStr,
    delete: SqlStr,
    find: SqlStr,
    peek: SqlStr,
    revoke: SqlStr,
    revoke_everyone: SqlStr,
    sweep: SqlStr,
}

/// What fills the templates of reads that change nothing.
const AS_IT_STANDS: [(&str, &str); 3] =
    [("{idle_at}", "s.idle_at"), ("{used_at}", "s.used_at"), ("{moment}", "statement_timestamp()")];

impl Statements {
    fn new(names: &Names) -> Self {
        let fill =
            |template: &str| AssertSqlSafe(Arc::<str>::from(names.fill(template))).into_sql_str();
        let meta = include_str!("sql/meta.sql").trim_end();
        let read = |template: &str, parts: &[(&str, &str)]| {
            let template = template.replace("{meta}", meta);
            fill(&parts.iter().fold(template, |text, (mark, part)| text.replace(mark, part)))
        };
        let load = |parts: [(&str, &str); 7]| read(include_str!("sql/load.sql"), &parts);
        Self {
            load: load([
                ("{touched}", ""),
                ("{touched_said}", ""),
                ("{touched_ago}", ""),
                ("{touched_ago_end}", ""),
                ("{idle_at}", "s.idle_at"),
                ("{used_at}", "s.used_at"),
                ("{moment}", "statement_timestamp()"),
            ]),
            // Waiting for the row's lock takes time: then the function says what is, and when.
            load_and_touch: load([
                ("{touched}", include_str!("sql/touched.sql")),
                ("{touched_said}", "when t.said <> 'found' then t.said"),
                ("{touched_ago}", "coalesce(t.ago, "),
                ("{touched_ago_end}", ")"),
                ("{idle_at}", "coalesce(t.idle_at, s.idle_at)"),
                ("{used_at}", "coalesce(t.used_at, s.used_at)"),
                ("{moment}", "coalesce(t.seen, statement_timestamp())"),
            ]),
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
            find: read(include_str!("sql/find.sql"), &AS_IT_STANDS),
            peek: read(include_str!("sql/peek.sql"), &AS_IT_STANDS),
            revoke: fill("select handle from {revoke}($1, $2, $3) handle"),
            revoke_everyone: fill("update {epoch} set epoch = epoch + 1 returning epoch"),
            sweep: fill(include_str!("sql/sweep.sql")),
        }
    }
}

type Statement = Query<'static, Postgres, PgArguments>;

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
    async fn rows(
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
            // The runtime is shutting down.
            Ok(Err(_)) => Err(StoreError::new(NAME, StoreErrorKind::Unknown).into()),
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

    pub(super) async fn sweep(
        self: &Arc<Self>,
        limit: usize,
        timeout: Duration,
    ) -> Result<usize, StoreError> {
        let statement =
            query(&self.statements.sweep).bind(i64::try_from(limit).unwrap_or(i64::MAX));
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

fn query(sql: &SqlStr) -> Statement {
    sqlx::query(sql.clone())
}

impl PostgresStore {
    pub(super) fn new(
        pool: PgPool,
        names: &Names,
        cleanup: Option<Duration>,
        timeout: Duration,
    ) -> Self {
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
        Self { inner, _alive: Arc::new(alive) }
    }

    fn statement(&self, sql: &SqlStr, access: Access<'_>) -> Statement {
        query(sql).bind(access.handle.as_bytes().as_slice()).bind(hash(access.secret))
    }
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

fn touch(statement: Statement, touch: Option<Touch>) -> Statement {
    let after = touch.map(|touch| i64::try_from(touch.after.as_millis()).unwrap_or(i64::MAX));
    statement.bind(touch.map(|touch| millis(touch.idle))).bind(after)
}

fn hot(hot: Hot) -> i64 {
    match hot {
        Hot::Auto => 0,
        Hot::Never => -1,
        Hot::Checked => -2,
        Hot::For(ttl) => millis(ttl),
    }
}

fn hot_of(number: i64) -> Option<Hot> {
    match number {
        0 => Some(Hot::Auto),
        -1 => Some(Hot::Never),
        -2 => Some(Hot::Checked),
        millis => {
            let millis = Duration::from_millis(millis.try_into().ok()?);
            Ttl::new(millis).ok().map(Hot::For)
        }
    }
}

/// What is written of a field, column by column.
#[derive(Default)]
struct Columns<'a> {
    names: Vec<&'a str>,
    values: Vec<Option<&'a [u8]>>,
    hots: Vec<Option<i64>>,
    ttls: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn put(&mut self, put: &Put<'a>) {
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

fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    row: &'r PgRow,
    index: usize,
) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| failed(error).error)
}

/// A number of milliseconds.
fn span(row: &PgRow, index: usize) -> Result<Option<Duration>, StoreError> {
    let millis: Option<i64> = column(row, index)?;
    Ok(millis.map(|millis| Duration::from_millis(millis.max(0).unsigned_abs())))
}

/// What the first two columns say, and what `found` makes of the rest.
fn lookup<T>(
    row: &PgRow,
    found: impl FnOnce() -> Result<T, StoreError>,
) -> Result<Lookup<T>, StoreError> {
    let ago = || span(row, 1)?.ok_or_else(corrupt);
    match column(row, 0)? {
        "found" | "conflict" | "early" => found().map(Lookup::Found),
        "replaced" => Ok(Lookup::Replaced { ago: ago()? }),
        "ended" => Ok(Lookup::Ended { ago: ago()? }),
        "none" => Ok(Lookup::NotFound),
        "standby" => Err(unfit(STANDBY)),
        "limit" => Err(StoreError::new(NAME, StoreErrorKind::Limit)),
        _ => Err(corrupt()),
    }
}

fn bytes(row: &PgRow, index: usize) -> Result<Option<Bytes>, StoreError> {
    Ok(column::<Option<Vec<u8>>>(row, index)?.map(Bytes::from))
}

/// A session's metadata, which follow the third column.
fn meta(row: &PgRow) -> Result<Meta, StoreError> {
    let signed_in = match column::<Option<Vec<u8>>>(row, 9)? {
        None => None,
        Some(principal) => {
            let principal: [u8; 32] = principal.try_into().map_err(|_| corrupt())?;
            let level = u8::try_from(column::<i16>(row, 10)?).ok();
            Some(SignedIn {
                principal: PrincipalKey::from_bytes(principal),
                assurance: level.and_then(Assurance::from_level).ok_or_else(corrupt)?,
                ago: span(row, 8)?.ok_or_else(corrupt)?,
            })
        }
    };
    Ok(Meta {
        age: span(row, 3)?.ok_or_else(corrupt)?,
        secret_age: span(row, 4)?.ok_or_else(corrupt)?,
        unused: span(row, 5)?.ok_or_else(corrupt)?,
        idle: span(row, 6)?,
        absolute: span(row, 7)?,
        signed_in,
        by_former: column(row, 2)?,
    })
}

/// The field of a row, which follows the metadata; `None` of a session without any.
fn field(row: &PgRow) -> Result<Option<Stored>, StoreError> {
    let Some(name) = column(row, 11)? else { return Ok(None) };
    Ok(Some(Stored {
        name,
        value: bytes(row, 12)?.ok_or_else(corrupt)?,
        ttl: span(row, 14)?,
        hot: hot_of(column(row, 13)?).ok_or_else(corrupt)?,
    }))
}

fn loaded(rows: &[PgRow]) -> Result<Loaded, StoreError> {
    let meta = meta(rows.first().ok_or_else(corrupt)?)?;
    let fields = rows.iter().filter_map(|row| field(row).transpose());
    Ok(Loaded { meta, fields: fields.collect::<Result<_, _>>()? })
}

/// The sessions of a list, each with a row for every field.
fn listed(rows: &[PgRow]) -> Result<Vec<Listed>, StoreError> {
    let mut listed = Vec::new();
    let handle = |row: &PgRow| column::<Vec<u8>>(row, 1);
    let mut rest = rows;
    while let Some(first) = rest.first() {
        if column::<&str>(first, 0)? == "standby" {
            return Err(unfit(STANDBY));
        }
        let name = handle(first)?;
        let mut count = 1;
        while count < rest.len() && handle(&rest[count])? == name {
            count += 1;
        }
        let (rows, others) = rest.split_at(count);
        let handle = Handle::from_bytes(name.try_into().map_err(|_| corrupt())?);
        listed.push(Listed { handle, loaded: loaded(rows)? });
        rest = others;
    }
    Ok(listed)
}

/// Who signs in, as a statement is told.
fn who(statement: Statement, who: Option<&SignIn<'_>>) -> Statement {
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
        access: Access<'_>,
        fields: Fields<'_>,
        touched: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let statement = || {
            let names = match fields {
                Fields::All => None,
                Fields::Named(names) => Some(names),
            };
            let statements = &self.inner.statements;
            match touched {
                None => self.statement(&statements.load, access).bind(names),
                Some(_) => {
                    touch(self.statement(&statements.load_and_touch, access).bind(names), touched)
                }
            }
        };
        let deadline = Instant::now() + self.inner.timeout;
        let rows = match self.inner.rows(statement(), deadline).await {
            // To read twice does no harm.
            Err(failed) if failed.connection_is_dead => {
                self.inner.rows(statement(), deadline).await?
            }
            rows => rows?,
        };
        match rows.first() {
            Some(first) => lookup(first, || loaded(&rows)),
            None => Ok(Lookup::NotFound),
        }
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        let mut columns = Columns::default();
        create.fields.iter().for_each(|field| columns.put(field));
        let access = Access { handle: create.handle, secret: create.secret };
        let statement = self
            .statement(&self.inner.statements.create, access)
            .bind(create.idle.map(millis))
            .bind(create.absolute.map(millis));
        let statement = columns.bind(who(statement, create.sign_in.as_ref()));
        match column(&self.inner.row(statement).await?, 0)? {
            "found" => Ok(()),
            "exists" => Err(StoreError::new(NAME, StoreErrorKind::Exists)),
            "limit" => Err(StoreError::new(NAME, StoreErrorKind::Limit)),
            _ => Err(corrupt()),
        }
    }

    async fn update(
        &self,
        access: Access<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let mut operations = Vec::with_capacity(update.changes.len());
        let mut columns = Columns::default();
        for change in update.changes {
            operations.push(match change {
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
        }
        let statement = self.statement(&self.inner.statements.update, access);
        let statement = touch(statement, update.touch)
            .bind(update.rotate.map(hash))
            .bind(update.absolute.map(|end| millis(end.from_now)))
            .bind(update.absolute.and_then(|end| end.from_creation).map(millis))
            .bind(update.expect.map(|expect| expect.name))
            .bind(update.expect.and_then(|expect| expect.value).map(|value| &**value))
            .bind(update.renew.map(|renew| hash(renew.secret)))
            .bind(update.renew.map(|renew| millis(renew.every)))
            .bind(update.renew.map(|renew| grace(renew.grace)));
        let statement = match &update.sign {
            Some(Sign::In { who: somebody, idle, absolute }) => who(
                statement.bind("in").bind(idle.map(millis)).bind(absolute.map(millis)),
                Some(somebody),
            ),
            Some(Sign::Out) => who(statement.bind("out").bind(None::<i64>).bind(None::<i64>), None),
            None => who(statement.bind(None::<&str>).bind(None::<i64>).bind(None::<i64>), None),
        };
        let row = self.inner.row(columns.bind(statement.bind(operations))).await?;
        lookup(&row, || match column(&row, 0)? {
            "conflict" => Ok(Updated::Conflict { current: bytes(&row, 3)? }),
            "early" => Ok(Updated::NotDue),
            _ => {
                let found = column::<i64>(&row, 2)?.try_into().map_err(|_| corrupt())?;
                Ok(Updated::Applied { found })
            }
        })
    }

    async fn take(
        &self,
        access: Access<'_>,
        take: Take<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let statement = self.statement(&self.inner.statements.take, access);
        let statement = touch(statement, take.touch)
            .bind(take.rotate.map(hash))
            .bind(take.name)
            .bind(take.sign_out);
        let row = self.inner.row(statement).await?;
        lookup(&row, || bytes(&row, 2))
    }

    async fn delete(&self, access: Access<'_>) -> Result<Lookup<()>, StoreError> {
        let statement = self.statement(&self.inner.statements.delete, access);
        let row = self.inner.row(statement).await?;
        lookup(&row, || Ok(()))
    }

    async fn peek(&self, handle: &Handle) -> Result<Option<Meta>, StoreError> {
        let statement = query(&self.inner.statements.peek).bind(handle.as_bytes().to_vec());
        let rows = self.inner.rows(statement, Instant::now() + self.inner.timeout).await?;
        match rows.first() {
            Some(row) if column::<&str>(row, 0)? == "standby" => Err(unfit(STANDBY)),
            Some(row) => meta(row).map(Some),
            None => Ok(None),
        }
    }

    async fn find(
        &self,
        principal: &PrincipalKey,
        page: Page<'_>,
        fields: Fields<'_>,
    ) -> Result<Listing, StoreError> {
        let limit = page.limit.clamp(1, LONGEST_PAGE);
        let names = match fields {
            Fields::All => None,
            Fields::Named(names) => Some(names),
        };
        let statement = query(&self.inner.statements.find)
            .bind(principal.as_bytes().as_slice())
            .bind(page.after.map_or(&[][..], |after| after.as_bytes().as_slice()))
            // One more, to see whether there is one.
            .bind(limit as i64 + 1)
            .bind(names);
        let rows = self.inner.rows(statement, Instant::now() + self.inner.timeout).await?;
        let mut sessions = listed(&rows)?;
        let is_more = sessions.len() > limit;
        sessions.truncate(limit);
        let next = sessions.last().filter(|_| is_more).map(|listed| listed.handle);
        Ok(Listing { sessions, next })
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        whom: Whom<'_>,
    ) -> Result<Revoked, StoreError> {
        let (one, except) = match whom {
            Whom::One(one) => (Some(one), None),
            Whom::All { except } => (None, except),
        };
        let name = |handle: Option<&Handle>| handle.map(|handle| handle.as_bytes().to_vec());
        let statement = query(&self.inner.statements.revoke)
            .bind(principal.as_bytes().as_slice())
            .bind(name(one))
            .bind(name(except));
        let rows = self.inner.rows(statement, Instant::now() + self.inner.timeout).await?;
        let handle = |row: &PgRow| {
            let name: [u8; 16] = column::<Vec<u8>>(row, 0)?.try_into().map_err(|_| corrupt())?;
            Ok(Handle::from_bytes(name))
        };
        let handles = rows.iter().map(handle).collect::<Result<_, StoreError>>()?;
        Ok(Revoked { handles, confirmed: Confirmed::Yes })
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.inner.row(query(&self.inner.statements.revoke_everyone)).await?;
        Ok(Confirmed::Yes)
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.inner.sweep(limit, self.inner.timeout).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("timeout", &self.inner.timeout)
            .finish_non_exhaustive()
    }
}
