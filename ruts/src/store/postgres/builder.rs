use std::{fmt, time::Duration};

use sqlx::{Connection, PgPool};
use tokio::time::timeout;

use super::{
    failure::{NAME, late, unreachable},
    names::{InvalidName, Names},
    schema,
    store::PostgresStore,
};
use crate::store::{StoreError, StoreErrorKind};

/// Settings of a [`PostgresStore`].
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use ruts::{SessionLayer, store::postgres::PostgresStoreBuilder};
/// use sqlx::PgPool;
///
/// let pool = PgPool::connect("postgres://localhost/app").await?;
/// let store = PostgresStoreBuilder::new(pool, true).schema_name("app").build().await?;
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub struct PostgresStoreBuilder {
    pool: PgPool,
    create_table: bool,
    schema: String,
    table: String,
    cleanup: Option<Duration>,
    timeout: Duration,
}

impl PostgresStoreBuilder {
    /// A store in the schema `public` and the table `sessions`, with a cleanup every five minutes and
    /// a timeout of two seconds.
    ///
    /// `create_table` lets [`build`](Self::build) create and migrate the tables. Without it they have
    /// to be there: [`sql`](Self::sql) is what to run.
    pub fn new(pool: PgPool, create_table: bool) -> Self {
        Self {
            pool,
            create_table,
            schema: "public".to_owned(),
            table: "sessions".to_owned(),
            cleanup: Some(Duration::from_secs(300)),
            timeout: Duration::from_secs(2),
        }
    }

    /// The schema of the tables: lower-case letters, digits and underscores, at most 50.
    #[must_use]
    pub fn schema_name(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// The table of sessions, and what the names of its companions begin with: lower-case letters,
    /// digits and underscores, at most 50. Stores with different tables can share a database.
    #[must_use]
    pub fn table_name(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// How often this instance removes expired sessions, about; `None` leaves it to
    /// [`Store::delete_expired`](crate::store::Store::delete_expired). The moments differ by up to a fifth, so that
    /// instances that start together do not work together. At least a second.
    #[must_use]
    pub fn cleanup_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.cleanup = interval.into().map(|interval| interval.max(Duration::from_secs(1)));
        self
    }

    /// How long an operation may take, waiting for a connection included: from a millisecond to a
    /// day.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self
    }

    /// The SQL that makes the tables and functions on a database without them, for one who may.
    ///
    /// The role of the application then needs `usage` on the schema, `select`, `insert`, `update` and
    /// `delete` on the tables, and `execute` on the functions.
    ///
    /// # Errors
    ///
    /// A name is not valid.
    pub fn sql(&self) -> Result<String, InvalidName> {
        Names::new(&self.schema, &self.table).map(|names| schema::sql(&names))
    }

    /// Connects, creates or migrates the tables if it may, and checks that the server can keep
    /// sessions. Any number of instances may do this at once.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Unsupported`] says in its source what is wrong with a name, the server or its
    /// tables; [`StoreErrorKind::Unavailable`], that the server could not be reached.
    pub async fn build(self) -> Result<PostgresStore, StoreError> {
        let names = Names::new(&self.schema, &self.table).map_err(|error| {
            StoreError::new(NAME, StoreErrorKind::Unsupported).with_source(error)
        })?;
        let connection = timeout(self.timeout, self.pool.acquire()).await;
        let mut connection =
            connection.map_err(|_| late(StoreErrorKind::Unavailable))?.map_err(unreachable)?;
        let prepared = timeout(PREPARING, async {
            if self.create_table {
                schema::migrate(&mut connection, &names).await?;
            }
            schema::check(&mut connection, &names).await?;
            // Statements that were prepared before the tables changed are of no use.
            let _ = connection.clear_cached_statements().await;
            Ok::<_, StoreError>(())
        });
        let prepared = prepared.await;
        if prepared.is_err() {
            // To give it back would mean to wait for it.
            drop(connection.detach());
        }
        prepared.map_err(|_| late(StoreErrorKind::Unavailable))??;
        Ok(PostgresStore::new(self.pool, &names, self.cleanup, self.timeout))
    }
}

/// How long the tables may take: other instances may be making them, or others use them.
const PREPARING: Duration = Duration::from_secs(60);

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("create_table", &self.create_table)
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("cleanup", &self.cleanup)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
