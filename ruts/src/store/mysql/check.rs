//! Checks whether the server, the tables and the role allow the store to keep its contract.
//!
//! Used by `migrate`. Does not depend on the version of the tables.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::{AssertSqlSafe, Error, MySqlConnection, Row, mysql::MySqlRow};
use tokio::time::Instant;
use tracing::warn;

use super::{
    error::{READ_ONLY, Reason, StatementError, statement_error, unsupported},
    executor::{Attempt, Executor, Work},
    opening::READ_COMMITTED,
    reading::IS_READ_ONLY,
    rows::Origin,
    script::{Hex, Script},
    tables::{LOCKS, Tables},
    writing::insert,
};
use crate::{
    store::{Create, FieldWrite, SessionRecord, StoreError},
    token::{SecretHash, SessionId, random},
};

/// After the `sleep`, `sysdate` is later than `now`, unless the server runs with `sysdate-is-now`.
const SERVER: &str = "select version(), sleep(0.002), sysdate(6) > now(6), \
     @@global.innodb_flush_log_at_trx_commit = 1, cast(@@session.max_allowed_packet as signed)";

/// Selects the settings of the connection. The isolation level is `transaction_isolation` in MySQL,
/// and `tx_isolation` or both in MariaDB. So is `transaction_read_only`.
const SETTINGS: &str = "show session variables where variable_name in \
     ('transaction_isolation', 'tx_isolation', 'transaction_read_only', 'tx_read_only', \
     'autocommit', 'time_zone', 'sql_mode')";

const PROXY: Reason = Reason(
    "a proxy in front of the server does not keep the settings of a connection: \
     isolation level, access mode, `autocommit`, `time_zone` and `sql_mode`",
);

/// Checks version and settings of the server. Returns the maximum size of a packet in bytes.
pub(super) async fn server(connection: &mut MySqlConnection) -> Result<usize, StoreError> {
    let row = select(connection, SERVER).await?;
    if !is_recent(&row.try_get::<String, _>(0).map_err(failure)?) {
        return Err(unsupported(Reason("MariaDB 10.6 or MySQL 8.0 or later is needed")));
    }
    if row.try_get::<i64, _>(2).map_err(failure)? == 0 {
        return Err(unsupported(Reason(
            "the server runs with `sysdate-is-now`, so its clock does not advance while a statement \
             waits: start it without this option",
        )));
    }
    if row.try_get::<i64, _>(3).map_err(failure)? == 0 {
        warn!(
            "`innodb_flush_log_at_trx_commit` of the server is not 1: \
             ended sessions may be live again after a crash"
        );
    }
    let max_packet: i64 = row.try_get(4).map_err(failure)?;
    let row = select(connection, &format!("select {IS_READ_ONLY}")).await?;
    if row.try_get::<i64, _>(0).map_err(failure)? != 0 {
        return Err(unsupported(READ_ONLY));
    }
    settings(connection).await?;
    Ok(usize::try_from(max_packet).unwrap_or(usize::MAX))
}

/// Checks that the settings that the store makes on a new connection are in force.
async fn settings(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    let settings = sqlx::raw_sql(SETTINGS).fetch_all(connection).await.map_err(failure)?;
    for setting in settings {
        let name: String = setting.try_get(0).map_err(failure)?;
        let value: String = setting.try_get(1).map_err(failure)?;
        let is_right = match &*name.to_ascii_lowercase() {
            "autocommit" => value == "ON",
            "transaction_read_only" | "tx_read_only" => value == "OFF",
            "time_zone" => value == "+00:00",
            "sql_mode" => value.contains("STRICT_ALL_TABLES"),
            _ => value == "READ-COMMITTED",
        };
        if !is_right {
            return Err(unsupported(PROXY));
        }
    }
    Ok(())
}

/// Checks that the tables use the InnoDB engine, which has transactions.
pub(super) async fn engines(
    connection: &mut MySqlConnection,
    tables: &Tables,
) -> Result<(), StoreError> {
    let names = tables.all().map(|name| name.replace('`', "'")).join(", ");
    let others = format!(
        "select count(*) from information_schema.tables where table_schema = database() \
         and table_name in ({names}) and engine <> 'InnoDB'"
    );
    let row = select(connection, &others).await?;
    match row.try_get::<i64, _>(0).map_err(failure)? {
        0 => Ok(()),
        _ => Err(unsupported(Reason("the tables have to use the InnoDB engine"))),
    }
}

/// Returns whether the table of locks and the table of the epoch have all their rows.
pub(super) async fn has_rows(
    connection: &mut MySqlConnection,
    tables: &Tables,
) -> Result<bool, StoreError> {
    let Tables { locks, epoch, .. } = tables;
    let rows = format!(
        "select (select count(*) from {locks} where n between 0 and {}) = {LOCKS} \
         and exists (select 1 from {epoch})",
        LOCKS - 1
    );
    let row = select(connection, &rows).await?;
    Ok(row.try_get::<i64, _>(0).map_err(failure)? != 0)
}

/// Creates, reads and deletes a session in a transaction that is rolled back. This fails if the
/// role lacks a privilege, or if the server has an unsuitable setting.
pub(super) async fn round_trip(executor: &Arc<Executor>) -> Result<(), StoreError> {
    let id = SessionId::from_bytes(random().map_err(unsupported)?);
    let secret = SecretHash::from_bytes(random().map_err(unsupported)?);
    let trial = Trial { tables: executor.tables.clone(), id, secret };
    executor.run(trial, Instant::now() + executor.timeout).await.map_err(Into::into)
}

struct Trial {
    tables: Tables,
    id: SessionId,
    secret: SecretHash,
}

impl Work for Trial {
    type Answer = ();

    async fn run(&self, attempt: &mut Attempt<'_>) -> Result<(), StatementError> {
        let Self { tables, id, secret } = self;
        // An empty value has to be stored as an empty value, not as null.
        let value = Bytes::new();
        let fields = [FieldWrite::new("check", &value)];
        let create = Create::new(id, secret).fields(&fields);
        let record = SessionRecord::new(&create, std::time::Duration::ZERO);
        let mut script = Script::of(READ_COMMITTED);
        script.push("start transaction");
        script.push(format_args!("select n from {} where n = 0 for update", tables.locks));
        insert(&mut script, tables, id, &record, Origin::Statement);
        let read = script.push(format_args!(
            "select 1 from {} s join {} f on f.session = s.number \
             where s.id = {} and length(f.value) = 0 for update",
            tables.sessions,
            tables.fields,
            Hex(id.as_bytes())
        ));
        script.push(format_args!(
            "update {} set revoked = 1 where id = {}",
            tables.sessions,
            Hex(id.as_bytes())
        ));
        script.push(format_args!("update {} set epoch = epoch where one = 0", tables.epoch));
        script.push(format_args!(
            "delete f from {} s join {} f on f.session = s.number where s.id = {}",
            tables.sessions,
            tables.fields,
            Hex(id.as_bytes())
        ));
        script.push(format_args!(
            "delete from {} where id = {}",
            tables.sessions,
            Hex(id.as_bytes())
        ));
        let answers = attempt.begin(&script).await?;
        match answers.get(read).map_or(0, |answer| answer.rows.len()) {
            1 => Ok(()),
            _ => Err(unsupported(Reason(
                "the server changed a value that the store wrote as a test",
            ))
            .into()),
        }
    }
}

async fn select(connection: &mut MySqlConnection, sql: &str) -> Result<MySqlRow, StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection).await.map_err(failure)
}

/// Returns whether this version of the server is recent enough.
fn is_recent(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version_number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let oldest = if version.contains("MariaDB") { (10, 6) } else { (8, 0) };
    version_number >= oldest
}

pub(super) fn failure(error: Error) -> StoreError {
    statement_error(error, false, false).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_refused() {
        for version in ["10.6.0-MariaDB", "11.8.9-MariaDB-0+deb13u1", "8.0.36", "9.7.4-0ubuntu1"] {
            assert!(is_recent(version), "{version}");
        }
        for version in ["10.5.29-MariaDB", "5.5.68-MariaDB", "5.7.44-log", "", "MariaDB"] {
            assert!(!is_recent(version), "{version}");
        }
    }
}
