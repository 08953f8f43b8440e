//! Tests of MariaDB and MySQL only:
//!
//! - the tables (`tables`),
//! - refused settings (`checks`),
//! - faults of the server and the network (`faults`),
//! - batches (`batches`),
//! - the number of rows that operations read (`growth`).

mod batches;
mod checks;
mod faults;
mod growth;
mod tables;

use std::sync::Arc;

use ruts::store::mysql::MySqlStore;
use ruts_tests_stores::{
    backends::mysql_builder,
    servers::{MySql, unique_tables},
};
use ruts_tests_support::TestSession;
use sqlx::{AssertSqlSafe, Executor, MySqlConnection, MySqlPool, Row};

/// Returns a store in tables of its own, and the name of these tables.
async fn store(server: &MySql) -> (Arc<MySqlStore>, String) {
    let tables = unique_tables();
    let store = mysql_builder(server, &tables).build().await.unwrap();
    (Arc::new(store), tables)
}

/// Returns the SQL condition for the row of a session.
fn row_of<S>(session: &TestSession<S>) -> String {
    let id = session.id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("id = x'{id}'")
}

async fn run(pool: &MySqlPool, sql: impl Into<String>) {
    pool.execute(sqlx::raw_sql(AssertSqlSafe(sql.into()))).await.unwrap();
}

async fn run_on(connection: &mut MySqlConnection, sql: impl Into<String>) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.into()))).await.unwrap();
}

async fn number(pool: &MySqlPool, sql: impl Into<String>) -> i64 {
    let row = sqlx::raw_sql(AssertSqlSafe(sql.into())).fetch_one(pool).await.unwrap();
    row.get(0)
}
