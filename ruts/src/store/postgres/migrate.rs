//! Creates and migrates the tables and functions, and checks the server.
//!
//! Used by the builder of the store. Knows nothing about sessions.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::time::timeout;

use super::{
    check::{self, failure},
    error::{connection_error, timed_out, unsupported},
    identifiers::Identifiers,
    templates::fill,
};
use crate::store::{StoreError, StoreErrorKind, sql::WrongVersion};

const MIGRATIONS: [&str; 1] = [include_str!("sql/migration_1.sql")];

/// Version of the tables that this release needs.
const VERSION: i32 = MIGRATIONS.len() as i32;

/// Maximum time to create, migrate and check the tables. Includes the wait for other instances that
/// migrate or use them.
const PREPARATION: Duration = Duration::from_secs(60);

/// Seed for the key of the advisory lock on a schema's tables. The key is a hash of the schema's
/// name.
const LOCK: i64 = 7288;

/// Ignores objects that other roles created in a schema of the default search path.
const SEARCH_PATH: &str = "set local search_path = pg_catalog, pg_temp;\n";

const VERSIONS: &str = "create table if not exists {migrations} (\n  \
     version int primary key,\n  \
     applied_at timestamptz not null default now()\n);\n";

/// Returns the SQL that creates the tables, or migrates them from any earlier version.
pub(super) fn sql(identifiers: &Identifiers) -> String {
    let fill = |template: &str| fill(template, identifiers, "");
    // A valid name holds no quotation mark, so the text needs no escaping.
    let mut text = format!(
        "begin;\n\nselect pg_advisory_xact_lock(hashtextextended('{}', {LOCK}));\n\n",
        identifiers.schema
    );
    text.push_str(&fill("create schema if not exists {schema};\n\n"));
    text.push_str(SEARCH_PATH);
    text.push_str(&fill(VERSIONS));
    for version in 1..=VERSION {
        text.push_str(&fill(
            "\ndo $do$ begin\nif not exists (select from {migrations} where version",
        ));
        text.push_str(&format!(" = {version}) then\nexecute $migration$\n"));
        text.push_str(&migration(identifiers, version));
        text.push_str("\n$migration$;\nend if;\nend $do$;\n");
    }
    text.push_str("\ncommit;\n");
    text
}

fn migration(identifiers: &Identifiers, version: i32) -> String {
    let migration = fill(MIGRATIONS[version as usize - 1], identifiers, "");
    let insert = format!("insert into {{migrations}} (version) values ({version});");
    format!("{migration}\n\n{}", fill(&insert, identifiers, ""))
}

/// Checks the server and the tables. If `create_tables`, first creates or migrates the tables.
pub(super) async fn prepare(
    pool: &PgPool,
    identifiers: &Identifiers,
    create_tables: bool,
    connect_timeout: Duration,
) -> Result<(), StoreError> {
    let timed_out = |_| timed_out(StoreErrorKind::Unavailable);
    check::prepared_statements(pool, connect_timeout).await?;
    let connection = timeout(connect_timeout, pool.acquire()).await.map_err(timed_out)?;
    let mut connection = connection.map_err(connection_error)?;
    let prepared = timeout(PREPARATION, async {
        // Checked first, so that a server on which no table can be created is refused with the
        // reason.
        check::server(&mut connection).await?;
        if create_tables {
            migrate(&mut connection, identifiers).await?;
        }
        check_tables(&mut connection, identifiers).await?;
        // The statements that were prepared before a migration are outdated after it, so the
        // connection drops them.
        let _ = connection.clear_cached_statements().await;
        Ok::<_, StoreError>(())
    });
    let prepared = prepared.await;
    if prepared.is_err() {
        // The connection is detached, because its return to the pool would wait for the statement.
        drop(connection.detach());
    }
    prepared.map_err(timed_out)?
}

/// Checks the version of the tables, and the privileges of the role.
async fn check_tables(
    connection: &mut PgConnection,
    identifiers: &Identifiers,
) -> Result<(), StoreError> {
    match version(connection, identifiers).await? {
        VERSION => {}
        found => {
            let builder = "PostgresStoreBuilder";
            return Err(unsupported(WrongVersion { found, needed: VERSION, builder }));
        }
    }
    check::rights(connection, identifiers).await?;
    check::epoch(connection, identifiers).await?;
    check::round_trip(connection, identifiers).await
}

/// Migrates the tables to [`VERSION`]. If several instances start at the same time, one instance
/// migrates and the other instances wait.
async fn migrate(
    connection: &mut PgConnection,
    identifiers: &Identifiers,
) -> Result<(), StoreError> {
    // The version is read first, so that a role without the privilege to change tables can start if
    // the tables are up to date.
    if version(connection, identifiers).await? >= VERSION {
        return Ok(());
    }
    let mut transaction = connection.begin().await.map_err(failure)?;
    run(&mut transaction, SEARCH_PATH.to_owned()).await?;
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, $2))")
        .bind(&identifiers.schema)
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failure)?;
    let mut applied = version(&mut transaction, identifiers).await?;
    if applied == 0 {
        let exists = sqlx::query("select 1 from pg_namespace where nspname = $1")
            .bind(&identifiers.schema)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failure)?;
        if exists.is_none() {
            run(&mut transaction, fill("create schema {schema}", identifiers, "")).await?;
        }
        run(&mut transaction, fill(VERSIONS, identifiers, "")).await?;
    }
    while applied < VERSION {
        applied += 1;
        run(&mut transaction, migration(identifiers, applied)).await?;
    }
    transaction.commit().await.map_err(failure)
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop).map_err(failure)
}

/// Returns the version of the tables, 0 if there are none.
async fn version(
    connection: &mut PgConnection,
    identifiers: &Identifiers,
) -> Result<i32, StoreError> {
    // `to_regclass` could miss a table that was created during the wait for the lock.
    let exists: bool = sqlx::query_scalar(
        "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1 and c.relname = $2)",
    )
    .bind(&identifiers.schema)
    .bind(format!("{}_migrations", identifiers.table))
    .fetch_one(&mut *connection)
    .await
    .map_err(failure)?;
    if !exists {
        return Ok(0);
    }
    let sql = fill("select coalesce(max(version), 0) from {migrations}", identifiers, "");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.map_err(failure)
}
