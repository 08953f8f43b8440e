//! Tests of MariaDB and MySQL with faults of the server and of the network.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use ruts::{
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, Change, FieldWrite, NewSignIn, OnLimit, Refused, RevokeTarget, SessionLimit,
        Store, StoreErrorKind, StoreResult, Update, Written, mysql::MySqlStore,
    },
};
use ruts_tests_stores::{
    Proxy, Traffic,
    backends::mysql_builder,
    error_kind, forty_sessions_at_once,
    servers::{MySql, kill_others, mysql_options, unique_tables},
};
use ruts_tests_support::{APPLIED, DELETED, LONG_TIMEOUT, TestSession, random, taken, wait_until};
use sqlx::MySqlPool;
use tokio::{task::JoinHandle, time::sleep};

use super::{number, row_of, run, run_on, store};

/// Timeout of operations that get no answer.
const SHORT: Duration = Duration::from_secs(1);

/// Returns the number of open transactions that meet a condition.
async fn transactions(pool: &MySqlPool, condition: &str) -> i64 {
    // The server answers from a cache, which it renews only if no query has read it for 100 ms.
    sleep(Duration::from_millis(150)).await;
    let sql = format!("select count(*) from information_schema.innodb_trx where {condition}");
    number(pool, sql).await
}

/// Waits until a statement of any connection waits for a lock.
async fn wait_for_lock_queue(pool: &MySqlPool) {
    let waits = "trx_state = 'LOCK WAIT'";
    wait_until("a statement waits for a lock", async || transactions(pool, waits).await > 0).await;
}

/// A sign-in that ends another session locks two sessions. The connection `stranger` locks them in
/// the opposite order. The server aborts the sign-in, because `stranger` has changed more rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_reaches_no_caller() {
    let server = MySql::start(&[]);
    let (store, tables) = store(&server).await;
    let pool = server.pool();
    run(&pool, "create table ballast (n int primary key) engine = InnoDB").await;
    let principal = PrincipalKey::from_bytes(random());
    let limit = SessionLimit::new(1, OnLimit::EndOldest);
    let who = NewSignIn::new(&principal, Assurance::Aal1).limit(limit);
    let oldest = TestSession::new(&store);
    store.create(oldest.creation().sign_in(who)).await.unwrap();
    let guest = TestSession::begin(&store).await;

    let mut stranger = pool.acquire().await.unwrap();
    let ballast: Vec<_> = (0..500).map(|n| format!("({n})")).collect();
    run_on(
        &mut stranger,
        format!(
            "start transaction; insert into ballast values {}; \
             select * from {tables} where {} for update",
            ballast.join(", "),
            row_of(&oldest)
        ),
    )
    .await;
    let signing_in = guest.clone();
    let sign_in = tokio::spawn(async move {
        let principal = principal;
        let who = NewSignIn::new(&principal, Assurance::Aal1).limit(limit);
        let sign = AuthChange::In { who, idle: None, absolute: None };
        signing_in.update(Update::new(&[]).auth_change(sign)).await
    });
    wait_for_lock_queue(&pool).await;
    // `stranger` gets the row, so the server has aborted the sign-in.
    let locked = format!("select * from {tables} where {} for update", row_of(&guest));
    run_on(&mut stranger, locked).await;
    assert!(!sign_in.is_finished());
    run_on(&mut stranger, "rollback").await;
    assert_eq!(sign_in.await.unwrap().unwrap(), APPLIED);
    assert_eq!(oldest.load().await.unwrap(), Err(Refused::Revoked));
    assert!(guest.load().await.unwrap().unwrap().meta.signed_in.is_some());
}

/// Many operations run concurrently on two principals. No caller sees a deadlock or a lock timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_fails_under_contention() {
    const TASKS: usize = 32;
    const ROUNDS: usize = 20;
    let server = MySql::shared();
    let tables = unique_tables();
    let build = async || Arc::new(mysql_builder(server, &tables).build().await.unwrap());
    let stores = [build().await, build().await];
    let principals: [PrincipalKey; 2] = [(); 2].map(|()| PrincipalKey::from_bytes(random()));
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let (store, principal) = (Arc::clone(&stores[task % 2]), principals[task / 2 % 2]);
        tasks.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let limit = SessionLimit::new(4, OnLimit::EndOldest);
                let who = NewSignIn::new(&principal, Assurance::Aal1).limit(limit);
                let session = TestSession::new(&store);
                store.create(session.creation().sign_in(who)).await.unwrap();
                // A sign-in by another task may have ended the session.
                let _ = session.set("a", "1").await.unwrap();
                let _ = session.load_and_touch().await.unwrap();
                let _ = session.take("a").await.unwrap();
                match (task + round) % 4 {
                    0 => {
                        let target = RevokeTarget::All { except: None };
                        store.revoke(&principal, target).await.unwrap();
                    }
                    1 => drop(session.delete().await.unwrap()),
                    2 => drop(store.delete_expired(10).await.unwrap()),
                    _ => {}
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_session_costs_its_own_operations_alone() {
    let server = MySql::start(&[]);
    let tables = unique_tables();
    let store = Arc::new(mysql_builder(&server, &tables).build().await.unwrap());
    let quick = mysql_builder(&server, &tables).max_connections(2).timeout(2 * SHORT);
    let quick = Arc::new(quick.build().await.unwrap());
    let pool = server.pool();
    let (locked, free) = (TestSession::begin(&store).await, TestSession::begin(&store).await);
    let mut stranger = pool.acquire().await.unwrap();
    let lock = format!("start transaction; select * from {tables} where {}", row_of(&locked));
    run_on(&mut stranger, format!("{lock} for update")).await;
    let through = locked.through(&quick);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let through = through.clone();
            tokio::spawn(async move { through.set("a", "1").await })
        })
        .collect();
    wait_for_lock_queue(&pool).await;
    assert_eq!(free.through(&quick).set("a", "1").await.unwrap(), APPLIED);
    assert!(locked.through(&quick).load().await.unwrap().is_ok(), "reads should still work");
    for waiting in waiting {
        let kind = error_kind(waiting.await.unwrap());
        assert!([StoreErrorKind::Unavailable, StoreErrorKind::OutcomeUnknown].contains(&kind));
    }
    run_on(&mut stranger, "rollback").await;
    let set = async || locked.through(&quick).set("a", "2").await.is_ok();
    wait_until("the session can be changed", set).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_query_changes_nothing() {
    let server = MySql::start(&[]);
    let (store, tables) = store(&server).await;
    let session = TestSession::begin(&store).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    let pool = server.pool();
    let mut stranger = pool.acquire().await.unwrap();
    for is_plain in [true, false] {
        let lock = format!("start transaction; select * from {tables} where {}", row_of(&session));
        run_on(&mut stranger, format!("{lock} for update")).await;
        let writer = session.clone();
        let write = tokio::spawn(async move {
            if is_plain {
                writer.set("a", "2").await.map(drop)
            } else {
                writer.take("a").await.map(drop)
            }
        });
        wait_for_lock_queue(&pool).await;
        let waits = "select trx_mysql_thread_id from information_schema.innodb_trx \
                     where trx_state = 'LOCK WAIT'";
        let row = sqlx::raw_sql(waits).fetch_one(&pool).await.unwrap();
        let id: u64 = sqlx::Row::get(&row, 0);
        run(&pool, format!("kill query {id}")).await;
        assert_eq!(error_kind(write.await.unwrap()), StoreErrorKind::Unavailable);
        run_on(&mut stranger, "rollback").await;
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        // The connection of the killed query holds no lock.
        assert_eq!(session.set("b", "1").await.unwrap(), APPLIED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_idle_connections_cost_no_operation() {
    let server = MySql::start(&[]);
    let (store, _) = store(&server).await;
    let session = TestSession::begin(&store).await;
    let pool = server.pool();
    for round in 0..5 {
        kill_others(&mut pool.acquire().await.unwrap()).await;
        // A read is repeated, and so is the first round trip of a transaction.
        assert!(session.load().await.unwrap().is_ok(), "{round}");
        kill_others(&mut pool.acquire().await.unwrap()).await;
        assert_eq!(session.take("a").await.unwrap(), taken(None), "{round}");
    }
    let tested = mysql_builder(&server, "sessions").test_idle_after(Duration::ZERO);
    let session = TestSession::begin(&Arc::new(tested.build().await.unwrap())).await;
    for round in 0..5 {
        kill_others(&mut pool.acquire().await.unwrap()).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_costs_no_operation() {
    let server = MySql::start(&[]);
    let tested = mysql_builder(&server, "sessions").test_idle_after(Duration::ZERO);
    let session = TestSession::begin(&Arc::new(tested.build().await.unwrap())).await;
    for round in 0..2 {
        tokio::task::block_in_place(|| server.stop());
        tokio::task::block_in_place(|| server.restart());
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED, "{round}");
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1", "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_unavailable() {
    let server = MySql::start(&[]);
    let quick = mysql_builder(&server, "sessions").timeout(2 * SHORT);
    let session = TestSession::begin(&Arc::new(quick.build().await.unwrap())).await;
    tokio::task::block_in_place(|| server.stop());
    assert_eq!(error_kind(session.load().await), StoreErrorKind::Unavailable);
    assert_eq!(error_kind(session.take("a").await), StoreErrorKind::Unavailable);
    assert_eq!(error_kind(session.delete().await), StoreErrorKind::Unavailable);
    let absent = mysql_builder(&server, "sessions").timeout(SHORT);
    assert_eq!(error_kind(absent.build().await), StoreErrorKind::Unavailable);
}

/// Returns a session through two stores: one without the proxy, and one behind it.
async fn behind(proxy: &Proxy, server: &MySql) -> [TestSession<MySqlStore>; 2] {
    let tables = unique_tables();
    let direct = Arc::new(mysql_builder(server, &tables).build().await.unwrap());
    let proxied = MySqlStore::builder(mysql_options(proxy.address())).table_name(&*tables);
    let proxied = proxied.max_connections(1).timeout(SHORT).cleanup_interval(None);
    let proxied = Arc::new(proxied.build().await.unwrap());
    let session = TestSession::begin(&direct).await;
    [session.clone(), session.through(&proxied)]
}

/// Lets the proxy forward again, and waits until the store uses a new connection.
async fn recover(proxy: &Proxy, session: &TestSession<MySqlStore>) {
    proxy.set(Traffic::Forward);
    wait_until("a new connection is used", async || session.load().await.is_ok()).await;
}

/// The connection may not have come back to the pool when the proxy begins to hold its answers. In
/// that case the write is not sent, and the test tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_an_answer_is_of_unknown_outcome() {
    let server = MySql::start(&[]);
    let proxy = Proxy::before(&server.address()).await;
    let [direct, proxied] = behind(&proxy, &server).await;
    for (traffic, value) in [(Traffic::HoldAnswers, "1"), (Traffic::CutAnswersAfter(0), "2")] {
        let is_sent = async || {
            recover(&proxy, &proxied).await;
            proxy.set(traffic);
            error_kind(proxied.set("a", value).await) == StoreErrorKind::OutcomeUnknown
        };
        wait_until("a write is sent", is_sent).await;
        assert_eq!(direct.get("a").await.unwrap().unwrap(), value);
        assert_eq!(error_kind(proxied.load().await), StoreErrorKind::Unavailable);
    }
}

/// Begins to take a field, and returns the task when the session is locked and the answer is held.
async fn begin_to_take(
    server: &MySql,
    proxy: &Proxy,
    session: &TestSession<MySqlStore>,
) -> JoinHandle<StoreResult<Written<Option<Bytes>>>> {
    let pool = server.pool();
    loop {
        recover(proxy, session).await;
        // Waits until the connection is back in the pool. Otherwise nothing is sent, and the loop
        // retries.
        sleep(Duration::from_millis(50)).await;
        proxy.set(Traffic::HoldAnswers);
        let taker = session.clone();
        let take = tokio::spawn(async move { taker.take("a").await });
        let is_locked = async || take.is_finished() || transactions(&pool, "true").await > 0;
        wait_until("the session is locked", is_locked).await;
        if !take.is_finished() {
            return take;
        }
    }
}

/// The caller gives up between the two round trips of an operation. Nothing is changed, and the
/// session is unlocked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_is_dropped_between_its_trips_changes_nothing() {
    let server = MySql::start(&[]);
    let proxy = Proxy::before(&server.address()).await;
    let [direct, proxied] = behind(&proxy, &server).await;
    assert_eq!(direct.set("a", "1").await.unwrap(), APPLIED);
    let take = begin_to_take(&server, &proxy, &proxied).await;
    take.abort();
    let _ = take.await;
    recover(&proxy, &proxied).await;
    assert_eq!(direct.set("b", "1").await.unwrap(), APPLIED);
    assert_eq!(direct.get("a").await.unwrap().unwrap(), "1");
    assert_eq!(proxied.take("a").await.unwrap(), taken(Some("1".into())));
    let pool = server.pool();
    let none = async || transactions(&pool, "true").await == 0;
    wait_until("no transaction is open", none).await;
}

/// After the session is locked, the connection stops responding, as if the process of the store
/// were suspended. MariaDB ends the transaction after a timeout. MySQL ends the transaction only
/// when the connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unresponsive_connection_gives_its_session_back() {
    let server = MySql::start(&[]);
    let proxy = Proxy::before(&server.address()).await;
    let [direct, proxied] = behind(&proxy, &server).await;
    assert_eq!(direct.set("a", "1").await.unwrap(), APPLIED);
    let take = begin_to_take(&server, &proxy, &proxied).await;
    let kind = error_kind(take.await.unwrap());
    assert_eq!(kind, StoreErrorKind::Unavailable, "the second round trip should not be made");
    if server.is_mysql() {
        proxy.set(Traffic::Forward);
    }
    assert_eq!(direct.take("a").await.unwrap(), taken(Some("1".into())));
    recover(&proxy, &proxied).await;
    assert_eq!(proxied.delete().await.unwrap(), DELETED);
}

/// The connection stops responding after the answer, before the pool has tested it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_stops_responding_on_its_return_is_replaced() {
    let server = MySql::shared();
    let proxy = Proxy::before(&server.address()).await;
    let [_, proxied] = behind(&proxy, server).await;
    let is_silenced = async || {
        recover(&proxy, &proxied).await;
        // Waits until the connection is back in the pool. Otherwise nothing is sent, and the loop
        // retries.
        sleep(Duration::from_millis(50)).await;
        proxy.set(Traffic::HoldAfter(1));
        let answer = proxied.set("a", "1").await;
        proxy.silence_present();
        answer.is_ok()
    };
    wait_until("the connection stops responding", is_silenced).await;
    recover(&proxy, &proxied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_costs_no_more_than_the_timeout() {
    let server = MySql::start(&[]);
    let quick = mysql_builder(&server, "sessions").timeout(SHORT);
    let session = TestSession::begin(&Arc::new(quick.build().await.unwrap())).await;
    server.pause();
    let begun = tokio::time::Instant::now();
    // The threads of the server stop one after another, so the first reads may succeed.
    let is_unavailable = async || match session.load().await {
        Ok(_) => false,
        Err(error) => error.kind() == StoreErrorKind::Unavailable,
    };
    wait_until("the server has stopped", is_unavailable).await;
    assert!(begun.elapsed() < LONG_TIMEOUT / 2);
    server.resume();
    let set = async || session.set("a", "1").await.is_ok();
    wait_until("the server is used again", set).await;
}

/// A value that the server does not accept is refused, and later operations succeed.
#[tokio::test]
async fn a_value_beyond_the_packet_size_is_refused() {
    let server = MySql::start(&["max-allowed-packet=1M"]);
    let (store, _) = store(&server).await;
    let session = TestSession::begin(&store).await;
    let fits = "x".repeat(400 * 1024);
    assert_eq!(session.set("a", &fits).await.unwrap(), APPLIED);
    let large = "x".repeat(600 * 1024);
    assert_eq!(error_kind(session.set("a", &large).await), StoreErrorKind::Full);
    assert_eq!(session.get("a").await.unwrap().unwrap(), fits);
    // The former and the next value together are too long for one statement.
    let next = "y".repeat(400 * 1024);
    assert_eq!(session.set_if("a", Some(&fits.into()), &next.into()).await.unwrap(), APPLIED);
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
}

/// In a `union`, MariaDB truncates literals of 64 KiB or more.
#[tokio::test]
async fn large_values_are_set_together() {
    let (store, _) = store(MySql::shared()).await;
    let session = TestSession::begin(&store).await;
    for length in [1, 32 * 1024, 65_535, 65_536, 1_000_000] {
        let values = ["x".repeat(length).into(), Bytes::from_static(b"1")];
        let writes = [FieldWrite::new("a", &values[0]), FieldWrite::new("b", &values[1])];
        let changes = writes.map(Change::Set);
        assert_eq!(session.change(&changes).await.unwrap(), APPLIED);
        for (write, value) in writes.iter().zip(&values) {
            assert_eq!(session.get(write.name).await.unwrap().as_ref(), Some(value), "{length}");
        }
    }
}

/// MariaDB may answer a killed statement as if the statement had found no row. The transaction
/// would then commit changes that differ from the decision of the operation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_succeeds_although_its_statement_was_killed() {
    let server = MySql::start(&[]);
    let (store, _) = store(&server).await;
    let pool = server.pool();
    let is_over = Arc::new(AtomicBool::new(false));
    let killer = tokio::spawn({
        let (pool, is_over) = (pool.clone(), Arc::clone(&is_over));
        async move {
            let mut stranger = pool.acquire().await.unwrap();
            while !is_over.load(Ordering::Relaxed) {
                let others = "select id from information_schema.processlist \
                              where id <> connection_id() and info is not null";
                for row in sqlx::raw_sql(others).fetch_all(&mut *stranger).await.unwrap() {
                    let kill = format!("kill query {}", sqlx::Row::get::<i64, _>(&row, 0));
                    // The query may have ended by itself.
                    let kill = sqlx::raw_sql(sqlx::AssertSqlSafe(kill));
                    let _ = kill.execute(&mut *stranger).await;
                }
            }
        }
    });
    let end_sessions = |_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut ended = Vec::new();
            for _ in 0..150 {
                let session = TestSession::new(&store);
                let is_begun = store.create(session.creation()).await.is_ok();
                if is_begun && matches!(session.delete().await, Ok(Ok(_))) {
                    ended.push(session);
                }
            }
            ended
        })
    };
    let tasks: Vec<_> = (0..6).map(end_sessions).collect();
    let mut ended = Vec::new();
    for task in tasks {
        ended.extend(task.await.unwrap());
    }
    is_over.store(true, Ordering::Relaxed);
    killer.await.unwrap();
    assert!(!ended.is_empty());
    for session in ended {
        assert!(
            session.load().await.unwrap().is_err(),
            "the session should have ended after a deletion that succeeded"
        );
    }
}

/// The pool may open more connections than the limit of the user or of the server allows.
#[tokio::test]
async fn a_limit_of_connections_below_that_of_the_pool_fails_nothing() {
    let server = MySql::start(&[]);
    let root = server.pool();
    run(&root, "create user app@'127.0.0.1' with max_user_connections 2").await;
    run(&root, "grant all on *.* to app@'127.0.0.1'").await;
    let options = server.options().username("app");
    let builder = MySqlStore::builder(options).max_connections(6).timeout(LONG_TIMEOUT);
    let builder = builder.table_name(unique_tables()).create_tables(true).cleanup_interval(None);
    let store = Arc::new(builder.build().await.unwrap());
    forty_sessions_at_once(&store).await;
}
