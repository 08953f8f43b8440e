//! Checks whether the server, the tables and the role allow the store to keep its contract.
//!
//! Used by `migrate`. Does not depend on the version of the tables.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Error, PgConnection, PgPool, Row};
use tokio::time::timeout;
use tracing::warn;

use super::{
    error::{STANDBY, Unsuitable, connection_error, statement_error, timed_out, unsupported},
    identifiers::Identifiers,
    templates::fill,
};
use crate::store::{StoreError, StoreErrorKind};

/// Maximum time for a pooler to open a second connection to its server.
const SECOND_CONNECTION: Duration = Duration::from_secs(5);

const POOLER: Unsuitable = Unsuitable(
    "a pooler in front of the server loses prepared statements: use PgBouncer 1.21 or later with \
     `max_prepared_statements` above zero, or a different pool mode",
);

const HIDDEN: Unsuitable = Unsuitable(
    "row-level security hides sessions from the role that writes them: disable it for the tables of \
     the store",
);

/// The role lacks a privilege.
#[derive(Debug, thiserror::Error)]
#[error("the role lacks the privilege `{0}`")]
struct MissingRight(String);

/// The columns of [`SERVER`].
#[derive(Clone, Copy)]
enum ServerColumn {
    Recent,
    Primary,
    Writable,
    ReadCommitted,
    Unicode,
    Durable,
}

const SERVER: &str = "select current_setting('server_version_num')::int >= 150000, \
     not pg_is_in_recovery(), \
     current_setting('transaction_read_only') = 'off', \
     current_setting('transaction_isolation') = 'read committed', \
     current_setting('server_encoding') in ('UTF8', 'SQL_ASCII'), \
     current_setting('synchronous_commit') <> 'off' and current_setting('fsync') <> 'off'";

/// Selects a privilege that the role lacks.
///
/// $1 schema, $2 names of the functions
const RIGHTS: &str = "select r || ' on ' || t \
     from unnest(array['{sessions}', '{fields}', '{epoch}']) t, \
     unnest(array['select', 'insert', 'update', 'delete']) r \
     where not has_table_privilege(t, r) \
     union all \
     select 'execute on ' || p.proname from pg_proc p \
     join pg_namespace n on n.oid = p.pronamespace \
     where n.nspname = $1 and p.proname = any ($2) \
     and not has_function_privilege(p.oid, 'execute') \
     limit 1";

const NO_EPOCH: Unsuitable =
    Unsuitable("the table of the epoch has no row: insert an epoch above that of all sessions");

/// SQLSTATE of the error that [`TRIAL`] raises if the role does not see what it has written.
const IS_HIDDEN: &str = "RUT03";

/// Creates a session with a field and reads it. The error rolls both back.
const TRIAL: &str = "do $$ \
     declare trial bytea := uuid_send(gen_random_uuid()); found boolean; \
     begin \
       begin \
         perform {create}(trial, trial, null, null, null, null, null, null, \
           array['check'], array[''::bytea], array[0::bigint], array[null::bigint]); \
         select count(*) = 1 into found from {sessions} s join {fields} f on f.session = s.id \
         where s.session_id = trial; \
         raise exception using errcode = 'RUT04'; \
       exception when sqlstate 'RUT04' then null; \
       end; \
       if not found then \
         raise exception using errcode = 'RUT03', message = 'the session is hidden'; \
       end if; \
     end $$";

/// Checks the version and the settings of the server. Also checks that the server is not a standby.
pub(super) async fn server(connection: &mut PgConnection) -> Result<(), StoreError> {
    let row = sqlx::query(SERVER).fetch_one(&mut *connection).await.map_err(failure)?;
    let holds = |column: ServerColumn| row.try_get::<bool, _>(column as usize).map_err(failure);
    for (column, reason) in [
        (ServerColumn::Recent, Unsuitable("PostgreSQL 15 or later is needed")),
        (ServerColumn::Primary, STANDBY),
        (
            ServerColumn::Writable,
            Unsuitable("transactions are read-only: `default_transaction_read_only` must be off"),
        ),
        (
            ServerColumn::ReadCommitted,
            Unsuitable("the default transaction isolation must be `read committed`"),
        ),
        (
            ServerColumn::Unicode,
            Unsuitable(
                "the encoding of the database cannot represent every name of a field: use a database \
                 with the encoding `UTF8`",
            ),
        ),
    ] {
        if !holds(column)? {
            return Err(unsupported(reason));
        }
    }
    if !holds(ServerColumn::Durable)? {
        warn!(
            "PostgreSQL runs with `synchronous_commit` or `fsync` off: \
             ended sessions may be live again after a crash"
        );
    }
    Ok(())
}

/// Checks that the role has every privilege that the store needs.
pub(super) async fn rights(
    connection: &mut PgConnection,
    identifiers: &Identifiers,
) -> Result<(), StoreError> {
    let missing = sqlx::query_scalar(AssertSqlSafe(fill(RIGHTS, identifiers, "")))
        .bind(&identifiers.schema)
        .bind(identifiers.functions())
        .fetch_optional(connection)
        .await
        .map_err(failure)?;
    missing.map_or(Ok(()), |missing| Err(unsupported(MissingRight(missing))))
}

/// Creates a session and reads it, in a block that is rolled back. Row-level security may prevent
/// the creation or the read.
///
/// One statement does both, because the functions of the store refuse to run in a transaction of
/// several statements.
pub(super) async fn round_trip(
    connection: &mut PgConnection,
    identifiers: &Identifiers,
) -> Result<(), StoreError> {
    match sqlx::query(AssertSqlSafe(fill(TRIAL, identifiers, ""))).execute(connection).await {
        Err(Error::Database(error)) if error.code().is_some_and(|code| code == IS_HIDDEN) => {
            Err(unsupported(HIDDEN))
        }
        tried => tried.map(drop).map_err(failure),
    }
}

/// Checks that the table of the epoch has its row. Without the row, it is not known which sessions
/// have ended.
pub(super) async fn epoch(
    connection: &mut PgConnection,
    identifiers: &Identifiers,
) -> Result<(), StoreError> {
    let exists = fill("select exists (select from {epoch})", identifiers, "");
    let exists = sqlx::query_scalar(AssertSqlSafe(exists)).fetch_one(connection).await;
    if exists.map_err(failure)? { Ok(()) } else { Err(unsupported(NO_EPOCH)) }
}

/// Checks that a prepared statement stays the same when a pooler moves the client to a different
/// server connection.
///
/// Two clients prepare different statements, to which sqlx gives the same name. While one client
/// holds a transaction open, the pooler needs a second server connection for the other client. The
/// clients take turns.
pub(super) async fn prepared_statements(
    pool: &PgPool,
    connect_timeout: Duration,
) -> Result<(), StoreError> {
    let options = pool.connect_options();
    let connect = async || {
        let connecting = timeout(connect_timeout, PgConnection::connect_with(&options)).await;
        connecting.map_err(|_| timed_out(StoreErrorKind::Unavailable))?.map_err(connection_error)
    };
    let mut clients = [(connect().await?, 1), (connect().await?, 2)];
    for _ in 0..4 {
        for (client, number) in &mut clients {
            is_prepared(client, *number).await?;
        }
        let [(holder, held), (other, number)] = &mut clients;
        let mut transaction = holder.begin().await.map_err(failure)?;
        is_prepared(&mut transaction, *held).await?;
        // A timeout is no failure: a pooler may have only one server connection, and the checks so
        // far found no mix-up on it.
        let Ok(answer) = timeout(SECOND_CONNECTION, is_prepared(other, *number)).await else {
            return Ok(());
        };
        answer?;
        transaction.commit().await.map_err(failure)?;
        clients.reverse();
    }
    Ok(())
}

async fn is_prepared(client: &mut PgConnection, number: i32) -> Result<(), StoreError> {
    let sql = AssertSqlSafe(format!("select {number} as prepared"));
    match sqlx::query_scalar::<_, i32>(sql).fetch_one(client).await {
        Ok(answer) if answer == number => Ok(()),
        Ok(_) => Err(unsupported(POOLER)),
        Err(Error::Database(error)) if is_mixed_up(&error.code().unwrap_or_default()) => {
            Err(unsupported(POOLER))
        }
        Err(error) => Err(failure(error)),
    }
}

/// Returns whether a prepared statement does not exist, or a different statement has its name.
fn is_mixed_up(code: &str) -> bool {
    matches!(code, "26000" | "42P05")
}

pub(super) fn failure(error: Error) -> StoreError {
    statement_error(error, false).into()
}
