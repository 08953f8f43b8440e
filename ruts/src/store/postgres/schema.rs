use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use tracing::warn;

use super::{
    failure::{STANDBY, Unfit, failed, unfit},
    names::Names,
};
use crate::store::StoreError;

const MIGRATIONS: [&str; 1] = [include_str!("sql/migration_1.sql")];

/// The version of the schema that this release works with.
const VERSION: i32 = MIGRATIONS.len() as i32;

/// The database is not of a version that this release works with.
#[derive(Debug, thiserror::Error)]
enum Outdated {
    #[error(
        "version {VERSION} of the tables is needed and version {0} is there: \
         let the builder migrate, or run what `PostgresStoreBuilder::sql` says"
    )]
    Behind(i32),
    #[error(
        "version {0} of the tables is there, which a later release made: this one knows {VERSION}"
    )]
    Ahead(i32),
}

fn statement_failed(error: sqlx::Error) -> StoreError {
    failed(error).into()
}

/// Everything that has to be run on an empty database.
pub(super) fn sql(names: &Names) -> String {
    let mut text = names.fill("begin;\n\ncreate schema if not exists {schema};\n");
    text.push_str(OWN_PATH);
    text.push_str(&names.fill(VERSIONS));
    for version in 1..=VERSION {
        text.push('\n');
        text.push_str(&migration(names, version));
    }
    text.push_str("\ncommit;\n");
    text
}

/// What others made in a schema of the path stays out of it.
const OWN_PATH: &str = "set local search_path = pg_catalog, pg_temp;\n";

const VERSIONS: &str = "create table if not exists {migrations} (\n  \
     version int primary key,\n  \
     applied_at timestamptz not null default now()\n);\n";

fn migration(names: &Names, version: i32) -> String {
    let mut text = names.fill(MIGRATIONS[version as usize - 1]);
    text.push_str(
        &names.fill(&format!("\ninsert into {{migrations}} (version) values ({version});\n")),
    );
    text
}

/// Whether the server keeps the contract, and its tables are of the version needed.
pub(super) async fn check(connection: &mut PgConnection, names: &Names) -> Result<(), StoreError> {
    let row = sqlx::query(
        "select current_setting('server_version_num')::int >= 150000, \
         not pg_is_in_recovery(), \
         current_setting('transaction_isolation') = 'read committed', \
         current_setting('synchronous_commit') <> 'off' and current_setting('fsync') <> 'off'",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(statement_failed)?;
    for (column, complaint) in [
        Unfit("PostgreSQL 15 or later is needed"),
        STANDBY,
        Unfit("transactions have to be `read committed` by default"),
    ]
    .into_iter()
    .enumerate()
    {
        if !row.try_get::<bool, _>(column).map_err(statement_failed)? {
            return Err(unfit(complaint));
        }
    }
    if !row.try_get::<bool, _>(3).map_err(statement_failed)? {
        warn!(
            "PostgreSQL runs with `synchronous_commit` or `fsync` off: \
             after a crash, sessions that were ended may be back"
        );
    }
    match version(connection, names).await? {
        VERSION => Ok(()),
        older if older < VERSION => Err(unfit(Outdated::Behind(older))),
        newer => Err(unfit(Outdated::Ahead(newer))),
    }
}

/// Brings the tables to the version needed. Of several instances that start at once, one does it and
/// the others wait.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    names: &Names,
) -> Result<(), StoreError> {
    // A role that may not change tables can still start on a database that is up to date.
    if version(connection, names).await? >= VERSION {
        return Ok(());
    }
    let mut transaction = connection.begin().await.map_err(statement_failed)?;
    run(&mut transaction, OWN_PATH.to_owned()).await?;
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 7288))")
        .bind(&names.schema)
        .execute(&mut *transaction)
        .await
        .map_err(statement_failed)?;
    let mut applied = version(&mut transaction, names).await?;
    if applied == 0 {
        let exists = sqlx::query("select 1 from pg_namespace where nspname = $1")
            .bind(&names.schema)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(statement_failed)?;
        if exists.is_none() {
            run(&mut transaction, names.fill("create schema {schema}")).await?;
        }
        run(&mut transaction, names.fill(VERSIONS)).await?;
    }
    while applied < VERSION {
        applied += 1;
        run(&mut transaction, migration(names, applied)).await?;
    }
    transaction.commit().await.map_err(statement_failed)
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop).map_err(statement_failed)
}

/// The version of the tables that are there; 0 if there are none.
async fn version(connection: &mut PgConnection, names: &Names) -> Result<i32, StoreError> {
    // Not `to_regclass`: it remembers what was not there before it waited for the lock.
    let exists: bool = sqlx::query(
        "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1 and c.relname = $2)",
    )
    .bind(&names.schema)
    .bind(format!("{}_migrations", names.table))
    .fetch_one(&mut *connection)
    .await
    .and_then(|row| row.try_get(0))
    .map_err(statement_failed)?;
    if !exists {
        return Ok(0);
    }
    sqlx::query(AssertSqlSafe(names.fill("select coalesce(max(version), 0) from {migrations}")))
        .fetch_one(connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(statement_failed)
}
