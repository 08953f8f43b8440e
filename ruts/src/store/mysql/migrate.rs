//! Creates and migrates the tables, and checks the server.
//!
//! Used by the builder of the store. Knows nothing about sessions.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, MySqlConnection, MySqlPool, Row};
use tokio::time::timeout;

use super::{
    check::{self, failure},
    error::{ROWS_ARE_MISSING, Reason, connection_error, timed_out, unsupported},
    executor::Executor,
    tables::{LOCKS, Tables},
};
use crate::store::{StoreError, StoreErrorKind, sql::WrongVersion};

/// Each migration has to be repeatable after an interruption, because the server commits after
/// every statement that creates a table.
const MIGRATIONS: [&str; 1] = [include_str!("sql/migration_1.sql")];

/// The rows that each table of locks and of the epoch has. If the epoch was lost, all sessions end,
/// because it is not known which of them `revoke_everyone` has ended.
const ROWS: &str = include_str!("sql/rows.sql");

/// Version of the tables that this release needs.
const VERSION: i32 = MIGRATIONS.len() as i32;

/// Maximum time to create, migrate and check the tables. Includes the wait for other instances.
const PREPARATION: Duration = Duration::from_secs(60);

/// Returns the SQL that creates the tables, or migrates them from any earlier version.
pub(super) fn sql(tables: &Tables) -> String {
    let mut text = versions(tables);
    for version in 1..=VERSION {
        text.push_str(&migration(tables, version));
    }
    text + &fill(ROWS, tables)
}

fn versions(tables: &Tables) -> String {
    format!(
        "create table if not exists {} (\n  version int not null primary key,\n  \
         applied_at timestamp not null default current_timestamp\n) engine=InnoDB;\n\n",
        tables.migrations
    )
}

fn migration(tables: &Tables, version: i32) -> String {
    let (migration, migrations) =
        (fill(MIGRATIONS[version as usize - 1], tables), &tables.migrations);
    format!("{migration}\ninsert ignore into {migrations} (version) values ({version});\n")
}

fn fill(template: &str, tables: &Tables) -> String {
    let Tables { sessions, fields, epoch, locks, .. } = tables;
    let rows: Vec<_> = (0..LOCKS).map(|row| format!("({row})")).collect();
    template
        .replace("{sessions}", sessions)
        .replace("{fields}", fields)
        .replace("{epoch}", epoch)
        .replace("{locks}", locks)
        .replace("{lock_rows}", &rows.join(", "))
}

/// Checks the server and the tables. If `create_tables`, first creates or migrates the tables.
pub(super) async fn prepare(
    executor: &Arc<Executor>,
    create_tables: bool,
) -> Result<(), StoreError> {
    let prepared = timeout(PREPARATION, async {
        let (pool, tables) = (executor.pool(), &executor.tables);
        let mut connection = connect(pool, executor.timeout).await?;
        let max_packet = check::server(&mut connection).await?;
        // One byte of a packet is the command, so a script can fill the other bytes.
        executor.set_max_text(max_packet.saturating_sub(1));
        if create_tables {
            migrate(&mut connection, tables).await?;
        }
        match version(&mut connection, tables).await? {
            VERSION => {}
            found => {
                let builder = "MySqlStoreBuilder";
                return Err(unsupported(WrongVersion { found, needed: VERSION, builder }));
            }
        }
        check::engines(&mut connection, tables).await?;
        if !check::has_rows(&mut connection, tables).await? {
            if !create_tables {
                return Err(unsupported(ROWS_ARE_MISSING));
            }
            run(&mut connection, fill(ROWS, tables)).await?;
        }
        drop(connection);
        check::round_trip(executor).await
    });
    prepared.await.map_err(|_| timed_out(StoreErrorKind::Unavailable))?
}

async fn connect(
    pool: &MySqlPool,
    connect_timeout: Duration,
) -> Result<sqlx::pool::PoolConnection<sqlx::MySql>, StoreError> {
    let connecting = timeout(connect_timeout, pool.acquire()).await;
    let timed_out = |_| timed_out(StoreErrorKind::Unavailable);
    connecting.map_err(timed_out)?.map_err(connection_error)
}

/// Migrates the tables to [`VERSION`]. If several instances start at the same time, one instance
/// migrates and the other instances wait.
async fn migrate(connection: &mut MySqlConnection, tables: &Tables) -> Result<(), StoreError> {
    // The version is read first, so that a role without the privilege to change tables can start if
    // the tables are up to date.
    if version(connection, tables).await? >= VERSION {
        return Ok(());
    }
    // The name of the lock is a hash, because its length is limited. It includes the database,
    // because all databases of the server share the names of locks.
    let lock = format!("sha2(concat('ruts ', database(), ' {}'), 224)", tables.prefix);
    let seconds = PREPARATION.as_secs();
    let row = sqlx::raw_sql(AssertSqlSafe(format!("select get_lock({lock}, {seconds})")))
        .fetch_one(&mut *connection)
        .await
        .map_err(failure)?;
    if row.try_get::<Option<i64>, _>(0).map_err(failure)? != Some(1) {
        return Err(unsupported(Reason("another instance still holds the lock for migrations")));
    }
    let migrated = run_migrations(connection, tables).await;
    run(connection, format!("do release_lock({lock})")).await?;
    migrated
}

async fn run_migrations(
    connection: &mut MySqlConnection,
    tables: &Tables,
) -> Result<(), StoreError> {
    run(connection, versions(tables)).await?;
    for version in version(connection, tables).await? + 1..=VERSION {
        run(connection, migration(tables, version)).await?;
    }
    run(connection, fill(ROWS, tables)).await
}

async fn run(connection: &mut MySqlConnection, sql: String) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop).map_err(failure)
}

/// Returns the version of the tables, 0 if there are none.
async fn version(connection: &mut MySqlConnection, tables: &Tables) -> Result<i32, StoreError> {
    let Tables { prefix, migrations, .. } = tables;
    let exists = format!(
        "select 1 from information_schema.tables \
         where table_schema = database() and table_name = '{prefix}_migrations'"
    );
    let exists = sqlx::raw_sql(AssertSqlSafe(exists)).fetch_optional(&mut *connection).await;
    if exists.map_err(failure)?.is_none() {
        return Ok(0);
    }
    let version = format!("select cast(coalesce(max(version), 0) as signed) from {migrations}");
    let row = sqlx::raw_sql(AssertSqlSafe(version)).fetch_one(connection).await;
    let version: i64 = row.map_err(failure)?.try_get(0).map_err(failure)?;
    Ok(i32::try_from(version).unwrap_or(i32::MAX))
}
