//! Tests of the tables: their creation, their names, and their version.

use std::sync::Arc;

use ruts::{
    auth::{Assurance, PrincipalKey},
    store::{
        NewSignIn, OnLimit, Refused, RevokeTarget, SessionLimit, Store, StoreErrorKind,
        mysql::MySqlStore,
    },
};
use ruts_tests_stores::{
    assert_unsupported,
    backends::mysql_builder,
    error_kind,
    servers::{MySql, unique_tables},
};
use ruts_tests_support::{APPLIED, DELETED, TestSession, random, taken};

use super::{number, run, store};

#[tokio::test]
async fn ten_instances_create_the_tables_at_once() {
    let (server, tables) = (MySql::shared(), unique_tables());
    let builds = (0..10).map(|_| tokio::spawn(mysql_builder(server, &tables).build()));
    let mut stores = Vec::new();
    for build in builds.collect::<Vec<_>>() {
        stores.push(Arc::new(build.await.unwrap().unwrap()));
    }
    let session = TestSession::begin(&stores[0]).await;
    for store in &stores {
        assert_eq!(session.through(store).set("a", "1").await.unwrap(), APPLIED);
    }
    let versions = format!("select count(*) from {tables}_migrations");
    assert_eq!(number(&server.pool(), versions).await, 1);
    let locks = format!("select count(*) from {tables}_locks");
    assert_eq!(number(&server.pool(), locks).await, 256);
}

#[tokio::test]
async fn a_role_that_may_not_create_tables_can_use_them() {
    let server = MySql::start(&[]);
    let (owner, tables) = (server.pool(), unique_tables());
    run(&owner, "create user app@'%'").await;
    run(&owner, "grant select on test.* to app@'%'").await;
    let builder = |create_tables| {
        let options = server.options().username("app");
        MySqlStore::builder(options).table_name(&*tables).create_tables(create_tables)
    };
    for create_tables in [true, false] {
        assert_eq!(error_kind(builder(create_tables).build().await), StoreErrorKind::Unsupported);
    }
    run(&owner, builder(false).sql().unwrap()).await;
    assert_unsupported(builder(false).build().await, "1142");
    for table in ["", "_fields", "_epoch", "_locks", "_migrations"] {
        let grant = "grant select, insert, update, delete on";
        run(&owner, format!("{grant} test.{tables}{table} to app@'%'")).await;
    }
    // The second cleanup also moves the first session to the next epoch.
    for (create_tables, cleaned_up) in [(true, 1), (false, 2)] {
        let session =
            TestSession::begin(&Arc::new(builder(create_tables).build().await.unwrap())).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        assert!(session.load_and_touch().await.unwrap().is_ok());
        assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
        assert_eq!(session.delete().await.unwrap(), DELETED);
        session.store.revoke_everyone().await.unwrap();
        assert_eq!(session.store.delete_expired(10).await.unwrap(), cleaned_up);
        session.store.check().await.unwrap();
    }
}

#[tokio::test]
async fn two_stores_share_a_database() {
    let server = MySql::shared();
    let ((one, _), (other, _)) = (store(server).await, store(server).await);
    let one = TestSession::begin(&one).await;
    let other = one.through(&other);
    assert_eq!(other.load().await.unwrap(), Err(Refused::NotFound));
    other.create(None).await.unwrap();
    assert_eq!(one.set("a", "1").await.unwrap(), APPLIED);
    assert_eq!(other.get("a").await.unwrap(), None);
    assert_eq!(other.delete().await.unwrap(), DELETED);
    assert_eq!(one.get("a").await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn an_invalid_name_is_refused() {
    for name in ["", "a b", "a`", "a;drop table b", "a'", "\u{fc}", &"a".repeat(51)] {
        let builder = || mysql_builder(MySql::shared(), name);
        assert!(builder().sql().is_err(), "{name}");
        assert_eq!(error_kind(builder().build().await), StoreErrorKind::Unsupported, "{name}");
    }
}

#[tokio::test]
async fn any_valid_name_works() {
    let random = unique_tables();
    let longest = format!("{random}{}", "n".repeat(50 - random.len()));
    for table in ["s", "f", "v", "e", "select", "Sessions-2", "2", &longest] {
        let store = mysql_builder(MySql::shared(), table).build().await.unwrap();
        let session = TestSession::begin(&Arc::new(store)).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED, "{table}");
        assert!(session.load_and_touch().await.unwrap().is_ok(), "{table}");
        assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())), "{table}");
        assert_eq!(session.delete().await.unwrap(), DELETED, "{table}");
    }
}

/// An interrupted migration is completed.
#[tokio::test]
async fn the_sql_can_be_run_again() {
    let (server, tables) = (MySql::shared(), unique_tables());
    let (builder, pool) = (|| mysql_builder(server, &tables), server.pool());
    let sql = builder().sql().unwrap();
    run(&pool, &*sql).await;
    let store = Arc::new(builder().create_tables(false).build().await.unwrap());
    let session = TestSession::begin(&store).await;
    run(&pool, &*sql).await;
    assert!(session.load().await.unwrap().is_ok());
    let parts = format!("drop table {tables}_locks; delete from {tables}_migrations");
    run(&pool, parts).await;
    let store = Arc::new(builder().build().await.unwrap());
    assert!(session.through(&store).load().await.unwrap().is_ok());
}

#[tokio::test]
async fn tables_of_another_version_are_refused() {
    let server = MySql::shared();
    let (_, tables) = store(server).await;
    let pool = server.pool();
    run(&pool, format!("insert into {tables}_migrations (version) values (99)")).await;
    assert_unsupported(mysql_builder(server, &tables).build().await, "version 99");
    run(&pool, format!("delete from {tables}_migrations")).await;
    let builder = mysql_builder(server, &tables).create_tables(false);
    assert_unsupported(
        builder.build().await,
        "the tables do not exist: call `create_tables(true)`",
    );
}

#[tokio::test]
async fn dropped_tables_are_an_error() {
    let server = MySql::shared();
    let (store, tables) = store(server).await;
    let session = TestSession::begin(&store).await;
    run(&server.pool(), format!("drop table {tables}, {tables}_fields")).await;
    assert_eq!(error_kind(session.load().await), StoreErrorKind::Unsupported);
    assert_eq!(error_kind(session.set("a", "1").await), StoreErrorKind::Unsupported);
}

/// Without its lock, a sign-in could exceed a limit.
#[tokio::test]
async fn missing_rows_are_refused_and_created_again() {
    let server = MySql::shared();
    let (store, tables) = store(server).await;
    let pool = server.pool();
    let principal = PrincipalKey::from_bytes(random());
    let limit = SessionLimit::new(1, OnLimit::EndOldest);
    let who = NewSignIn::new(&principal, Assurance::Aal1).limit(limit);
    let session = TestSession::begin(&store).await;
    run(&pool, format!("delete from {tables}_locks")).await;
    let signed_in = TestSession::new(&store);
    assert_unsupported(store.create(signed_in.creation().sign_in(who)).await, "lacks rows");
    let target = RevokeTarget::All { except: None };
    assert_unsupported(store.revoke(&principal, target).await, "lacks rows");
    assert_unsupported(store.check().await, "lacks rows");
    let builder = |create_tables| mysql_builder(server, &tables).create_tables(create_tables);
    assert_unsupported(builder(false).build().await, "lacks rows");
    builder(true).build().await.unwrap();
    store.check().await.unwrap();
    store.create(signed_in.creation().sign_in(who)).await.unwrap();
    assert!(session.load().await.unwrap().is_ok());
    run(&pool, format!("delete from {tables}_epoch")).await;
    assert_unsupported(store.check().await, "lacks rows");
    builder(true).build().await.unwrap();
    assert_eq!(session.load().await.unwrap(), Err(Refused::Revoked));
}

/// After `truncate`, the server counts sessions from one again.
#[tokio::test]
async fn sessions_deleted_by_hand_leave_no_field_to_new_sessions() {
    let server = MySql::shared();
    let (store, tables) = store(server).await;
    for _ in 0..3 {
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    }
    run(&server.pool(), format!("truncate table {tables}")).await;
    let principal = PrincipalKey::from_bytes(random());
    let limit = SessionLimit::new(1, OnLimit::EndOldest);
    let who = NewSignIn::new(&principal, Assurance::Aal1).limit(limit);
    for sign_in in [None, Some(who), None] {
        let session = TestSession::new(&store);
        let mut create = session.creation();
        create.sign_in = sign_in;
        store.create(create).await.unwrap();
        assert_eq!(session.load().await.unwrap().unwrap().fields, []);
    }
}

/// Names that differ only in case, spaces or Unicode form are different fields. No character of a
/// name or value is special to the store.
#[tokio::test]
async fn values_are_compared_byte_by_byte() {
    let (store, _) = store(MySql::shared()).await;
    let session = TestSession::begin(&store).await;
    let names = ["a", "A", "a ", "\u{e4}", "a\u{308}", "x' or 1 = 1 -- ", "\\", "`"];
    for name in names {
        assert_eq!(session.set(name, name).await.unwrap(), APPLIED, "{name}");
    }
    for name in names {
        assert_eq!(session.get(name).await.unwrap().unwrap(), name, "{name}");
    }
    assert_eq!(session.load().await.unwrap().unwrap().fields.len(), names.len());
}
