#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! Tests the letter-writing app of this example, with its sessions in PostgreSQL.

use ruts::store::postgres::PostgresStore;
use ruts_tests_stores::servers::Postgres;
use ruts_tests_support::{ClientExt, new_client_on};

#[tokio::test]
async fn a_letter_survives_a_restart_and_is_sent_once() {
    let server = Postgres::shared();
    let schema = server.schema();
    let start = async || {
        let builder = PostgresStore::builder(server.pool(2)).create_tables(true);
        let builder = builder.schema_name(schema.name());
        new_client_on("localhost", postgres_example::app(builder.build().await.unwrap()))
    };
    let client = start().await;
    client.post("/save", "recipient=Ada").await;
    client.post("/save", "text=Hello").await;

    let client = client.after_a_restart(&start().await);
    assert_eq!(client.text("/").await, "Dear Ada,\nHello\n");
    // The second click finds no letter.
    client.post("/send", "").await;
    client.post("/send", "").await;
    assert_eq!(client.text("/").await, "The letter to Ada is on its way.\n");
    assert_eq!(client.text("/").await, "Dear ,\n\n");
}
