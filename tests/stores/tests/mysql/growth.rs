//! Tests of the number of rows that an operation reads. This number grows neither with the number
//! of sessions, nor with the number of sessions that a user has ended. Further tests cover
//! revocation in batches and the cleanup of ended sessions.

use std::{sync::Arc, time::Duration};

use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, NewSignIn, PageRequest, Projection, Refused, RevokeTarget, Store, Update,
        mysql::MySqlStore,
    },
};
use ruts_tests_stores::{
    backends::mysql_builder,
    servers::{MySql, unique_tables},
};
use ruts_tests_support::{APPLIED, DELETED, TestSession, random, taken, wait_until};
use sqlx::{MySqlPool, Row};

use super::{number, run, store};

/// Returns the number of rows that the server has read so far.
async fn rows_read(pool: &MySqlPool) -> u64 {
    let status = sqlx::raw_sql("show global status like 'Handler_read%'").fetch_all(pool);
    let value = |row: &sqlx::mysql::MySqlRow| row.get::<String, _>(1).parse::<u64>().unwrap();
    status.await.unwrap().iter().map(value).sum()
}

/// Returns the number of temporary tables that the server has created on disk so far.
async fn temporary_files(pool: &MySqlPool) -> u64 {
    let status = "show global status like 'Created_tmp_disk_tables'";
    let row = sqlx::raw_sql(status).fetch_one(pool).await.unwrap();
    row.get::<String, _>(1).parse().unwrap()
}

/// Runs each operation, and returns the number of rows that it read.
async fn each_operation(store: &Arc<MySqlStore>, pool: &MySqlPool) -> Vec<(&'static str, u64)> {
    let mut counts = Vec::new();
    // Reading the counters reads rows too.
    let before = rows_read(pool).await;
    let own = rows_read(pool).await - before;
    let mut last = rows_read(pool).await;
    let mut done = async |operation| {
        let now = rows_read(pool).await;
        counts.push((operation, (now - last).saturating_sub(own)));
        last = now;
    };
    let principal = PrincipalKey::from_bytes(random());
    let who = NewSignIn::new(&principal, Assurance::Aal1);
    let session = TestSession::new(store);
    store.create(session.creation().sign_in(who)).await.unwrap();
    done("create").await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    done("set").await;
    assert!(session.load().await.unwrap().is_ok());
    done("load").await;
    assert!(session.load_and_touch().await.unwrap().is_ok());
    done("load and touch").await;
    assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
    done("take").await;
    let page = PageRequest::new(None, 10);
    let listed = store.list_by_principal(&principal, page, Projection::All).await.unwrap();
    assert_eq!(listed.sessions.len(), 1);
    done("list").await;
    assert!(store.inspect(&session.id).await.unwrap().is_some());
    done("inspect").await;
    let target = RevokeTarget::All { except: None };
    assert_eq!(store.revoke(&principal, target).await.unwrap().answer, [session.id]);
    done("revoke").await;
    let other = TestSession::begin(store).await;
    done("create").await;
    assert_eq!(other.delete().await.unwrap(), DELETED);
    done("delete").await;
    assert_eq!(store.delete_expired(10).await.unwrap(), 0);
    done("delete expired").await;
    store.revoke_everyone().await.unwrap();
    done("revoke everyone").await;
    counts
}

/// Inserts sessions without the store, each with a principal of its own.
async fn fill(pool: &MySqlPool, tables: &str, sessions: u64) {
    let columns = "id, secret, grace_until, created_at, issued_at, used_at, idle_at, principal, \
                   assurance, signed_in_at, delete_at, revoked, epoch";
    let now = "cast(unix_timestamp() * 1000000 as signed)";
    let later = format!("{now} + 86400000000");
    run(
        pool,
        format!(
            "insert into {tables} ({columns}) \
             with recursive n as (select 1 as i union all select i + 1 from n where i < {sessions}) \
             select left(unhex(sha2(i, 256)), 16), unhex(sha2(i, 256)), {now}, {now}, {now}, {now}, {later}, \
             unhex(sha2(i, 256)), 1, {now}, {later}, 0, (select epoch from {tables}_epoch) from n; \
             insert into {tables}_fields select number, 'a', 'value', null, 0 from {tables}"
        ),
    )
    .await;
}

#[tokio::test]
async fn every_statement_reads_a_bounded_number_of_rows() {
    let server = MySql::start(&[]);
    let pool = server.pool();
    let (few, tables) = store(&server).await;
    fill(&pool, &tables, 10).await;
    let few = each_operation(&few, &pool).await;
    let (many, tables) = store(&server).await;
    fill(&pool, &tables, 900).await;
    let files = temporary_files(&pool).await;
    let many = each_operation(&many, &pool).await;
    assert_eq!(temporary_files(&pool).await, files);
    for ((operation, few), (_, many)) in few.iter().zip(&many) {
        assert!(
            *many <= few + 3,
            "{operation} should read about as many rows of 900 sessions ({many}) as of 10 ({few})"
        );
        assert!(*many < 40, "{operation} should read fewer than 40 rows, but reads {many}");
    }
}

/// If a user signs in and out repeatedly, the list of sessions does not grow.
#[tokio::test]
async fn ended_sessions_are_on_no_list() {
    let server = MySql::start(&[]);
    let (store, _) = store(&server).await;
    let (pool, principal) = (server.pool(), PrincipalKey::from_bytes(random()));
    let who = NewSignIn::new(&principal, Assurance::Aal1);
    for number in 0..60 {
        let session = TestSession::new(&store);
        store.create(session.creation().sign_in(who)).await.unwrap();
        match number % 3 {
            0 => assert_eq!(session.delete().await.unwrap(), DELETED),
            1 => {
                let out = Update::new(&[]).auth_change(AuthChange::Out);
                assert_eq!(session.update(out).await.unwrap(), APPLIED);
            }
            _ => {
                let target = RevokeTarget::One(&session.id);
                store.revoke(&principal, target).await.unwrap();
            }
        }
    }
    let before = rows_read(&pool).await;
    let own = rows_read(&pool).await - before;
    let before = rows_read(&pool).await;
    let page = PageRequest::new(None, 10);
    let listed = store.list_by_principal(&principal, page, Projection::All).await.unwrap();
    assert!(listed.sessions.is_empty());
    let read = rows_read(&pool).await - before - own;
    assert!(read <= 20, "the list of 60 sessions should read at most 20 rows, but reads {read}");
}

#[tokio::test]
async fn many_sessions_are_revoked_in_batches() {
    let server = MySql::shared();
    let (store, tables) = store(server).await;
    let (pool, principal) = (server.pool(), PrincipalKey::from_bytes([7; 32]));
    fill(&pool, &tables, 900).await;
    run(&pool, format!("update {tables} set principal = repeat(x'07', 32)")).await;
    let target = RevokeTarget::All { except: None };
    let ended = store.revoke(&principal, target).await.unwrap().answer;
    assert_eq!(ended.len(), 900);
    assert_eq!(number(&pool, format!("select count(*) from {tables}_fields")).await, 0);
}

/// The sessions have no deadline, so they do not expire.
#[tokio::test]
async fn the_cleanup_frees_sessions_that_ended_with_all_others() {
    let server = MySql::shared();
    let (store, tables) = store(server).await;
    let mut sessions = Vec::new();
    for number in 0..30 {
        let session = TestSession::new(&store);
        // Half of them have no deadline.
        let idle = (number % 2 == 0).then_some(Ttl::from_secs(3600));
        session.create(idle).await.unwrap();
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        sessions.push(session);
    }
    let deleted = sessions.pop().unwrap();
    assert_eq!(deleted.delete().await.unwrap(), DELETED);
    store.revoke_everyone().await.unwrap();
    let kept = TestSession::begin(&store).await;
    assert_eq!(kept.set("a", "1").await.unwrap(), APPLIED);
    assert_eq!(store.delete_expired(20).await.unwrap(), 20);
    assert_eq!(store.delete_expired(usize::MAX).await.unwrap(), 10);
    let count = async |table: &str| {
        number(&server.pool(), format!("select count(*) from {tables}{table}")).await
    };
    assert_eq!((count("").await, count("_fields").await), (31, 1));
    assert_eq!(
        store.delete_expired(usize::MAX).await.unwrap(),
        0,
        "each session should be freed once"
    );
    for session in &sessions {
        assert_eq!(session.load().await.unwrap(), Err(Refused::Revoked));
    }
    assert!(matches!(deleted.load().await.unwrap(), Err(Refused::Deleted { .. })));
    let undated = format!("select count(*) from {tables} where delete_at is null");
    assert_eq!(number(&server.pool(), undated).await, 0, "no row should stay for ever");
    assert!(kept.load().await.unwrap().is_ok());
}

#[tokio::test]
async fn expired_sessions_are_deleted_in_the_background() {
    let (server, tables) = (MySql::shared(), unique_tables());
    let cleaning = mysql_builder(server, &tables).cleanup_interval(Duration::from_secs(1));
    let store = Arc::new(cleaning.build().await.unwrap());
    for _ in 0..20 {
        let session = TestSession::new(&store);
        session.create(Some(Ttl::from_millis(1))).await.unwrap();
    }
    let kept = TestSession::begin(&store).await;
    let count = format!("select count(*) from {tables}");
    let deleted = async || number(&server.pool(), &*count).await == 1;
    wait_until("the expired sessions are deleted", deleted).await;
    assert!(kept.load().await.unwrap().is_ok());
}
