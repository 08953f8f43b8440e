//! Servers and tables that cannot keep the contract are refused.

use std::sync::Arc;

use ruts::store::{StoreErrorKind, mysql::MySqlStore};
use ruts_tests_stores::{
    assert_unsupported,
    backends::mysql_builder,
    error_kind,
    servers::{MySql, unique_tables},
};
use ruts_tests_support::{APPLIED, TestSession};

use super::{run, store};

#[tokio::test]
async fn a_table_without_transactions_is_refused() {
    let server = MySql::shared();
    let (store, tables) = store(server).await;
    run(&server.pool(), format!("alter table {tables}_fields engine = MyISAM")).await;
    assert_unsupported(store.check().await, "InnoDB");
    assert_unsupported(mysql_builder(server, &tables).build().await, "InnoDB");
}

#[tokio::test]
async fn a_clock_that_stands_still_is_refused() {
    let server = MySql::start(&["sysdate-is-now"]);
    let built = mysql_builder(&server, "sessions").build().await;
    assert_unsupported(built, "sysdate-is-now");
}

#[tokio::test]
async fn a_read_only_server_is_refused_and_left() {
    let server = MySql::start(&[]);
    let (store, _) = store(&server).await;
    let session = TestSession::begin(&store).await;
    let pool = server.pool();
    run(&pool, "set global read_only = 1").await;
    assert_unsupported(store.check().await, "read-only");
    assert_unsupported(session.load().await, "read-only");
    run(&pool, "set global read_only = 0").await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
}

/// The connections of the store do not depend on the default settings of the server.
#[tokio::test]
async fn unusual_defaults_change_nothing() {
    let server = MySql::start(&[
        "transaction-isolation=SERIALIZABLE",
        "default-time-zone=+05:45",
        "sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
        "autocommit=0",
    ]);
    run(&server.pool(), "set global transaction read only").await;
    let (store, _) = store(&server).await;
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    assert!(session.load_and_touch().await.unwrap().is_ok());
    let (other, _) = super::store(&server).await;
    TestSession::begin(&other).await;
    store.check().await.unwrap();
}

#[tokio::test]
async fn an_unknown_user_and_database_are_refused() {
    let options = MySql::shared().options();
    for options in [
        options.clone().username("stranger").password("wrong"),
        options.clone().database("nowhere"),
    ] {
        let store = MySqlStore::builder(options).table_name(unique_tables()).create_tables(true);
        assert_eq!(error_kind(store.build().await), StoreErrorKind::Unsupported);
    }
}

/// The text of a statement contains values, so no statement is logged.
#[tokio::test(flavor = "current_thread")]
async fn no_value_is_logged() {
    let (log, _guard) = ruts_tests_support::Log::start();
    let (store, _) = store(MySql::shared()).await;
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "0123456789").await.unwrap(), APPLIED);
    assert_eq!(session.get("a").await.unwrap().unwrap(), "0123456789");
    let store = Arc::clone(&store);
    let duplicate = TestSession { store, ..session.clone() };
    assert_eq!(error_kind(duplicate.create(None).await), StoreErrorKind::Exists);
    let text = log.text();
    let digits: String = b"0123456789".iter().map(|byte| format!("{byte:02x}")).collect();
    for forbidden in ["insert into", "select ", &digits] {
        assert!(!text.contains(forbidden), "{forbidden} in {text}");
    }
}
