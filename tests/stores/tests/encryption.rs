//! Tests of fields that are encrypted at rest: the data on each server, and values that an attacker
//! moves.

use std::sync::Arc;

use ruts_tests_stores::{backends, servers::Postgres};
use ruts_tests_support::{
    ClientExt, new_client,
    scenarios::encryption::{FIRST_SECRET, a_store_holds_no_plaintext, app},
};
use sqlx::AssertSqlSafe;

macro_rules! on_each_store {
    ($($backend:ident),+ $(,)?) => {
        $(
            // proves: CS-3
            #[tokio::test]
            async fn $backend() {
                let pair = backends::$backend().await;
                a_store_holds_no_plaintext(&pair.next()).await;
            }
        )+
    };
}

on_each_store!(
    redis_through_fred,
    redis_through_redis_rs,
    valkey_through_fred,
    postgres,
    mysql,
    redis_over_postgres,
    memory_over_postgres,
);

// proves: CS-3
#[tokio::test]
async fn a_value_in_another_session_or_field_is_refused() {
    let (store, pool, schema) = backends::postgres_on(Postgres::shared()).await;
    let client = new_client(app(&Arc::new(store), &[FIRST_SECRET]));
    let other = client.stranger();
    for client in [&client, &other] {
        client.text("/edit").await;
        client.text("/visit").await;
    }
    let fields: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select table_name::text from information_schema.columns \
         where table_schema = '{}' and column_name = 'value'",
        schema.name()
    )))
    .fetch_all(&pool)
    .await
    .unwrap();
    let [fields] = &fields[..] else {
        panic!("the schema should have one table of fields: {fields:?}")
    };
    // Exchanges the addresses of both sessions.
    let exchanged = sqlx::query(AssertSqlSafe(format!(
        "update {0}.{fields} a set value = b.value from {0}.{fields} b \
         where a.name = 'address' and b.name = 'address' and a.session <> b.session",
        schema.name()
    )))
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(exchanged.rows_affected(), 2);
    assert_eq!(client.text("/read").await, "Tampered");
    assert_eq!(other.text("/map").await, "Tampered");
    // Copies the note of a session into its address.
    sqlx::query(AssertSqlSafe(format!(
        "update {0}.{fields} a set value = b.value from {0}.{fields} b \
         where a.name = 'address' and b.name = 'note' and a.session = b.session",
        schema.name()
    )))
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(client.text("/read").await, "Tampered");
    assert_eq!(client.text("/visit").await, "2");
}
