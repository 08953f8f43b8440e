//! Pending reads share a statement, and each has its own answer.

use std::{sync::Arc, time::Duration};

use ruts::{
    store::{Projection, Refused, StoreErrorKind, mysql::MySqlStore},
    token::SecretHash,
};
use ruts_tests_stores::{
    backends::mysql_builder,
    servers::{MySql, unique_tables},
};
use ruts_tests_support::{APPLIED, DELETED, LONG_TIMEOUT, TestSession, random, wait_until};
use sqlx::{MySqlPool, Row};
use tokio::task::yield_now;

use super::{number, run_on};

/// Number of reads of a full batch.
const FULL: usize = 64;

/// Number of attempts to fill a batch. On a busy machine a command counts as slow after 200 ms, and
/// pending operations are sent before its answer.
const ROUNDS: usize = 8;

/// Returns the number of `select` statements that the server has run so far.
async fn selects(pool: &MySqlPool) -> u64 {
    let row = sqlx::raw_sql("show global status like 'Com_select'").fetch_one(pool).await.unwrap();
    row.get::<String, _>(1).parse().unwrap()
}

async fn wait_for_blocked(pool: &MySqlPool) {
    let blocked = "select count(*) from information_schema.processlist \
                   where state = 'Waiting for table metadata lock'";
    wait_until("a read waits", async || number(pool, blocked).await > 0).await;
}

#[tokio::test]
async fn waiting_reads_form_a_batch() {
    let (server, tables) = (MySql::start(&[]), unique_tables());
    let builder = mysql_builder(&server, &tables).max_connections(2).timeout(LONG_TIMEOUT);
    let store = Arc::new(builder.build().await.unwrap());
    let pool = server.pool();
    let mut sessions = Vec::new();
    for _ in 0..FULL {
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        sessions.push(session);
    }
    assert_eq!(sessions[2].delete().await.unwrap(), DELETED);
    let secret = SecretHash::from_bytes(random());
    assert_eq!(sessions[3].rotate(&secret).await.unwrap(), APPLIED);
    assert_eq!(sessions[4].set("a", "2").await.unwrap(), APPLIED);
    let thief = sessions[1].with_wrong_secret();
    let absent = TestSession::new(&store);
    let read = |session: TestSession<MySqlStore>| async move {
        session.load_fields(Projection::Named(&["a", "b"]), None).await
    };
    let mut statements = Vec::new();
    for _ in 0..ROUNDS {
        let mut lock = pool.acquire().await.unwrap();
        run_on(&mut lock, format!("lock tables {tables} write")).await;
        let first = tokio::spawn(read(sessions[0].clone()));
        wait_for_blocked(&pool).await;
        let mut others = Vec::new();
        // One session is read twice.
        for session in sessions[1..FULL - 2].iter().chain([&sessions[1], &thief, &absent]) {
            others.push(tokio::spawn(read(session.clone())));
            for _ in 0..10 {
                yield_now().await;
            }
        }
        let before = selects(&pool).await;
        run_on(&mut lock, "unlock tables").await;
        assert!(first.await.unwrap().unwrap().is_ok());
        for (number, other) in others.into_iter().enumerate() {
            let answer = other.await.unwrap().unwrap();
            let holds =
                |value: &str| answer.as_ref().is_ok_and(|loaded| loaded.fields[0].value == value);
            let is_expected = match number + 1 {
                2 => matches!(answer, Err(Refused::Ended { .. })),
                3 => matches!(answer, Err(Refused::Replaced { .. })),
                4 => holds("2"),
                63.. => answer == Err(Refused::NotFound),
                _ => holds("1"),
            };
            assert!(is_expected, "{number}: {answer:?}");
        }
        statements.push(selects(&pool).await - before);
    }
    assert!(statements.contains(&1), "a round should take one statement: {statements:?}");
}

/// If these reads were sent again, a server that stalls for longer than the timeout would get one statement
/// for each read.
#[tokio::test]
async fn reads_that_time_out_in_a_batch_are_not_sent_again() {
    let (server, tables) = (MySql::start(&[]), unique_tables());
    let builder = mysql_builder(&server, &tables).max_connections(4);
    let store = Arc::new(builder.timeout(Duration::from_secs(2)).build().await.unwrap());
    let pool = server.pool();
    let session = TestSession::begin(&store).await;
    let mut lock = pool.acquire().await.unwrap();
    run_on(&mut lock, format!("lock tables {tables} write")).await;
    let before = selects(&pool).await;
    let mut reads = Vec::new();
    for _ in 0..30 {
        let session = session.with_wrong_secret();
        reads.push(tokio::spawn(async move { session.load().await }));
        yield_now().await;
    }
    for read in reads {
        assert_eq!(read.await.unwrap().unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    run_on(&mut lock, "unlock tables").await;
    wait_until("the store answers", async || session.load().await.is_ok()).await;
    // Up to eight reads of one session are in a batch.
    let sent = selects(&pool).await - before;
    assert!(sent < 12, "30 reads should take fewer than 12 statements, but took {sent}");
}
