//! [`SqliteStore`], which keeps sessions in a file, and its builder.
//!
//! Used by applications. Hands operations to the threads, and waits for the answers. Knows nothing
//! about SQL.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    connection::{Database, Durability},
    error::NAME,
    operations::{self, Step},
    threads::{Settings, Threads},
    writer::CLEANUP_BATCH,
};
use crate::{
    auth::PrincipalKey,
    store::{
        AuthChange, Create, Credentials, Expiry, Loaded, PageRequest, Projection, RevokeTarget,
        SessionMeta, SessionPage, Store, StoreError, StoreErrorKind, StoreResult, TakeField, Touch,
        Update, Updated, Written, cleanup_interval,
        owned_request::{
            OwnedCreate, OwnedCredentials, OwnedProjection, OwnedTake, OwnedTarget, OwnedUpdate,
        },
    },
    token::SessionId,
};

/// Maximum number of sessions in a page.
const MAX_PAGE: usize = 10_000;

/// Sessions in a file, through SQLite.
///
/// The [module](super) describes the file, its durability and failures. Clones share the threads,
/// which end after the last clone is dropped.
///
/// # Cancel safety
///
/// If a future is dropped while its transaction is queued, the transaction is not carried out. If
/// the future is dropped later, the transaction is carried out as a whole. An operation that ends
/// many sessions takes several transactions.
#[derive(Clone)]
pub struct SqliteStore {
    threads: Arc<Threads>,
}

impl SqliteStore {
    /// Creates the builder of a store in a file. [`build`](SqliteStoreBuilder::build) creates the
    /// file if it is missing.
    pub fn builder(path: impl Into<PathBuf>) -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(Some(path.into()))
    }

    /// Creates the builder of a store in memory, for tests. Each store has sessions of its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), ruts::store::StoreError> {
    /// use ruts::store::sqlite::SqliteStore;
    ///
    /// let store = SqliteStore::in_memory().build().await?;
    /// # drop(store);
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_memory() -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(None)
    }

    /// Waits until every operation that has begun is answered and the file is closed. Later
    /// operations, including those of clones, fail with
    /// [`Unavailable`](crate::store::StoreErrorKind::Unavailable).
    ///
    /// If a program ends without this call, no answered operation is lost. With
    /// [`Durability::Normal`], closing also puts the last commits on the disk.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the store still closes.
    pub async fn close(&self) {
        self.threads.close().await;
    }

    /// Writes in as many transactions as the operation needs. Other operations take place in
    /// between.
    async fn write_in_steps<T, F>(
        &self,
        ends: bool,
        operation: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Database) -> Result<Step<T>, StoreError> + Send + 'static,
    {
        loop {
            if let Step::Done(answer) = self.threads.write(ends, operation()).await? {
                return Ok(answer);
            }
        }
    }
}

impl Store for SqliteStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        let credentials = OwnedCredentials::from(credentials);
        let fields = Arc::new(OwnedProjection::from(fields));
        let to_read = Arc::clone(&fields);
        let read = self.threads.read_one(move |database| {
            to_read.lend(|fields| operations::load(database, &credentials, fields, touch))
        });
        if let Some(answer) = read.await? {
            return Ok(answer);
        }
        let to_touch = Arc::clone(&fields);
        let write = self.threads.write(false, move |database| {
            to_touch
                .lend(|fields| operations::load_and_touch(database, &credentials, fields, touch))
        });
        match write.await {
            // On a full disk, the read still works. The next request touches the session.
            Err(error) if error.kind() == StoreErrorKind::Full => {}
            answer => return answer,
        }
        let read = self.threads.read_one(move |database| {
            fields.lend(|fields| operations::load_only(database, &credentials, fields))
        });
        read.await
    }

    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        let create = Arc::new(OwnedCreate::from(&create));
        let created = self.write_in_steps(false, || {
            let create = Arc::clone(&create);
            move |database| create.lend(|create| operations::create(database, create))
        });
        created.await.map(Written::new)
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let ends = update.rotate.is_some() || matches!(update.auth_change, Some(AuthChange::Out));
        let request = (OwnedCredentials::from(credentials), OwnedUpdate::from(&update));
        let request = Arc::new(request);
        let updated = self.write_in_steps(ends, || {
            let request = Arc::clone(&request);
            move |database| {
                let (credentials, update) = &*request;
                update.lend(|update| operations::update(database, credentials, update))
            }
        });
        Ok(updated.await?.map(Written::new))
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let ends = take.needs_current_secret();
        let credentials = OwnedCredentials::from(credentials);
        let take = OwnedTake::from(take);
        let taken = self
            .threads
            .write(ends, move |database| operations::take(database, &credentials, &take.borrow()));
        Ok(taken.await?.map(Written::new))
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let credentials = OwnedCredentials::from(credentials);
        let deleted =
            self.threads.write(true, move |database| operations::delete(database, &credentials));
        Ok(deleted.await?.map(Written::new))
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        let id = *id;
        self.threads.read_one(move |database| operations::inspect(database, &id)).await
    }

    async fn expiry(&self, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
        let id = *id;
        self.threads.read_one(move |database| operations::expiry(database, &id)).await
    }

    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        self.threads.watch(id)
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let (principal, after) = (*principal, page.after.copied());
        let limit = page.limit.clamp(1, MAX_PAGE);
        let fields = OwnedProjection::from(fields);
        let list = self.threads.read(move |database| {
            fields.lend(|fields| {
                let after = after.as_ref();
                operations::list_by_principal(database, &principal, after, limit, fields)
            })
        });
        list.await
    }

    /// Takes one transaction for every 100 sessions. Other operations may take place in between.
    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        let (principal, target) = (*principal, OwnedTarget::from(target));
        let (mut ended, mut after) = (Vec::new(), None);
        loop {
            let revoked = self.threads.write(true, move |database| {
                operations::revoke(database, &principal, target.borrow(), after.as_ref())
            });
            let (ids, last) = revoked.await?;
            ended.extend(ids);
            if last.is_none() {
                return Ok(Written::new(ended));
            }
            after = last;
        }
    }

    async fn revoke_everyone(&self) -> Result<Written<()>, StoreError> {
        self.threads.write(true, operations::revoke_everyone).await.map(Written::new)
    }

    /// Takes one transaction for every 100 sessions, as [`revoke`](Store::revoke) does.
    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let mut deleted = 0;
        loop {
            let batch = CLEANUP_BATCH.min(limit - deleted);
            let number = self
                .threads
                .write(false, move |database| operations::delete_expired(database, batch));
            let number = number.await?;
            deleted += number;
            if number < batch || deleted == limit {
                return Ok(deleted);
            }
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

/// Settings of a [`SqliteStore`].
///
/// ```no_run
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// use ruts::{SessionLayer, store::sqlite::SqliteStore};
///
/// let store = SqliteStore::builder("sessions.db").build().await?;
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SqliteStoreBuilder {
    settings: Settings,
}

impl SqliteStoreBuilder {
    const fn new(path: Option<PathBuf>) -> Self {
        let settings = Settings {
            path,
            durability: Durability::Full,
            lock_timeout: Duration::from_secs(5),
            readers: 2,
            cleanup_interval: Some(Duration::from_secs(300)),
        };
        Self { settings }
    }

    /// Sets which commits a power cut may undo. Defaults to [`Durability::Full`]: a power cut
    /// undoes none.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// Sets how long an operation waits while another process keeps the file locked. Defaults to
    /// five seconds.
    #[must_use]
    pub const fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.settings.lock_timeout = timeout;
        self
    }

    /// Sets the number of threads that read, at least one. Defaults to two.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.settings.readers = readers.max(1);
        self
    }

    /// Sets the interval at which expired sessions are deleted, from one second to one year.
    /// Defaults to five minutes. With `None`, expired sessions are deleted only by
    /// [`Store::delete_expired`].
    ///
    /// Each interval varies randomly by up to a fifth, so that processes do not delete at the same
    /// time, even if they start together.
    #[must_use]
    pub fn cleanup_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.settings.cleanup_interval = interval.into().map(cleanup_interval::limited);
        self
    }

    /// Opens the file, creates the tables that are missing, and starts the threads. Any number of
    /// processes may call this concurrently.
    ///
    /// # Errors
    ///
    /// - [`Unavailable`](crate::store::StoreErrorKind::Unavailable): the file cannot be created or
    ///   opened, or another process keeps it locked.
    /// - [`Unsupported`](crate::store::StoreErrorKind::Unsupported): the file is read-only or on a
    ///   file system without shared memory, its tables have a different version, or SQLite is older
    ///   than 3.51.3. The source of the error gives the reason.
    /// - [`Corrupt`](crate::store::StoreErrorKind::Corrupt): the file is not a database, or is
    ///   damaged.
    /// - [`Full`](crate::store::StoreErrorKind::Full): the disk is too full to create the tables.
    pub async fn build(self) -> Result<SqliteStore, StoreError> {
        let threads = Threads::start(self.settings).await?;
        Ok(SqliteStore { threads: Arc::new(threads) })
    }
}
