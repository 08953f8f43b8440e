//! Servers and tables that cannot keep the contract are refused.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ruts::store::{StoreErrorKind, mysql::MySqlStore};
use ruts_tests_stores::{
    assert_unsupported,
    backends::mysql_builder,
    error_kind,
    servers::{MySql, unique_tables},
};
use ruts_tests_support::{APPLIED, TestSession};
use sqlx::Row;

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

/// Operations on a read-only server open few connections, and leave the former ones open.
#[tokio::test]
async fn a_read_only_server_gets_no_storm_of_connections() {
    let server = MySql::start(&[]);
    let (store, _) = store(&server).await;
    let session = TestSession::begin(&store).await;
    let pool = server.pool();
    let opened = async || {
        let sql = "show global status like 'Connections'";
        let row = sqlx::raw_sql(sql).fetch_one(&pool).await.unwrap();
        row.get::<String, _>(1).parse::<u64>().unwrap()
    };
    run(&pool, "set global read_only = 1").await;
    let (before, begun) = (opened().await, Instant::now());
    for _ in 0..10 {
        let reads: Vec<_> = (0..30)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move { session.load().await })
            })
            .collect();
        for read in reads {
            assert_unsupported(read.await.unwrap(), "read-only");
        }
    }
    // Without a limit, each read replaces up to ten connections. With it, ten every 100 ms at most.
    let allowed = 10 * (2 + begun.elapsed().as_millis() as u64 / 100);
    let number = opened().await - before;
    assert!(number <= allowed, "300 reads opened {number} connections, more than {allowed}");
    run(&pool, "set global read_only = 0").await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
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
    run(&server.pool(), "set global wait_timeout = 1").await;
    let (store, _) = store(&server).await;
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    // Longer than `wait_timeout`, and shorter than the idle time after which a connection is
    // tested.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(session.set("a", "2").await.unwrap(), APPLIED);
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
