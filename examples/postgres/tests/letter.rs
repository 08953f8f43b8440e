#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! The letter, with sessions in PostgreSQL.

use ruts::store::postgres::PostgresStoreBuilder;
use ruts_tests::{Browser, servers::Postgres};

#[tokio::test]
async fn it_outlives_a_restart_and_is_sent_once() {
    let server = Postgres::shared();
    let schema = server.schema();
    let app = async || {
        let builder = PostgresStoreBuilder::new(server.pool(2), true).schema_name(schema.name());
        postgres_example::app(builder.build().await.unwrap())
    };
    let browser = Browser::new(app().await).on_host("localhost");
    browser.post("/save", "recipient=Ada").await;
    browser.post("/save", "text=Hello").await;

    let browser = browser.after_a_restart(app().await);
    assert_eq!(browser.text("/").await, "Dear Ada,\nHello\n");
    browser.post("/send", "").await;
    assert_eq!(browser.text("/").await, "The letter to Ada is on its way.\n");
    assert_eq!(browser.text("/").await, "Dear ,\n\n");
}
