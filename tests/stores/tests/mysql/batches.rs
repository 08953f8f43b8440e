//! Pending reads share a statement, and pending writes share a transaction. Each has its own
//! answer.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    Ttl,
    store::{
        Change, FieldWrite, Projection, Refused, Renew, StoreErrorKind, StoreResult, Touch, Update,
        Updated, Written, mysql::MySqlStore,
    },
    token::SecretHash,
};
use ruts_tests_stores::{
    backends::mysql_builder,
    error_kind,
    servers::{MySql, unique_tables},
};
use ruts_tests_support::{APPLIED, DELETED, LONG_TIMEOUT, TestSession, random, wait_until};
use sqlx::{AssertSqlSafe, MySql as Database, MySqlPool, Row, pool::PoolConnection};
use tokio::task::{JoinHandle, yield_now};

use super::{number, row_of, run, run_on};

/// Number of reads of a full batch.
const FULL: usize = 64;

/// Number of attempts to fill a batch. On a busy machine a command counts as slow after 200 ms, and
/// pending operations are sent before its answer.
const ROUNDS: usize = 8;

/// Returns the number of `select` statements that the server has run so far.
async fn selects(pool: &MySqlPool) -> u64 {
    statements(pool, "Com_select").await
}

/// Returns a counter of the server.
async fn statements(pool: &MySqlPool, counter: &str) -> u64 {
    let sql = format!("show global status like '{counter}'");
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap();
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
                2 => matches!(answer, Err(Refused::Deleted { .. })),
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

/// If these reads were sent again, a server that stalls for longer than the timeout would get one
/// statement for each read.
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

/// A store with at most one read and one write in flight.
struct Fixture {
    store: Arc<MySqlStore>,
    tables: String,
    pool: MySqlPool,
    // Dropped last, because it stops the server.
    _server: MySql,
}

impl Fixture {
    async fn new() -> Self {
        let (server, tables) = (MySql::start(&[]), unique_tables());
        let builder = mysql_builder(&server, &tables).max_connections(3).timeout(LONG_TIMEOUT);
        let store = Arc::new(builder.build().await.unwrap());
        Self { store, tables, pool: server.pool(), _server: server }
    }

    /// Creates sessions whose field `a` holds "1".
    async fn sessions<const N: usize>(&self) -> [TestSession<MySqlStore>; N] {
        let mut sessions = Vec::new();
        for _ in 0..N {
            let session = TestSession::begin(&self.store).await;
            assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
            sessions.push(session);
        }
        sessions.try_into().ok().unwrap()
    }

    /// Changes the row of a session.
    async fn alter(&self, session: &TestSession<MySqlStore>, assignment: &str) {
        let (tables, row) = (&self.tables, row_of(session));
        run(&self.pool, format!("update {tables} set {assignment} where {row}")).await;
    }

    /// Returns whether the row of a session meets a condition.
    async fn is(&self, session: &TestSession<MySqlStore>, condition: &str) -> bool {
        let (tables, row) = (&self.tables, row_of(session));
        number(&self.pool, format!("select count(*) from {tables} where {row} and {condition}"))
            .await
            > 0
    }

    /// Blocks every write to a session, until the connection is dropped.
    async fn lock_row(&self, session: &TestSession<MySqlStore>) -> PoolConnection<Database> {
        let mut lock = self.pool.acquire().await.unwrap();
        let row = row_of(session);
        let sql =
            format!("start transaction; select * from {} where {row} for update", self.tables);
        run_on(&mut lock, sql).await;
        lock
    }

    /// Begins a write to a locked session, and then the other writes, which wait for the first one.
    async fn queue_behind<T: Send + 'static>(
        &self,
        first: impl Future<Output = T> + Send + 'static,
        others: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
    ) -> (JoinHandle<T>, Vec<JoinHandle<T>>) {
        let first = tokio::spawn(first);
        let running = "select count(*) from information_schema.processlist \
                       where info like 'insert into%for update%'";
        wait_until("a write waits", async || number(&self.pool, running).await > 0).await;
        let mut started = Vec::new();
        for other in others {
            started.push(tokio::spawn(other));
            for _ in 0..10 {
                yield_now().await;
            }
        }
        (first, started)
    }
}

async fn unlock(mut lock: PoolConnection<Database>) {
    run_on(&mut lock, "rollback").await;
}

async fn set_a(
    session: TestSession<MySqlStore>,
    value: &'static str,
) -> StoreResult<Written<Updated>> {
    session.set("a", value).await
}

#[tokio::test]
async fn waiting_writes_form_a_batch() {
    let fixture = Fixture::new().await;
    let [first, others @ ..] = fixture.sessions::<20>().await;
    let mut inserts = Vec::new();
    for _ in 0..ROUNDS {
        let lock = fixture.lock_row(&first).await;
        // The first write is an `insert … select`, which has a counter of its own.
        let before = statements(&fixture.pool, "Com_insert").await;
        let writes = others.iter().map(|session| set_a(session.clone(), "2"));
        let (occupied, writes) = fixture.queue_behind(set_a(first.clone(), "2"), writes).await;
        unlock(lock).await;
        for write in [occupied].into_iter().chain(writes) {
            assert_eq!(write.await.unwrap().unwrap(), APPLIED);
        }
        inserts.push(statements(&fixture.pool, "Com_insert").await - before);
    }
    assert!(inserts.contains(&1), "a round should take one statement: {inserts:?}");
    for session in [first].iter().chain(&others) {
        assert_eq!(session.get("a").await.unwrap().unwrap(), "2");
    }
}

#[tokio::test]
async fn each_write_of_a_batch_has_its_own_answer() {
    const HOUR: u64 = 3_600_000_000;
    let fixture = Fixture::new().await;
    let [first, live, ended, rotated, idle, absolute, epoch, renewed, due] =
        fixture.sessions().await;
    assert_eq!(ended.delete().await.unwrap(), DELETED);
    let secret = SecretHash::from_bytes(random());
    assert_eq!(rotated.rotate(&secret).await.unwrap(), APPLIED);
    fixture.alter(&idle, "idle_at = 1").await;
    fixture.alter(&absolute, "absolute_at = 1").await;
    fixture.alter(&epoch, "epoch = -1").await;
    let secret = SecretHash::from_bytes(random());
    let renew = Renew::new(&secret, Ttl::from_millis(1), Duration::from_secs(30));
    assert_eq!(renewed.update(Update::new(&[]).renew(renew)).await.unwrap(), APPLIED);
    let renewed = renewed.with_secret(secret);
    let now = "cast(unix_timestamp(sysdate(6)) * 1000000 as signed)";
    fixture.alter(&due, &format!("idle_at = {now} + {}", HOUR / 60)).await;
    let thief = live.with_wrong_secret();
    let absent = TestSession::new(&fixture.store);

    let set = |session: TestSession<MySqlStore>| async move {
        let value = Bytes::from("2");
        let ttl = Ttl::from_secs(300);
        let changes = [
            Change::Set(FieldWrite::new("b", &value).ttl(ttl)),
            Change::Set(FieldWrite::new("a", &value)),
        ];
        let touch = Touch::new(Ttl::from_secs(3600), Duration::from_secs(600));
        session.update(Update::new(&changes).touch(touch)).await
    };
    let cases = [
        (&live, "applied"),
        (&ended, "ended"),
        (&rotated, "replaced"),
        (&idle, "not found"),
        (&absolute, "not found"),
        (&epoch, "revoked"),
        (&renewed, "applied"),
        (&due, "applied"),
        (&thief, "not found"),
        (&absent, "not found"),
    ];
    let lock = fixture.lock_row(&first).await;
    let others = cases.map(|(session, _)| set(session.clone()));
    let (occupied, others) = fixture.queue_behind(set(first.clone()), others).await;
    unlock(lock).await;
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    for (number, (answer, (_, expected))) in others.into_iter().zip(cases).enumerate() {
        let answer = answer.await.unwrap().unwrap();
        let is_expected = match expected {
            "applied" => answer == APPLIED,
            "ended" => matches!(answer, Err(Refused::Deleted { .. })),
            "replaced" => matches!(answer, Err(Refused::Replaced { .. })),
            "revoked" => answer == Err(Refused::Revoked),
            _ => answer == Err(Refused::NotFound),
        };
        assert!(is_expected, "{number}: the answer should be {expected}, but is {answer:?}");
    }
    for session in [&live, &renewed, &due] {
        let loaded = session.load().await.unwrap().unwrap();
        let field = |name: &str| loaded.fields.iter().find(|field| &*field.name == name).unwrap();
        assert_eq!((&field("a").value[..], field("a").ttl), (&b"2"[..], None));
        assert_eq!(&field("b").value[..], b"2");
        assert!(field("b").ttl.is_some(), "the field should have a TTL");
    }
    // A write in a batch also starts a grace period, and touches the session.
    assert!(fixture.is(&renewed, "grace_until is not null").await);
    assert!(fixture.is(&due, &format!("idle_at > {now} + {}", HOUR / 60 * 55)).await);
}

#[tokio::test]
async fn a_locked_session_of_a_batch_holds_up_no_other() {
    let fixture = Fixture::new().await;
    let [first, second, third] = fixture.sessions().await;
    let (lock, longer) = (fixture.lock_row(&first).await, fixture.lock_row(&second).await);
    let others = [&second, &third].map(|session| set_a(session.clone(), "2"));
    let (occupied, others) = fixture.queue_behind(set_a(first.clone(), "2"), others).await;
    let [of_second, of_third] = others.try_into().ok().unwrap();
    unlock(lock).await;
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    assert_eq!(of_third.await.unwrap().unwrap(), APPLIED);
    assert!(!of_second.is_finished(), "the write should wait, because its session is locked");
    unlock(longer).await;
    assert_eq!(of_second.await.unwrap().unwrap(), APPLIED);
    for session in [first, second, third] {
        assert_eq!(session.get("a").await.unwrap().unwrap(), "2");
    }
}

#[tokio::test]
async fn an_error_of_one_write_does_not_fail_the_others() {
    let fixture = Fixture::new().await;
    let sessions = fixture.sessions::<4>().await;
    let trigger = format!(
        "create trigger refuse before insert on {}_fields for each row \
         if new.value like '%bad' then signal sqlstate 'HY000' set mysql_errno = 1114; end if",
        fixture.tables
    );
    run(&fixture.pool, trigger).await;
    let lock = fixture.lock_row(&sessions[0]).await;
    let writes = sessions[1..].iter().cloned().zip(["good", "bad", "good"]);
    let writes = writes.map(|(session, value)| set_a(session, value));
    let (occupied, others) = fixture.queue_behind(set_a(sessions[0].clone(), "2"), writes).await;
    unlock(lock).await;
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    let [good, bad, too] = others.try_into().ok().unwrap();
    assert_eq!(good.await.unwrap().unwrap(), APPLIED);
    assert_eq!(error_kind(bad.await.unwrap()), StoreErrorKind::Full);
    assert_eq!(too.await.unwrap().unwrap(), APPLIED);
    for (session, value) in sessions.iter().zip(["2", "good", "1", "good"]) {
        assert_eq!(session.get("a").await.unwrap().unwrap(), value);
    }
}
