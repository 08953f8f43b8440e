//! Operations on several sessions that a store sends in one batch. The tests count the commands,
//! and check that each operation has its own answer, even if others of the batch fail.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    Ttl,
    store::{
        Cache, CacheLookup, CachedField, CachedRecord, Change, FieldWrite, InvalidationScope,
        Precondition, Projection, Refused, Renew, SessionMeta, Store, StoreError, StoreErrorKind,
        StoreResult, Touch, Update, Updated, Written,
        postgres::PostgresStore,
        redis::{RedisClient, RedisStore},
    },
    token::SecretHash,
};
use ruts_tests_stores::{
    Proxy, Traffic,
    backends::{
        fred_client, fred_cluster, redis_builder, redis_cluster, redis_one_in_flight,
        redis_rs_client,
    },
    error_kind,
    servers::{Cluster, Flavour, Postgres, Prefix, Redis, Schema},
};
use ruts_tests_support::{APPLIED, DELETED, LONG_TIMEOUT, TestSession, random, wait_until};
use sqlx::{AssertSqlSafe, Executor, PgPool, Transaction, postgres::PgPoolOptions};
use tokio::task::{JoinHandle, JoinSet};

/// Number of sessions of a full batch.
const FULL: usize = 64;

/// Number of attempts to fill a batch. On a busy machine a command counts as slow after 200 ms, and
/// pending operations are sent before its answer.
const ROUNDS: usize = 8;

/// Timeout of operations that must not be sent after they have been pending for half of it.
const SHORT: Duration = Duration::from_millis(200);

/// A server whose answers can be held, and stores that send one command at a time.
struct Fixture<C: RedisClient> {
    server: Redis,
    proxy: Proxy,
    store: Arc<RedisStore<C>>,
    /// A store of the same sessions with a [`SHORT`] timeout.
    impatient: Arc<RedisStore<C>>,
}

impl<C: RedisClient> Fixture<C> {
    async fn new(flavour: Flavour, connect: impl AsyncFn(String) -> C) -> Self {
        let server = Redis::start(flavour, &[]);
        let proxy = Proxy::before(&server.address()).await;
        let (url, prefix) = (format!("redis://{}", proxy.address()), Prefix::unique());
        let store = redis_builder(connect(url.clone()).await, &prefix).max_in_flight(1);
        let impatient = redis_builder(connect(url).await, &prefix).max_in_flight(1).timeout(SHORT);
        let (store, impatient) = (Arc::new(store.build()), Arc::new(impatient.build()));
        Self { server, proxy, store, impatient }
    }

    /// Creates sessions whose field `a` holds "1".
    async fn sessions<const N: usize>(&self) -> [TestSession<RedisStore<C>>; N] {
        let mut sessions = Vec::new();
        for _ in 0..N {
            let session = TestSession::begin(&self.store).await;
            assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
            session.get("a").await.unwrap();
            sessions.push(session);
        }
        self.proxy.take_requests();
        sessions.try_into().ok().unwrap()
    }

    /// Starts an operation and holds its answer, so that later operations wait.
    async fn occupy<T: Send + 'static>(
        &self,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.proxy.set(Traffic::HoldAnswers);
        let first = tokio::spawn(operation);
        self.proxy.answer_held().await;
        first
    }

    /// Returns the number of scripts and native reads so far.
    fn calls(&self) -> u64 {
        self.server.calls("evalsha") + self.server.calls("getex")
    }
}

/// Starts operations one after another, and gives each of them time to queue.
async fn start<T: Send + 'static>(
    operations: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<JoinHandle<T>> {
    let mut started = Vec::new();
    for operation in operations {
        started.push(tokio::spawn(operation));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    started
}

async fn get_a<S: Store>(session: TestSession<S>) -> Result<Option<Bytes>, StoreError> {
    session.get("a").await
}

async fn set_a<S: Store>(
    session: TestSession<S>,
    value: &'static str,
) -> StoreResult<Written<Updated>> {
    session.set("a", value).await
}

/// Runs tests on Redis through each client library, and on Valkey through fred.
macro_rules! through_each_client {
    ($($test:ident),+ $(,)?) => {
        mod redis_through_fred { through_each_client!(@ Redis fred_client: $($test),+); }
        mod valkey_through_fred { through_each_client!(@ Valkey fred_client: $($test),+); }
        mod redis_through_redis_rs { through_each_client!(@ Redis redis_rs_client: $($test),+); }
    };
    (@ $flavour:ident $client:ident: $($test:ident),+) => {
        $(#[tokio::test]
        async fn $test() {
            let connect = async |url: String| super::$client(&url).await;
            super::$test(super::Fixture::new(super::Flavour::$flavour, connect).await).await;
        })+
    };
}

through_each_client! {
    waiting_operations_form_a_batch,
    a_busy_session_leaves_room_for_others,
    each_operation_of_a_batch_has_its_own_answer,
    a_touch_in_a_batch_counts_if_it_is_due,
    a_lost_answer_is_unknown_to_each_operation_of_the_batch,
    an_operation_that_waits_too_long_is_not_sent,
    a_dropped_operation_that_waits_is_not_sent,
    a_dropped_operation_in_flight_holds_up_no_other,
    an_operation_that_is_not_polled_holds_up_no_other,
    a_batch_script_that_the_server_forgot_is_sent_again,
    large_values_are_read_in_several_batches,
    waiting_lookups_of_a_cache_form_a_batch,
}

/// Maximum number of operations of one session in a batch.
const MAX_OF_SESSION: usize = 4;

/// Number of operations of one session. They fill several batches.
const BUSY: usize = 200;

/// The operation of another session is in the next batch, although it came last.
async fn a_busy_session_leaves_room_for_others<C: RedisClient>(fixture: Fixture<C>) {
    let sessions = fixture.sessions().await;
    room_for_others(&fixture, &sessions, |session| async move {
        session.get("a").await.unwrap();
    })
    .await;
    room_for_others(&fixture, &sessions, |session| async move {
        assert_eq!(session.set("a", "2").await.unwrap(), APPLIED);
    })
    .await;
}

async fn room_for_others<C: RedisClient, F: Future<Output = ()> + Send + 'static>(
    fixture: &Fixture<C>,
    [first, busy, other]: &[TestSession<RedisStore<C>>; 3],
    operation: impl Fn(TestSession<RedisStore<C>>) -> F,
) {
    for _ in 0..ROUNDS {
        let occupied = fixture.occupy(operation(first.clone())).await;
        let busy = start((0..BUSY).map(|_| operation(busy.clone()))).await;
        let mut other = tokio::spawn(operation(other.clone()));
        start([async {}]).await;
        // Forwards the held answer and the answer to the next batch.
        fixture.proxy.set(Traffic::HoldAfter(2));
        let has_answer = tokio::time::timeout(Duration::from_secs(1), &mut other).await.is_ok();
        let answered = busy.iter().filter(|operation| operation.is_finished()).count();
        fixture.proxy.set(Traffic::Forward);
        occupied.await.unwrap();
        for operation in busy {
            operation.await.unwrap();
        }
        if has_answer {
            assert_eq!(answered, MAX_OF_SESSION);
            return;
        }
        other.await.unwrap();
    }
    panic!("in some round, the other session should not wait for the busy one");
}

async fn waiting_operations_form_a_batch<C: RedisClient>(fixture: Fixture<C>) {
    let sessions = fixture.sessions::<FULL>().await;
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let first = fixture.occupy(get_a(sessions[0].clone())).await;
        let others = start(sessions[1..].iter().cloned().map(get_a)).await;
        let calls = fixture.calls();
        fixture.proxy.set(Traffic::Forward);
        for read in [first].into_iter().chain(others) {
            assert_eq!(read.await.unwrap().unwrap().unwrap(), "1");
        }
        reads.push(fixture.calls() - calls);

        let set = |(number, session): (usize, TestSession<_>)| async move {
            session.set("b", &number.to_string()).await
        };
        let first = fixture.occupy(set((0, sessions[0].clone()))).await;
        let others = start(sessions.iter().cloned().enumerate().skip(1).map(set)).await;
        let calls = fixture.calls();
        fixture.proxy.set(Traffic::Forward);
        for write in [first].into_iter().chain(others) {
            assert_eq!(write.await.unwrap().unwrap(), APPLIED);
        }
        writes.push(fixture.calls() - calls);
        for (number, session) in sessions.iter().enumerate() {
            assert_eq!(session.get("b").await.unwrap().unwrap(), number.to_string());
        }
    }
    assert_few_commands(&reads);
    assert_few_commands(&writes);
}

/// Checks that some round took at most three commands: one for the batch, and two for operations
/// that queued too late for it.
fn assert_few_commands(commands: &[u64]) {
    assert!(commands.iter().any(|commands| *commands <= 3), "{commands:?}");
}

async fn each_operation_of_a_batch_has_its_own_answer<C: RedisClient>(fixture: Fixture<C>) {
    let [first, live, other, ended, rotated, corrupt, foreign] = fixture.sessions().await;
    let key = |session: &TestSession<_>| {
        let keys = fixture.server.command::<Vec<String>>(&["KEYS", "*"]);
        let id = session.id.to_string();
        keys.into_iter().find(|key| key.ends_with(&id[2..])).unwrap()
    };
    assert_eq!(ended.delete().await.unwrap(), DELETED);
    let secret = SecretHash::from_bytes(random());
    assert_eq!(rotated.rotate(&secret).await.unwrap(), APPLIED);
    fixture.server.command::<()>(&["HSET", &key(&corrupt), "~", "soon"]);
    let foreign_key = key(&foreign);
    fixture.server.command::<()>(&["SET", &foreign_key, "a string"]);
    let thief = live.with_wrong_secret();
    let absent = TestSession::new(&fixture.store);
    assert_eq!(other.set("a", "2").await.unwrap(), APPLIED);

    let all = [&live, &ended, &rotated, &corrupt, &foreign, &thief, &absent, &other, &live];
    let occupied = fixture.occupy(get_a(first.clone())).await;
    let reads = start(all.map(|session| {
        let session = session.clone();
        async move { session.load_fields(Projection::Named(&["a", "b"]), None).await }
    }))
    .await;
    fixture.proxy.set(Traffic::Forward);
    assert_eq!(occupied.await.unwrap().unwrap().unwrap(), "1");
    let mut answers = Vec::new();
    for read in reads {
        answers.push(read.await.unwrap().map(|answer| {
            answer.map(|loaded| String::from_utf8(loaded.fields[0].value.to_vec()).unwrap())
        }));
    }
    assert_each(&answers, |answer, value| *answer == Ok(value.to_owned()));

    let occupied = fixture.occupy(set_a(first, "1")).await;
    let writes = start(all.into_iter().enumerate().map(|(number, session)| {
        let session = session.clone();
        async move { session.set("w", &number.to_string()).await }
    }))
    .await;
    fixture.proxy.set(Traffic::Forward);
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    let mut answers = Vec::new();
    for write in writes {
        answers.push(write.await.unwrap());
    }
    assert_each(&answers, |answer, _| *answer == APPLIED);
    assert_eq!(
        live.get("w").await.unwrap().unwrap(),
        "8",
        "the later one of two writes should win"
    );
    assert_eq!(other.get("w").await.unwrap().unwrap(), "7");
    assert_eq!(fixture.server.command::<String>(&["GET", &foreign_key]), "a string");
}

/// Checks the answers of [`each_operation_of_a_batch_has_its_own_answer`].
fn assert_each<T: std::fmt::Debug>(
    answers: &[StoreResult<T>],
    is_expected: impl Fn(&Result<T, Refused>, &str) -> bool,
) {
    let [live, ended, rotated, corrupt, foreign, thief, absent, other, again] = answers else {
        panic!("{answers:?}")
    };
    for (found, value) in [(live, "1"), (other, "2"), (again, "1")] {
        assert!(found.as_ref().is_ok_and(|answer| is_expected(answer, value)), "{found:?}");
    }
    assert!(matches!(ended, Ok(Err(Refused::Deleted { .. }))), "{ended:?}");
    assert!(matches!(rotated, Ok(Err(Refused::Replaced { .. }))), "{rotated:?}");
    for broken in [corrupt, foreign] {
        let kind = broken.as_ref().map_err(StoreError::kind).map(drop);
        assert_eq!(kind, Err(StoreErrorKind::Corrupt), "{broken:?}");
    }
    for nothing in [thief, absent] {
        assert!(matches!(nothing, Ok(Err(Refused::NotFound))), "{nothing:?}");
    }
}

async fn a_touch_in_a_batch_counts_if_it_is_due<C: RedisClient>(fixture: Fixture<C>) {
    let [first, due, not_due] = fixture.sessions().await;
    let (hour, two_hours) = (Duration::from_secs(3600), Ttl::from_secs(7200));
    let first = fixture.occupy(get_a(first)).await;
    let touches = [(due.clone(), Duration::ZERO), (not_due.clone(), 2 * hour)];
    let reads = start(touches.map(|(session, after)| async move {
        let touch = Some(Touch::new(two_hours, after));
        session.load_fields(Projection::Named(&["a"]), touch).await
    }))
    .await;
    fixture.proxy.set(Traffic::Forward);
    assert_eq!(first.await.unwrap().unwrap().unwrap(), "1");
    for read in reads {
        assert!(read.await.unwrap().unwrap().is_ok());
    }
    for (session, longest) in [(due, 2 * hour), (not_due, hour)] {
        let idle = session.load().await.unwrap().unwrap().meta.idle_remaining.unwrap();
        assert!(idle <= longest && idle > longest - hour / 2, "{idle:?}");
    }
}

async fn a_lost_answer_is_unknown_to_each_operation_of_the_batch<C: RedisClient>(
    fixture: Fixture<C>,
) {
    let [first, second, third] = fixture.sessions().await;
    let all = [second.clone(), third.clone()];
    // Loads the script of a batch.
    let occupied = fixture.occupy(set_a(first.clone(), "1")).await;
    let others = start(all.clone().map(|session| set_a(session, "1"))).await;
    fixture.proxy.set(Traffic::Forward);
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), APPLIED);
    }
    let occupied = fixture.occupy(set_a(first, "2")).await;
    let others = start(all.map(|session| set_a(session, "2"))).await;
    fixture.proxy.set(Traffic::HoldAfter(1));
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    fixture.proxy.set(Traffic::CutAnswersAfter(1));
    for other in others {
        assert_eq!(error_kind(other.await.unwrap()), StoreErrorKind::OutcomeUnknown);
    }
    fixture.proxy.set(Traffic::Forward);
    let writes = fixture.server.calls("hset");
    for session in [&second, &third] {
        wait_until("the client reconnects", async || session.get("a").await.is_ok()).await;
        assert_eq!(
            session.get("a").await.unwrap().unwrap(),
            "2",
            "the write should have been carried out"
        );
    }
    assert_eq!(fixture.server.calls("hset"), writes, "the write should not be sent again");
}

async fn an_operation_that_waits_too_long_is_not_sent<C: RedisClient>(fixture: Fixture<C>) {
    for _ in 0..ROUNDS {
        let [first, second, third] = fixture.sessions().await;
        let impatient =
            [&first, &second, &third].map(|session| session.through(&fixture.impatient));
        let [first, others @ ..] = impatient;
        // Loads the script, and connects.
        while !matches!(first.set("a", "1").await, Ok(Ok(_))) {}
        let first = fixture.occupy(set_a(first, "2")).await;
        let others = start(others.map(|session| set_a(session, "2"))).await;
        assert_eq!(error_kind(first.await.unwrap()), StoreErrorKind::OutcomeUnknown);
        let mut kinds = Vec::new();
        for other in others {
            kinds.push(error_kind(other.await.unwrap()));
        }
        fixture.proxy.set(Traffic::Forward);
        // On a busy machine, the other operations may queue late. If they are not yet overdue when
        // the first operation ends, they are sent.
        if kinds == [StoreErrorKind::Unavailable; 2] {
            for session in [second, third] {
                assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
            }
            return;
        }
    }
    panic!("in some round, no operation should be sent");
}

async fn a_dropped_operation_that_waits_is_not_sent<C: RedisClient>(fixture: Fixture<C>) {
    for _ in 0..ROUNDS {
        let [first, second, third] = fixture.sessions().await;
        let first = fixture.occupy(set_a(first, "2")).await;
        let mut others = start([&second, &third].map(|session| set_a(session.clone(), "2"))).await;
        others[0].abort();
        assert!(others.remove(0).await.is_err(), "a pending operation should get no answer");
        fixture.proxy.set(Traffic::Forward);
        assert_eq!(first.await.unwrap().unwrap(), APPLIED);
        assert_eq!(others.remove(0).await.unwrap().unwrap(), APPLIED);
        assert_eq!(third.get("a").await.unwrap().unwrap(), "2");
        // On a busy machine the operation may have been sent before it was dropped.
        if second.get("a").await.unwrap().unwrap() == "1" {
            return;
        }
    }
    panic!("in some round, the operation should not be sent");
}

async fn a_dropped_operation_in_flight_holds_up_no_other<C: RedisClient>(fixture: Fixture<C>) {
    let [first, second, third] = fixture.sessions().await;
    let first = fixture.occupy(get_a(first)).await;
    let others = start([second, third].map(get_a)).await;
    first.abort();
    assert!(first.await.is_err());
    fixture.proxy.set(Traffic::Forward);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().unwrap(), "1");
    }
}

async fn an_operation_that_is_not_polled_holds_up_no_other<C: RedisClient>(fixture: Fixture<C>) {
    not_polled_operations_hold_up_no_other(&fixture.sessions::<3>().await).await;
}

/// Starts a read and a write, and polls neither of them while others run.
async fn not_polled_operations_hold_up_no_other<S: Store>(sessions: &[TestSession<S>]) {
    let mut get = Box::pin(sessions[0].get("a"));
    let mut set = Box::pin(sessions[1].set("a", "2"));
    tokio::select! {
        biased;
        _ = async { tokio::join!(&mut get, &mut set) } => panic!("neither should have an answer"),
        () = std::future::ready(()) => {}
    }
    for _ in 0..3 {
        assert_eq!(sessions[2].set("a", "3").await.unwrap(), APPLIED);
        assert_eq!(sessions[2].get("a").await.unwrap().unwrap(), "3");
    }
    assert_eq!(get.await.unwrap().unwrap(), "1");
    assert_eq!(set.await.unwrap(), APPLIED);
}

async fn a_batch_script_that_the_server_forgot_is_sent_again<C: RedisClient>(fixture: Fixture<C>) {
    let [first, second, third] = fixture.sessions().await;
    for value in ["2", "3"] {
        let occupied = fixture.occupy(set_a(first.clone(), value)).await;
        let others = start([&second, &third].map(|session| set_a(session.clone(), value))).await;
        fixture.server.command::<()>(&["SCRIPT", "FLUSH"]);
        fixture.proxy.set(Traffic::Forward);
        assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), APPLIED);
        }
        assert_eq!(third.get("a").await.unwrap().unwrap(), value);
    }
}

async fn large_values_are_read_in_several_batches<C: RedisClient>(fixture: Fixture<C>) {
    let sessions = fixture.sessions::<6>().await;
    let large = "x".repeat(150 << 10);
    for session in &sessions {
        assert_eq!(session.set("large", &large).await.unwrap(), APPLIED);
    }
    let get = |session: TestSession<_>| async move { session.get("large").await };
    let mut commands = Vec::new();
    for _ in 0..ROUNDS {
        let first = fixture.occupy(get_a(sessions[0].clone())).await;
        let others = start(sessions[1..].iter().cloned().map(get)).await;
        let calls = fixture.calls();
        fixture.proxy.set(Traffic::Forward);
        assert_eq!(first.await.unwrap().unwrap().unwrap(), "1");
        for other in others {
            assert_eq!(other.await.unwrap().unwrap().unwrap(), large);
        }
        commands.push(fixture.calls() - calls);
    }
    // The first batch has all five sessions, and most of them are then read again one by one. Later
    // batches have two sessions, because the batch size adapts.
    assert!(commands[1..].contains(&3), "{commands:?}");
}

async fn waiting_lookups_of_a_cache_form_a_batch<C: RedisClient>(fixture: Fixture<C>) {
    let life = Duration::from_secs(300);
    let look_up = |session: TestSession<RedisStore<C>>| async move {
        session.store.lookup(session.credentials(), Projection::Named(&["a"]), None).await
    };
    let value = |number: usize| Bytes::from(number.to_string());
    let sessions: Vec<_> = (0..FULL).map(|_| TestSession::new(&fixture.store)).collect();
    for (number, session) in sessions.iter().enumerate() {
        let CacheLookup::Miss(Some(lease)) = look_up(session.clone()).await.unwrap() else {
            panic!("a new entry should be a miss with a lease")
        };
        let value = value(number);
        let fields = [CachedField::new("a", Some(&value), life)];
        let record = CachedRecord::new(SessionMeta::default(), life);
        let store = &fixture.store;
        store.fill(session.credentials(), &lease, record, &fields).await.unwrap();
    }
    let mut commands = Vec::new();
    for _ in 0..ROUNDS {
        let first = fixture.occupy(look_up(sessions[0].clone())).await;
        let others = start(sessions[1..].iter().cloned().map(look_up)).await;
        let calls = fixture.calls();
        fixture.proxy.set(Traffic::Forward);
        for (number, lookup) in [first].into_iter().chain(others).enumerate() {
            let CacheLookup::Hit(loaded) = lookup.await.unwrap().unwrap() else {
                panic!("{number}: the lookup should be a hit")
            };
            assert_eq!(loaded.fields[0].value, value(number));
        }
        commands.push(fixture.calls() - calls);
    }
    assert_few_commands(&commands);

    let [first, known, other, written, foreign] = sessions[..5].to_vec().try_into().ok().unwrap();
    let thief = known.with_wrong_secret();
    fixture.store.begin_write(&written.id, InvalidationScope::All, life).await.unwrap();
    let keys: Vec<String> = fixture.server.command(&["KEYS", "*"]);
    let id = foreign.id.to_string();
    let key = keys.iter().find(|key| key.ends_with(&format!("{}:hot", &id[2..]))).unwrap();
    fixture.server.command::<()>(&["SET", key, "a string"]);
    let first = fixture.occupy(look_up(first)).await;
    let all = [known, other.clone(), thief, written, foreign, TestSession::new(&fixture.store)];
    let unknown_field = async move {
        let fields = Projection::Named(&["a", "b"]);
        other.store.lookup(other.credentials(), fields, None).await
    };
    let [known, other, thief, written, foreign, absent] =
        start(all.map(look_up)).await.try_into().ok().unwrap();
    let [unknown_field] = start([unknown_field]).await.try_into().ok().unwrap();
    fixture.proxy.set(Traffic::Forward);
    for hit in [first, known, other] {
        assert!(matches!(hit.await.unwrap().unwrap(), CacheLookup::Hit(_)));
    }
    for miss in [thief, absent, unknown_field] {
        assert!(matches!(miss.await.unwrap().unwrap(), CacheLookup::Miss(Some(_))));
    }
    assert!(matches!(written.await.unwrap().unwrap(), CacheLookup::Miss(None)));
    assert_eq!(error_kind(foreign.await.unwrap()), StoreErrorKind::Corrupt);
}

/// Writes and reads many sessions concurrently, several times.
async fn many_sessions_at_once<C: RedisClient>(store: RedisStore<C>) {
    let store = Arc::new(store);
    let mut sessions = Vec::new();
    for _ in 0..FULL {
        sessions.push(TestSession::begin(&store).await);
    }
    for round in 0..3 {
        let mut tasks = JoinSet::new();
        for session in sessions.iter().cloned() {
            tasks.spawn(async move {
                let value = format!("{round} of {}", session.id);
                assert_eq!(session.set("a", &value).await.unwrap(), APPLIED);
                assert_eq!(session.get("a").await.unwrap().unwrap(), value);
            });
        }
        tasks.join_all().await;
    }
}

#[tokio::test]
async fn sessions_on_different_nodes_are_not_batched() {
    let cluster = Cluster::shared();
    let fred = redis_builder(fred_cluster(cluster).await, &Prefix::unique()).max_in_flight(1);
    many_sessions_at_once(fred.build()).await;
    let redis_rs = redis_builder(redis_cluster(cluster).await, &Prefix::unique()).max_in_flight(1);
    many_sessions_at_once(redis_rs.build()).await;
}

#[tokio::test]
async fn large_operations_are_not_batched() {
    let pair = redis_one_in_flight().await;
    let store = pair.next();
    let sessions = [(); 5].map(|()| TestSession::new(&store));
    let names: Vec<String> = (0..300).map(|number| format!("field {number}")).collect();
    let mut tasks = JoinSet::new();
    for session in sessions {
        let names = names.clone();
        tasks.spawn(async move {
            session.create(None).await.unwrap();
            assert_eq!(session.set("large", &"x".repeat(1 << 20)).await.unwrap(), APPLIED);
            let value = "many".into();
            let set = |name| Change::Set(FieldWrite::new(name, &value));
            let changes: Vec<_> = names.iter().map(|name| set(name)).collect();
            assert_eq!(session.change(&changes).await.unwrap(), APPLIED);
            let names: Vec<&str> = names.iter().map(String::as_str).chain(["large"]).collect();
            let loaded = session.load_fields(Projection::Named(&names), None).await.unwrap();
            let loaded = loaded.unwrap();
            assert_eq!(loaded.fields.len(), 301);
            let lengths: usize = loaded.fields.iter().map(|field| field.value.len()).sum();
            assert_eq!(lengths, 300 * value.len() + (1 << 20));
        });
    }
    tasks.join_all().await;
}

/// A store on PostgreSQL with at most one read and one write in flight, and locks that block it.
struct PostgresFixture {
    proxy: Proxy,
    schema: Schema,
    pool: PgPool,
    store: Arc<PostgresStore>,
}

type Lock = Transaction<'static, sqlx::Postgres>;

impl PostgresFixture {
    async fn new() -> Self {
        let server = Postgres::shared();
        let proxy = Proxy::before(&server.address()).await;
        let url = server.url().replace(&server.address(), proxy.address());
        let pool = PgPoolOptions::new().max_connections(3).connect(&url).await.unwrap();
        // Opens all connections.
        drop((pool.acquire().await, pool.acquire().await, pool.acquire().await));
        let schema = server.schema();
        let builder = PostgresStore::builder(pool).create_tables(true).schema_name(schema.name());
        let builder = builder.cleanup_interval(None).timeout(LONG_TIMEOUT);
        let store = Arc::new(builder.build().await.unwrap());
        Self { proxy, schema, pool: server.pool(3), store }
    }

    /// Creates sessions whose field `a` holds "1".
    async fn sessions(&self, count: usize) -> Vec<TestSession<PostgresStore>> {
        let mut sessions = Vec::new();
        for _ in 0..count {
            let session = TestSession::begin(&self.store).await;
            assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
            session.get("a").await.unwrap();
            sessions.push(session);
        }
        sessions
    }

    /// Runs a statement for a session in a transaction that stays open.
    async fn begin(&self, sql: &str, session: &TestSession<PostgresStore>) -> Lock {
        let mut lock = self.pool.begin().await.unwrap();
        let sql = sql.replace("SCHEMA", self.schema.name());
        let query = sqlx::query(AssertSqlSafe(sql)).bind(session.id.as_bytes().to_vec());
        query.execute(&mut *lock).await.unwrap();
        lock
    }

    /// Changes the row of a session.
    async fn alter(&self, session: &TestSession<PostgresStore>, assignment: &str) {
        let sql = format!("update SCHEMA.sessions set {assignment} where session_id = $1");
        self.begin(&sql, session).await.commit().await.unwrap();
    }

    /// Evaluates a condition on the row of a session.
    async fn is(&self, session: &TestSession<PostgresStore>, condition: &str) -> bool {
        let schema = self.schema.name();
        let sql = format!("select {condition} from {schema}.sessions where session_id = $1");
        let id = session.id.as_bytes().to_vec();
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(id);
        query.fetch_one(&self.pool).await.unwrap()
    }

    /// Blocks every read.
    async fn lock_table(&self) -> Lock {
        let mut lock = self.pool.begin().await.unwrap();
        let sql = format!("lock table {}.sessions", self.schema.name());
        lock.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
        lock
    }

    /// Blocks every write to a session.
    async fn lock_row(&self, session: &TestSession<PostgresStore>) -> Lock {
        let sql = "select from SCHEMA.sessions where session_id = $1 for update";
        self.begin(sql, session).await
    }

    /// Waits until a statement of this schema waits for a lock.
    async fn wait_for_lock_queue(&self) {
        let sql = format!(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
             and query like '%{}%'",
            self.schema.name()
        );
        wait_until("a statement waits for the lock", async || {
            let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql.clone()));
            query.fetch_one(&self.pool).await.unwrap() > 0
        })
        .await;
    }

    /// Returns the number of statements that the store has sent since the last call.
    fn take_statements(&self) -> usize {
        self.proxy.take_requests().iter().filter(|size| **size > SYNC).count()
    }
}

/// Size of a single `Sync` message, with which the pool tests each connection that comes back.
const SYNC: usize = 5;

/// Checks that some round took one statement. The other rounds may take more, because each
/// connection has to prepare each statement once.
fn assert_one_statement(statements: &[usize]) {
    assert!(statements.contains(&1), "{statements:?}");
}

#[tokio::test]
async fn an_operation_that_is_not_polled_holds_up_no_other_on_postgres() {
    let fixture = PostgresFixture::new().await;
    not_polled_operations_hold_up_no_other(&fixture.sessions(3).await).await;
}

#[tokio::test]
async fn waiting_reads_form_a_batch_on_postgres() {
    let fixture = PostgresFixture::new().await;
    let sessions = fixture.sessions(FULL).await;
    assert_eq!(sessions[2].delete().await.unwrap(), DELETED);
    let secret = SecretHash::from_bytes(random());
    assert_eq!(sessions[3].rotate(&secret).await.unwrap(), APPLIED);
    assert_eq!(sessions[4].set("a", "2").await.unwrap(), APPLIED);
    let thief = sessions[1].with_wrong_secret();
    let absent = TestSession::new(&fixture.store);
    let read = |session: TestSession<PostgresStore>| async move {
        session.load_fields(Projection::Named(&["a", "b"]), None).await
    };
    let mut statements = Vec::new();
    for _ in 0..ROUNDS {
        let lock = fixture.lock_table().await;
        let first = tokio::spawn(read(sessions[0].clone()));
        fixture.wait_for_lock_queue().await;
        let all = sessions[1..].iter().chain([&thief, &absent]).cloned();
        let others = start(all.take(FULL).map(read)).await;
        fixture.take_statements();
        lock.commit().await.unwrap();
        assert!(first.await.unwrap().unwrap().is_ok());
        for (number, other) in others.into_iter().enumerate() {
            let answer = other.await.unwrap().unwrap();
            let holds =
                |value: &str| answer.as_ref().is_ok_and(|loaded| loaded.fields[0].value == value);
            let is_expected = match number + 1 {
                2 => matches!(answer, Err(Refused::Deleted { .. })),
                3 => matches!(answer, Err(Refused::Replaced { .. })),
                4 => holds("2"),
                FULL.. => answer == Err(Refused::NotFound),
                _ => holds("1"),
            };
            assert!(is_expected, "{number}: {answer:?}");
        }
        statements.push(fixture.take_statements());
    }
    assert_one_statement(&statements);
}

#[tokio::test]
async fn waiting_writes_form_a_batch_on_postgres() {
    let fixture = PostgresFixture::new().await;
    let sessions = fixture.sessions(FULL).await;
    let mut statements = Vec::new();
    for round in 0..ROUNDS {
        let set = |(number, session): (usize, TestSession<PostgresStore>)| async move {
            session.set("b", &format!("{round} {number}")).await
        };
        let lock = fixture.lock_row(&sessions[0]).await;
        let first = tokio::spawn(set((0, sessions[0].clone())));
        fixture.wait_for_lock_queue().await;
        let others = start(sessions.iter().cloned().enumerate().skip(1).map(set)).await;
        fixture.take_statements();
        lock.commit().await.unwrap();
        for write in [first].into_iter().chain(others) {
            assert_eq!(write.await.unwrap().unwrap(), APPLIED);
        }
        statements.push(fixture.take_statements());
        for (number, session) in sessions.iter().enumerate() {
            let value = session.get("b").await.unwrap().unwrap();
            assert_eq!(value, format!("{round} {number}"));
        }
    }
    assert_one_statement(&statements);
}

/// Each write of a batch gets the answer that it would get as a single operation.
#[tokio::test]
async fn each_write_of_a_batch_has_its_own_answer_on_postgres() {
    let fixture = PostgresFixture::new().await;
    let sessions = fixture.sessions(12).await;
    let [first, live, other, ended, rotated, idle, absolute, epoch, faded, renewed, due, used] =
        sessions.try_into().ok().unwrap();
    assert_eq!(ended.delete().await.unwrap(), DELETED);
    let secret = SecretHash::from_bytes(random());
    assert_eq!(rotated.rotate(&secret).await.unwrap(), APPLIED);
    fixture.alter(&idle, "idle_at = clock_timestamp()").await;
    fixture.alter(&absolute, "absolute_at = clock_timestamp()").await;
    fixture.alter(&epoch, "epoch = -1").await;
    let sql = "update SCHEMA.sessions_fields set expires_at = clock_timestamp()
        where session = (select id from SCHEMA.sessions where session_id = $1)";
    fixture.begin(sql, &faded).await.commit().await.unwrap();
    let secret = SecretHash::from_bytes(random());
    let renew = Renew::new(&secret, Ttl::from_millis(1), Duration::from_secs(30));
    assert_eq!(renewed.update(Update::new(&[]).renew(renew)).await.unwrap(), APPLIED);
    let renewed = renewed.with_secret(secret);
    fixture.alter(&due, "idle_at = clock_timestamp() + interval '1 minute'").await;
    let thief = live.with_wrong_secret();
    let absent = TestSession::new(&fixture.store);

    let replace = |(session, old): (TestSession<PostgresStore>, Option<&'static str>)| async move {
        let (old, new) = (old.map(Bytes::from), Bytes::from("2"));
        let changes = [Change::Set(FieldWrite::new("a", &new))];
        let update = Update::new(&changes)
            .precondition(Precondition::new("a", old.as_ref()))
            .touch(Touch::new(Ttl::from_secs(3600), Duration::from_secs(600)));
        session.update(update).await
    };
    let conflict = |current: Option<&'static str>| {
        Ok(Written::new(Updated::Conflict { current: current.map(Bytes::from) }))
    };
    let one = Some("1");
    let cases = [
        (&live, one, "applied"),
        (&other, Some("9"), "conflict with 1"),
        (&ended, one, "ended"),
        (&rotated, one, "replaced"),
        (&idle, one, "not found"),
        (&absolute, one, "not found"),
        (&epoch, one, "revoked"),
        (&faded, one, "conflict with nothing"),
        (&renewed, one, "applied"),
        (&due, one, "applied"),
        (&used, None, "conflict with 1"),
        (&thief, one, "not found"),
        (&absent, one, "not found"),
        (&live, one, "conflict with 2"),
    ];
    let lock = fixture.lock_row(&first).await;
    let occupied = tokio::spawn(replace((first.clone(), one)));
    fixture.wait_for_lock_queue().await;
    let others = start(cases.map(|(session, old, _)| replace((session.clone(), old)))).await;
    lock.commit().await.unwrap();
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    for (number, (answer, (_, _, expected))) in others.into_iter().zip(cases).enumerate() {
        let answer = answer.await.unwrap().unwrap();
        let is_expected = match expected {
            "applied" => answer == APPLIED,
            "ended" => matches!(answer, Err(Refused::Deleted { .. })),
            "replaced" => matches!(answer, Err(Refused::Replaced { .. })),
            "revoked" => answer == Err(Refused::Revoked),
            "not found" => answer == Err(Refused::NotFound),
            "conflict with nothing" => answer == conflict(None),
            "conflict with 1" => answer == conflict(Some("1")),
            _ => answer == conflict(Some("2")),
        };
        assert!(is_expected, "{number}: the answer should be {expected}, but is {answer:?}");
    }
    let values = [(&live, "2"), (&other, "1"), (&renewed, "2"), (&due, "2"), (&used, "1")];
    for (session, value) in values {
        assert_eq!(session.get("a").await.unwrap().unwrap(), value);
    }
    // A write in a batch also starts a grace period, and touches the session.
    assert!(fixture.is(&renewed, "grace_until is not null").await);
    let is_moved = "idle_at > clock_timestamp() + interval '55 minutes'";
    assert!(fixture.is(&due, is_moved).await);

    let lock = fixture.lock_row(&first).await;
    let set = |session: TestSession<PostgresStore>| async move {
        session.set_with_ttl("b", "1", Some(Duration::from_secs(300))).await
    };
    let occupied = tokio::spawn(set(first.clone()));
    fixture.wait_for_lock_queue().await;
    let others = start([live.clone(), other].map(set)).await;
    lock.commit().await.unwrap();
    for write in [occupied].into_iter().chain(others) {
        assert_eq!(write.await.unwrap().unwrap(), APPLIED);
    }
    let loaded = live.load().await.unwrap().unwrap();
    let b = loaded.fields.iter().find(|field| &*field.name == "b").unwrap();
    assert!(b.ttl.is_some(), "the field should have a TTL");

    // A write without a touch also notices a deadline that has passed.
    let lock = fixture.lock_row(&first).await;
    let set = |session: TestSession<PostgresStore>| async move { session.set("c", "1").await };
    let occupied = tokio::spawn(set(first.clone()));
    fixture.wait_for_lock_queue().await;
    let [live, idle] = start([live, idle].map(set)).await.try_into().ok().unwrap();
    lock.commit().await.unwrap();
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    assert_eq!(live.await.unwrap().unwrap(), APPLIED);
    assert_eq!(idle.await.unwrap().unwrap(), Err(Refused::NotFound));
}

#[tokio::test]
async fn a_locked_session_of_a_batch_holds_up_no_other_on_postgres() {
    let fixture = PostgresFixture::new().await;
    let [first, second, third] = fixture.sessions(3).await.try_into().ok().unwrap();
    let thief = third.with_wrong_secret();
    let set = |session| set_a(session, "2");
    let (lock, longer) = (fixture.lock_row(&first).await, fixture.lock_row(&second).await);
    let occupied = tokio::spawn(set(first.clone()));
    fixture.wait_for_lock_queue().await;
    let all = [second.clone(), third.clone(), thief, TestSession::new(&fixture.store)];
    let [of_second, of_third, of_thief, of_absent] =
        start(all.map(set)).await.try_into().ok().unwrap();
    lock.commit().await.unwrap();
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    assert_eq!(of_third.await.unwrap().unwrap(), APPLIED);
    assert_eq!(of_thief.await.unwrap().unwrap(), Err(Refused::NotFound));
    assert_eq!(of_absent.await.unwrap().unwrap(), Err(Refused::NotFound));
    assert!(!of_second.is_finished(), "the operation should wait, because its session is locked");
    longer.commit().await.unwrap();
    assert_eq!(of_second.await.unwrap().unwrap(), APPLIED);
    for session in [first, second, third] {
        assert_eq!(session.get("a").await.unwrap().unwrap(), "2");
    }
}

#[tokio::test]
async fn an_error_of_one_write_does_not_fail_the_others_on_postgres() {
    let fixture = PostgresFixture::new().await;
    let sessions = fixture.sessions(4).await;
    let sql = "create function SCHEMA.refuse() returns trigger language plpgsql as $$ begin
            if new.value like '%bad' then raise exception 'no' using errcode = '53100'; end if;
            return new;
        end $$;
        create trigger refuse before insert or update on SCHEMA.sessions_fields
        for each row execute function SCHEMA.refuse()";
    let sql = sql.replace("SCHEMA", fixture.schema.name());
    fixture.pool.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    let lock = fixture.lock_row(&sessions[0]).await;
    let occupied = tokio::spawn(set_a(sessions[0].clone(), "2"));
    fixture.wait_for_lock_queue().await;
    let values = ["good", "bad", "good"];
    let writes = sessions[1..].iter().cloned().zip(values);
    let others = start(writes.map(|(session, value)| set_a(session, value))).await;
    lock.commit().await.unwrap();
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    let [good, bad, too] = others.try_into().ok().unwrap();
    assert_eq!(good.await.unwrap().unwrap(), APPLIED);
    assert_eq!(error_kind(bad.await.unwrap()), StoreErrorKind::Full);
    assert_eq!(too.await.unwrap().unwrap(), APPLIED);
    assert_eq!(sessions[2].get("a").await.unwrap().unwrap(), "1");
    assert_eq!(sessions[3].get("a").await.unwrap().unwrap(), "good");
}

#[tokio::test]
async fn a_slow_write_holds_up_no_other_on_postgres() {
    let fixture = PostgresFixture::new().await;
    let [first, second] = fixture.sessions(2).await.try_into().ok().unwrap();
    let lock = fixture.lock_row(&first).await;
    let slow = tokio::spawn(set_a(first, "2"));
    fixture.wait_for_lock_queue().await;
    assert_eq!(set_a(second, "2").await.unwrap(), APPLIED);
    assert!(!slow.is_finished(), "the operation should wait, because its session is locked");
    lock.commit().await.unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), APPLIED);
}

#[test]
fn a_runtime_that_is_not_driven_holds_up_no_other() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let client = runtime.block_on(fred_client(server.url()));
    let store = Arc::new(redis_builder(client, &prefix).max_in_flight(1).build());
    let session = runtime.block_on(TestSession::begin(&store));
    for _ in 0..50 {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let session = session.clone();
                runtime.spawn(async move { session.get("a").await })
            })
            .collect();
        // Nothing drives the runtime `other` after this call until the next round.
        assert_eq!(other.block_on(session.set("a", "1")).unwrap(), APPLIED);
        let all = async {
            for task in tasks {
                task.await.unwrap().unwrap();
            }
        };
        let answers = runtime.block_on(async { tokio::time::timeout(LONG_TIMEOUT, all).await });
        answers.unwrap();
    }
}
