//! Operations on several sessions that go to the server together: how many commands that takes, and that
//! each has its own answer, whatever becomes of the others.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ruts::{
    CachePolicy, SecretHash, Ttl,
    store::{
        Cache, CacheLookup, CachedField, CachedRecord, Change, FieldWrite, InvalidationScope,
        Lookup, Precondition, Projection, Renew, SessionMeta, Store, StoreError, StoreErrorKind,
        Touch, Update, Updated,
        postgres::{PostgresStore, PostgresStoreBuilder},
        redis::{RedisClient, RedisStore},
    },
};
use ruts_tests::{
    Proxy, Traffic, Visitor,
    backends::{fred_client, fred_cluster, manager, redis_cluster, redis_store},
    kind, random,
    servers::{Cluster, Flavour, Postgres, Prefix, Redis, Schema},
    tiers::until,
};
use sqlx::{AssertSqlSafe, Executor, PgPool, Transaction, postgres::PgPoolOptions};
use tokio::task::{JoinHandle, JoinSet};

const APPLIED: Lookup<Updated> = Lookup::Found(Updated::Applied { found: 0 });
const MANY: usize = 64;

/// A server of Redis whose answers can be held back, and a store one of whose operations is under way at a time.
struct Held<C: RedisClient> {
    server: Redis,
    proxy: Proxy,
    store: Arc<RedisStore<C>>,
}

impl<C: RedisClient> Held<C> {
    async fn new(flavour: Flavour, connect: impl AsyncFn(String) -> C) -> Self {
        let server = Redis::start(flavour, &[]);
        let proxy = Proxy::before(&server.address()).await;
        let client = connect(format!("redis://{}", proxy.address())).await;
        let store = Arc::new(redis_store(client, &Prefix::unique()).with_in_flight(1));
        Self { server, proxy, store }
    }

    async fn visitors<const N: usize>(&self) -> [Visitor<RedisStore<C>>; N] {
        let mut visitors = Vec::new();
        for _ in 0..N {
            let visitor = Visitor::begin(&self.store).await;
            visitor.set("a", "1").await.unwrap();
            visitor.get("a").await.unwrap();
            visitors.push(visitor);
        }
        self.proxy.take_requests();
        visitors.try_into().ok().unwrap()
    }

    /// Starts an operation whose answer is held back, so that those which come now wait.
    async fn occupied<T: Send + 'static>(
        &self,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.proxy.set(Traffic::KeepsAnswers);
        let first = tokio::spawn(operation);
        self.proxy.kept().await;
        first
    }
}

/// Starts them one after the other, and lets each get as far as it can.
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

macro_rules! through {
    ($($test:ident),+ $(,)?) => {
        mod redis_through_fred { through!(@ Redis fred_client: $($test),+); }
        mod valkey_through_fred { through!(@ Valkey fred_client: $($test),+); }
        mod redis_through_redis_rs { through!(@ Redis manager: $($test),+); }
    };
    (@ $flavour:ident $client:ident: $($test:ident),+) => {
        $(#[tokio::test]
        async fn $test() {
            let connect = async |url: String| super::$client(&url).await;
            super::$test(super::Held::new(super::Flavour::$flavour, connect).await).await;
        })+
    };
}

through! {
    those_that_wait_go_together,
    each_has_its_own_answer,
    a_use_counts_if_it_is_due,
    a_lost_answer_is_unknown_to_all_that_went,
    who_waits_too_long_is_not_sent,
    who_gives_up_waiting_is_not_sent,
    who_is_dropped_holds_up_nobody,
    who_stops_polling_holds_up_nobody,
    a_forgotten_script_is_sent_again,
    what_is_large_is_not_read_together,
    looks_at_a_cache_that_wait_go_together,
}

async fn those_that_wait_go_together<C: RedisClient>(held: Held<C>) {
    let visitors = held.visitors::<MANY>().await;
    for _ in 0..2 {
        let get = |visitor: Visitor<_>| async move { visitor.get("a").await };
        let first = held.occupied(get(visitors[0].clone())).await;
        let others = start(visitors[1..].iter().cloned().map(get)).await;
        held.proxy.take_requests();
        let calls = held.server.calls("evalsha");
        held.proxy.set(Traffic::Flows);
        assert_eq!(first.await.unwrap().unwrap().unwrap(), "1");
        for other in others {
            assert_eq!(other.await.unwrap().unwrap().unwrap(), "1");
        }
        let calls = held.server.calls("evalsha") - calls;
        assert!(calls <= 3, "{calls} commands");

        let set = |(number, visitor): (usize, Visitor<_>)| async move {
            visitor.set("b", &number.to_string()).await
        };
        let first = held.occupied(set((0, visitors[0].clone()))).await;
        let others = start(visitors.iter().cloned().enumerate().skip(1).map(set)).await;
        let calls = held.server.calls("evalsha");
        held.proxy.set(Traffic::Flows);
        assert_eq!(first.await.unwrap().unwrap(), APPLIED);
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), APPLIED);
        }
        let calls = held.server.calls("evalsha") - calls;
        assert!(calls <= 3, "{calls} commands");
        for (number, visitor) in visitors.iter().enumerate() {
            assert_eq!(visitor.get("b").await.unwrap().unwrap(), number.to_string());
        }
    }
}

async fn each_has_its_own_answer<C: RedisClient>(held: Held<C>) {
    let [first, live, other, ended, rotated, corrupt, foreign, user] = held.visitors().await;
    let key = |visitor: &Visitor<_>| {
        let name = held.server.command::<Vec<String>>(&["KEYS", "*"]);
        let id = visitor.id.to_string();
        name.into_iter().find(|key| key.ends_with(&id[2..])).unwrap()
    };
    ended.delete().await.unwrap();
    rotated.rotate(&SecretHash::from_bytes(random())).await.unwrap();
    held.server.command::<()>(&["HSET", &key(&corrupt), "~", "soon"]);
    let name = key(&foreign);
    held.server.command::<()>(&["SET", &name, "a string"]);
    let thief = Visitor { secret: SecretHash::from_bytes(random()), ..live.clone() };
    let nobody = Visitor::new(&held.store);
    user.rotate(&user.secret).await.unwrap();
    other.set("a", "2").await.unwrap();

    let all = [&live, &ended, &rotated, &corrupt, &foreign, &thief, &nobody, &other, &live];
    let occupied = held.occupied(async move { first.get("a").await }).await;
    let reads = start(all.map(|visitor| {
        let visitor = visitor.clone();
        async move {
            visitor.store.load(visitor.credentials(), Projection::Named(&["a", "b"]), None).await
        }
    }));
    let reads = reads.await;
    held.proxy.set(Traffic::Flows);
    assert_eq!(occupied.await.unwrap().unwrap().unwrap(), "1");
    let mut answers = Vec::new();
    for read in reads {
        answers.push(read.await.unwrap().map(|lookup| {
            lookup.map(|loaded| String::from_utf8(loaded.fields[0].value.to_vec()).unwrap())
        }));
    }
    assert_each(&answers, |answer, value| *answer == Lookup::Found(value.to_owned()));

    let first = Visitor::begin(&held.store).await;
    let occupied = held.occupied(async move { first.set("a", "1").await }).await;
    let writes = start(all.into_iter().enumerate().map(|(number, visitor)| {
        let visitor = visitor.clone();
        async move { visitor.set("w", &number.to_string()).await }
    }));
    let writes = writes.await;
    held.proxy.set(Traffic::Flows);
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    let mut answers = Vec::new();
    for write in writes {
        answers.push(write.await.unwrap());
    }
    assert_each(&answers, |answer, _| *answer == APPLIED);
    assert_eq!(live.get("w").await.unwrap().unwrap(), "8", "the last of two");
    assert_eq!(other.get("w").await.unwrap().unwrap(), "7");
    assert_eq!(held.server.command::<String>(&["GET", &name]), "a string");
}

/// What those of [`each_has_its_own_answer`] are told.
fn assert_each<T: std::fmt::Debug>(
    answers: &[Result<Lookup<T>, StoreError>],
    is: impl Fn(&Lookup<T>, &str) -> bool,
) {
    let [live, ended, rotated, corrupt, foreign, thief, nobody, other, again] = answers else {
        panic!("{answers:?}")
    };
    assert!(live.as_ref().is_ok_and(|answer| is(answer, "1")), "{live:?}");
    assert!(matches!(ended, Ok(Lookup::Ended { .. })), "{ended:?}");
    assert!(matches!(rotated, Ok(Lookup::Replaced { .. })), "{rotated:?}");
    for broken in [corrupt, foreign] {
        let kind = broken.as_ref().map_err(StoreError::kind).map(drop);
        assert_eq!(kind, Err(StoreErrorKind::Corrupt), "{broken:?}");
    }
    for nothing in [thief, nobody] {
        assert!(matches!(nothing, Ok(Lookup::NotFound)), "{nothing:?}");
    }
    assert!(other.as_ref().is_ok_and(|answer| is(answer, "2")), "{other:?}");
    assert!(again.as_ref().is_ok_and(|answer| is(answer, "1")), "{again:?}");
}

async fn a_use_counts_if_it_is_due<C: RedisClient>(held: Held<C>) {
    let [first, due, not_due] = held.visitors().await;
    let (hour, two) = (Duration::from_secs(3600), Ttl::from_secs(7200));
    let first = held.occupied(async move { first.get("a").await }).await;
    let uses = [(due.clone(), Duration::ZERO), (not_due.clone(), 2 * hour)];
    let reads = start(uses.map(|(visitor, after)| async move {
        let touch = Some(Touch { idle: two, after });
        visitor.store.load(visitor.credentials(), Projection::Named(&["a"]), touch).await
    }));
    let reads = reads.await;
    held.proxy.set(Traffic::Flows);
    assert_eq!(first.await.unwrap().unwrap().unwrap(), "1");
    for read in reads {
        assert!(matches!(read.await.unwrap(), Ok(Lookup::Found(_))));
    }
    for (visitor, longest) in [(due, 2 * hour), (not_due, hour)] {
        let Lookup::Found(loaded) = visitor.load().await.unwrap() else { panic!("it is there") };
        let idle = loaded.meta.idle.unwrap();
        assert!(idle <= longest && idle > longest - hour / 2, "{idle:?}");
    }
}

async fn a_lost_answer_is_unknown_to_all_that_went<C: RedisClient>(held: Held<C>) {
    let [first, second, third] = held.visitors().await;
    let all = [second.clone(), third.clone()];
    // Once, so that the script is there.
    let set = |visitor: Visitor<_>| async move { visitor.set("a", "1").await };
    let occupied = held.occupied(set(first.clone())).await;
    let others = start(all.clone().map(set)).await;
    held.proxy.set(Traffic::Flows);
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), APPLIED);
    }
    let set = |visitor: Visitor<_>| async move { visitor.set("a", "2").await };
    let first = held.occupied(set(first)).await;
    let others = start(all.map(set)).await;
    held.proxy.set(Traffic::WaitsAfter(1));
    assert_eq!(first.await.unwrap().unwrap(), APPLIED);
    held.proxy.set(Traffic::CutsAnswersAfter(1));
    for other in others {
        assert_eq!(kind(other.await.unwrap()), StoreErrorKind::Unknown);
    }
    held.proxy.set(Traffic::Flows);
    let calls = held.server.calls("hset");
    for visitor in [&second, &third] {
        while visitor.get("a").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), "2", "it was done");
    }
    assert_eq!(held.server.calls("hset"), calls, "and not again");
}

async fn who_waits_too_long_is_not_sent<C: RedisClient>(held: Held<C>) {
    let [first, second, third] = held.visitors().await;
    // When the first has taken too long to keep its place, the others have waited for half of their time.
    let timeout = Duration::from_millis(300);
    let hasty = |visitor: Visitor<RedisStore<C>>| {
        let store = Arc::new(RedisStore::clone(&visitor.store).with_timeout(timeout));
        Visitor { store, ..visitor }
    };
    let set = |visitor: Visitor<_>| async move {
        let begun = Instant::now();
        (visitor.set("a", "2").await, begun.elapsed())
    };
    let first = held.occupied(set(hasty(first))).await;
    let others = start([second.clone(), third.clone()].map(hasty).map(set)).await;
    assert_eq!(kind(first.await.unwrap().0), StoreErrorKind::Unknown);
    for other in others {
        let (answer, elapsed) = other.await.unwrap();
        assert_eq!(kind(answer), StoreErrorKind::Unavailable);
        assert!(elapsed < 2 * timeout, "{elapsed:?}");
    }
    held.proxy.set(Traffic::Flows);
    for visitor in [second, third] {
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), "1");
    }
}

async fn who_gives_up_waiting_is_not_sent<C: RedisClient>(held: Held<C>) {
    let [first, second, third] = held.visitors().await;
    let set = |visitor: Visitor<_>| async move { visitor.set("a", "2").await };
    let first = held.occupied(set(first)).await;
    let others = start([second.clone(), third.clone()].map(set)).await;
    others[0].abort();
    while !others[0].is_finished() {
        tokio::task::yield_now().await;
    }
    held.proxy.set(Traffic::Flows);
    assert_eq!(first.await.unwrap().unwrap(), APPLIED);
    for other in others {
        assert!(other.await.is_err() || third.get("a").await.unwrap().unwrap() == "2");
    }
    assert_eq!(second.get("a").await.unwrap().unwrap(), "1");
}

async fn who_is_dropped_holds_up_nobody<C: RedisClient>(held: Held<C>) {
    let [first, second, third] = held.visitors().await;
    let get = |visitor: Visitor<_>| async move { visitor.get("a").await };
    let first = held.occupied(get(first)).await;
    let others = start([second, third].map(get)).await;
    first.abort();
    assert!(first.await.is_err());
    held.proxy.set(Traffic::Flows);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().unwrap(), "1");
    }
}

async fn who_stops_polling_holds_up_nobody<C: RedisClient>(held: Held<C>) {
    let visitors = held.visitors::<3>().await;
    stops_polling(&visitors).await;
}

/// Operations that are begun, and neither gone on with nor dropped, while others go their way.
async fn stops_polling<S: Store>(visitors: &[Visitor<S>]) {
    let (mut get, mut set) = (Box::pin(visitors[0].get("a")), Box::pin(visitors[1].set("a", "2")));
    tokio::select! {
        biased;
        _ = async { tokio::join!(&mut get, &mut set) } => panic!("no server is that fast"),
        () = std::future::ready(()) => {}
    }
    for _ in 0..3 {
        assert_eq!(visitors[2].set("a", "3").await.unwrap(), APPLIED);
        assert_eq!(visitors[2].get("a").await.unwrap().unwrap(), "3");
    }
    assert_eq!(get.await.unwrap().unwrap(), "1");
    assert_eq!(set.await.unwrap(), APPLIED);
}

#[tokio::test]
async fn who_stops_polling_holds_up_nobody_on_postgres() {
    let locks = Locks::new().await;
    stops_polling(&locks.visitors(3).await).await;
}

async fn a_forgotten_script_is_sent_again<C: RedisClient>(held: Held<C>) {
    let [first, second, third] = held.visitors().await;
    for value in ["2", "3"] {
        let set = |visitor: Visitor<_>| async move { visitor.set("a", value).await };
        let occupied = held.occupied(set(first.clone())).await;
        let others = start([second.clone(), third.clone()].map(set)).await;
        held.server.command::<()>(&["SCRIPT", "FLUSH"]);
        held.proxy.set(Traffic::Flows);
        assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), APPLIED);
        }
        assert_eq!(third.get("a").await.unwrap().unwrap(), value);
    }
}

async fn many_at_once<C: RedisClient>(store: RedisStore<C>) {
    let store = Arc::new(store.with_in_flight(1));
    let mut visitors = Vec::new();
    for _ in 0..MANY {
        visitors.push(Visitor::begin(&store).await);
    }
    for round in 0..3 {
        let mut tasks = JoinSet::new();
        for visitor in visitors.iter().cloned() {
            tasks.spawn(async move {
                let value = format!("{round} of {}", visitor.id);
                assert_eq!(visitor.set("a", &value).await.unwrap(), APPLIED);
                assert_eq!(visitor.get("a").await.unwrap().unwrap(), value);
            });
        }
        tasks.join_all().await;
    }
}

async fn what_is_large_is_not_read_together<C: RedisClient>(held: Held<C>) {
    let visitors = held.visitors::<6>().await;
    let large = "x".repeat(150 << 10);
    for visitor in &visitors {
        visitor.set("large", &large).await.unwrap();
    }
    let get = |visitor: Visitor<_>| async move { visitor.get("large").await };
    // At first all go together, and most of them alone after that; then two and two.
    for commands in [None, Some(3)] {
        let visitor = visitors[0].clone();
        let first = held.occupied(async move { visitor.get("a").await }).await;
        let others = start(visitors[1..].iter().cloned().map(get)).await;
        let calls = held.server.calls("evalsha");
        held.proxy.set(Traffic::Flows);
        assert_eq!(first.await.unwrap().unwrap().unwrap(), "1");
        for other in others {
            assert_eq!(other.await.unwrap().unwrap().unwrap(), large);
        }
        if let Some(commands) = commands {
            assert_eq!(held.server.calls("evalsha") - calls, commands);
        }
    }
}

async fn looks_at_a_cache_that_wait_go_together<C: RedisClient>(held: Held<C>) {
    let life = Duration::from_secs(300);
    let meta = SessionMeta {
        age: life,
        secret_age: life,
        unused: life,
        idle: None,
        absolute: None,
        signed_in: None,
        by_former: false,
    };
    let look = |visitor: Visitor<RedisStore<C>>| async move {
        visitor.store.lookup(visitor.credentials(), Projection::Named(&["a"]), None).await
    };
    let value = |number: usize| Bytes::from(number.to_string());
    let visitors: Vec<_> = (0..MANY).map(|_| Visitor::new(&held.store)).collect();
    for (number, visitor) in visitors.iter().enumerate() {
        let CacheLookup::Miss(Some(lease)) = look(visitor.clone()).await.unwrap() else {
            panic!("nobody knows of it yet")
        };
        let value = value(number);
        let item =
            CachedField { name: "a", value: Some(&value), ttl: None, hot: CachePolicy::Auto, life };
        let record = CachedRecord { meta, life, complete: None };
        held.store.fill(visitor.credentials(), &lease, record, &[item]).await.unwrap();
    }
    for _ in 0..2 {
        let first = held.occupied(look(visitors[0].clone())).await;
        let others = start(visitors[1..].iter().cloned().map(look)).await;
        let calls = held.server.calls("evalsha");
        held.proxy.set(Traffic::Flows);
        for (number, other) in [first].into_iter().chain(others).enumerate() {
            let CacheLookup::Hit(loaded) = other.await.unwrap().unwrap() else {
                panic!("{number}")
            };
            assert_eq!(loaded.fields[0].value, value(number));
        }
        let calls = held.server.calls("evalsha") - calls;
        assert!(calls <= 3, "{calls} commands");
    }

    let [first, known, other, fenced, foreign] = visitors[..5].to_vec().try_into().ok().unwrap();
    let thief = Visitor { secret: SecretHash::from_bytes(random()), ..known.clone() };
    held.store.begin_write(&fenced.id, InvalidationScope::All, life).await.unwrap();
    let keys: Vec<String> = held.server.command(&["KEYS", "*"]);
    let id = foreign.id.to_string();
    let key = keys.iter().find(|key| key.ends_with(&format!("{}:hot", &id[2..]))).unwrap();
    held.server.command::<()>(&["SET", key, "a string"]);
    let first = held.occupied(look(first)).await;
    let all = [known, other.clone(), thief, fenced, foreign, Visitor::new(&held.store)];
    let lacking = async move {
        let fields = Projection::Named(&["a", "b"]);
        other.store.lookup(other.credentials(), fields, None).await
    };
    let [known, other, thief, fenced, foreign, nobody] =
        start(all.map(look)).await.try_into().ok().unwrap();
    let [lacking] = start([lacking]).await.try_into().ok().unwrap();
    held.proxy.set(Traffic::Flows);
    for hit in [first, known, other] {
        assert!(matches!(hit.await.unwrap().unwrap(), CacheLookup::Hit(_)));
    }
    for miss in [thief, nobody, lacking] {
        assert!(matches!(miss.await.unwrap().unwrap(), CacheLookup::Miss(Some(_))));
    }
    assert!(matches!(fenced.await.unwrap().unwrap(), CacheLookup::Miss(None)));
    assert_eq!(kind(foreign.await.unwrap()), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn sessions_on_different_nodes_do_not_go_together() {
    let cluster = Cluster::shared();
    many_at_once(redis_store(fred_cluster(cluster).await, &Prefix::unique())).await;
    many_at_once(redis_store(redis_cluster(cluster).await, &Prefix::unique())).await;
}

#[tokio::test]
async fn what_is_large_goes_by_itself() {
    let server = Redis::shared(Flavour::Redis);
    let store = redis_store(fred_client(server.url()).await, &server.prefix());
    let store = Arc::new(store.with_in_flight(1));
    let visitors = [(); 5].map(|()| Visitor::new(&store));
    let names: Vec<String> = (0..300).map(|number| format!("field {number}")).collect();
    let mut tasks = JoinSet::new();
    for visitor in visitors {
        let names = names.clone();
        tasks.spawn(async move {
            visitor.create(None).await.unwrap();
            visitor.set("large", &"x".repeat(1 << 20)).await.unwrap();
            let value = "many".into();
            let put = |name| {
                Change::Set(FieldWrite { name, value: &value, ttl: None, hot: CachePolicy::Auto })
            };
            let changes: Vec<_> = names.iter().map(|name| put(name)).collect();
            assert_eq!(visitor.change(&changes).await.unwrap(), APPLIED);
            let names: Vec<&str> = names.iter().map(String::as_str).chain(["large"]).collect();
            let answer =
                visitor.store.load(visitor.credentials(), Projection::Named(&names), None).await;
            let Ok(Lookup::Found(loaded)) = answer else { panic!("{answer:?}") };
            assert_eq!(loaded.fields.len(), 301);
            assert_eq!(loaded.fields[300].value.len(), 1 << 20);
        });
    }
    tasks.join_all().await;
}

/// A store on PostgreSQL of which one read and one write are under way at a time, and whoever holds it up.
struct Locks {
    proxy: Proxy,
    schema: Schema,
    pool: PgPool,
    store: Arc<PostgresStore>,
}

impl Locks {
    async fn new() -> Self {
        let server = Postgres::shared();
        let proxy = Proxy::before(&server.address()).await;
        let url = server.url().replace(&server.address(), proxy.address());
        let pool = PgPoolOptions::new().max_connections(3).connect(&url).await.unwrap();
        // All of them, now.
        let all = (pool.acquire().await, pool.acquire().await, pool.acquire().await);
        drop(all);
        let schema = server.schema();
        let builder = PostgresStoreBuilder::new(pool, true).schema_name(schema.name());
        let store = Arc::new(builder.cleanup_interval(None).build().await.unwrap());
        Self { proxy, schema, pool: server.pool(3), store }
    }

    async fn visitors(&self, count: usize) -> Vec<Visitor<PostgresStore>> {
        let mut visitors = Vec::new();
        for _ in 0..count {
            let visitor = Visitor::begin(&self.store).await;
            visitor.set("a", "1").await.unwrap();
            visitor.get("a").await.unwrap();
            visitors.push(visitor);
        }
        visitors
    }

    async fn locked(
        &self,
        sql: &str,
        visitor: &Visitor<PostgresStore>,
    ) -> Transaction<'static, sqlx::Postgres> {
        let mut lock = self.pool.begin().await.unwrap();
        let sql = sql.replace("SCHEMA", self.schema.name());
        let query = sqlx::query(AssertSqlSafe(sql)).bind(visitor.id.as_bytes().to_vec());
        query.execute(&mut *lock).await.unwrap();
        lock
    }

    /// Keeps all from being read.
    async fn unreadable(&self) -> Transaction<'static, sqlx::Postgres> {
        let mut lock = self.pool.begin().await.unwrap();
        let sql = format!("lock table {}.sessions", self.schema.name());
        lock.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
        lock
    }

    /// Keeps a session from being written.
    async fn held(&self, visitor: &Visitor<PostgresStore>) -> Transaction<'static, sqlx::Postgres> {
        self.locked("select from SCHEMA.sessions where handle = $1 for update", visitor).await
    }

    /// Waits until so many statements wait for a lock.
    async fn blocked(&self, statements: i64) {
        let sql = "select count(*) from pg_locks where not granted";
        until("it waits for the lock", async || {
            let count: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap();
            count >= statements
        })
        .await;
    }

    /// How many statements the store has sent since the last call.
    fn statements(&self) -> usize {
        self.proxy.take_requests().iter().filter(|size| **size > SYNC).count()
    }
}

/// A `Sync` alone, by which the pool tests a connection that comes back to it.
const SYNC: usize = 5;

#[tokio::test]
async fn reads_of_postgres_that_wait_go_together() {
    let locks = Locks::new().await;
    let visitors = locks.visitors(MANY).await;
    visitors[2].delete().await.unwrap();
    visitors[3].rotate(&SecretHash::from_bytes(random())).await.unwrap();
    visitors[4].set("a", "2").await.unwrap();
    let thief = Visitor { secret: SecretHash::from_bytes(random()), ..visitors[1].clone() };
    let nobody = Visitor::new(&locks.store);
    let named = |visitor: Visitor<PostgresStore>| async move {
        visitor.store.load(visitor.credentials(), Projection::Named(&["a", "b"]), None).await
    };
    let mut counts = Vec::new();
    for _ in 0..ROUNDS {
        let lock = locks.unreadable().await;
        let first = tokio::spawn(named(visitors[0].clone()));
        locks.blocked(1).await;
        let all = visitors[1..].iter().chain([&thief, &nobody]).cloned();
        let others = start(all.take(MANY).map(named)).await;
        locks.statements();
        lock.commit().await.unwrap();
        assert!(matches!(first.await.unwrap(), Ok(Lookup::Found(_))));
        for (number, other) in others.into_iter().enumerate() {
            let answer = other.await.unwrap().unwrap();
            let value = |value: &str| match &answer {
                Lookup::Found(loaded) => loaded.fields[0].value == value,
                _ => false,
            };
            let is_it = match number + 1 {
                2 => matches!(answer, Lookup::Ended { .. }),
                3 => matches!(answer, Lookup::Replaced { .. }),
                4 => value("2"),
                64.. => answer == Lookup::NotFound,
                _ => value("1"),
            };
            assert!(is_it, "{number}: {answer:?}");
        }
        counts.push(locks.statements());
    }
    assert_one(&counts);
}

#[tokio::test]
async fn writes_of_postgres_that_wait_go_together() {
    let locks = Locks::new().await;
    let visitors = locks.visitors(MANY).await;
    let mut counts = Vec::new();
    for round in 0..ROUNDS {
        let set = |(number, visitor): (usize, Visitor<PostgresStore>)| async move {
            visitor.set("b", &format!("{round} {number}")).await
        };
        let lock = locks.held(&visitors[0]).await;
        let first = tokio::spawn(set((0, visitors[0].clone())));
        locks.blocked(1).await;
        let others = start(visitors.iter().cloned().enumerate().skip(1).map(set)).await;
        locks.statements();
        lock.commit().await.unwrap();
        assert_eq!(first.await.unwrap().unwrap(), APPLIED);
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), APPLIED);
        }
        counts.push(locks.statements());
        for (number, visitor) in visitors.iter().enumerate() {
            let written = visitor.get("b").await.unwrap().unwrap();
            assert_eq!(written, format!("{round} {number}"));
        }
    }
    assert_one(&counts);
}

/// Whatever becomes of the others that are written with it, each gets what it would get alone.
#[tokio::test]
async fn each_write_of_postgres_has_its_own_answer() {
    let locks = Locks::new().await;
    let visitors = locks.visitors(12).await;
    let [first, live, other, ended, rotated, idle, over, epoch, faded, fresh, due, used] =
        visitors.try_into().ok().unwrap();
    let alter = async |visitor: &Visitor<PostgresStore>, what: &str| {
        let sql = format!("update SCHEMA.sessions set {what} where handle = $1");
        locks.locked(&sql, visitor).await.commit().await.unwrap();
    };
    ended.delete().await.unwrap();
    rotated.rotate(&SecretHash::from_bytes(random())).await.unwrap();
    alter(&idle, "idle_at = clock_timestamp()").await;
    alter(&over, "absolute_at = clock_timestamp()").await;
    alter(&epoch, "epoch = -1").await;
    let sql = "update SCHEMA.sessions_fields set expires_at = clock_timestamp()
        where session = (select id from SCHEMA.sessions where handle = $1)";
    locks.locked(sql, &faded).await.commit().await.unwrap();
    let secret = SecretHash::from_bytes(random());
    let every = Ttl::from_millis(1);
    let renew = Some(Renew { secret: &secret, every, grace: Duration::from_secs(30) });
    let renewal = Update { renew, ..Update::default() };
    assert_eq!(fresh.store.update(fresh.credentials(), renewal).await.unwrap(), APPLIED);
    let fresh = Visitor { secret, ..fresh };
    alter(&due, "idle_at = clock_timestamp() + interval '1 minute'").await;
    let thief = Visitor { secret: SecretHash::from_bytes(random()), ..live.clone() };
    let nobody = Visitor::new(&locks.store);

    let replace = |(visitor, old): (Visitor<PostgresStore>, Option<&'static str>)| async move {
        let (old, new) = (old.map(Bytes::from), Bytes::from("2"));
        let changes =
            [Change::Set(FieldWrite { name: "a", value: &new, ttl: None, hot: CachePolicy::Auto })];
        let expect = Some(Precondition { name: "a", value: old.as_ref() });
        let after = Duration::from_secs(600);
        let touch = Some(Touch { idle: Ttl::from_secs(3600), after });
        let update = Update { changes: &changes, precondition: expect, touch, ..Update::default() };
        visitor.store.update(visitor.credentials(), update).await
    };
    let conflict = |current: Option<&'static str>| {
        Lookup::Found(Updated::Conflict { current: current.map(Bytes::from) })
    };
    let one = Some("1");
    let cases = [
        (&live, one, "applied"),
        (&other, Some("9"), "conflict 1"),
        (&ended, one, "ended"),
        (&rotated, one, "replaced"),
        (&idle, one, "none"),
        (&over, one, "none"),
        (&epoch, one, "none"),
        (&faded, one, "conflict"),
        (&fresh, one, "applied"),
        (&due, one, "applied"),
        (&used, None, "conflict 1"),
        (&thief, one, "none"),
        (&nobody, one, "none"),
        (&live, one, "conflict 2"),
    ];
    let lock = locks.held(&first).await;
    let occupied = tokio::spawn(replace((first.clone(), one)));
    locks.blocked(1).await;
    let others = start(cases.map(|(visitor, old, _)| replace((visitor.clone(), old)))).await;
    lock.commit().await.unwrap();
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    for (number, (answer, (_, _, expected))) in others.into_iter().zip(cases).enumerate() {
        let answer = answer.await.unwrap().unwrap();
        let is_it = match expected {
            "applied" => answer == APPLIED,
            "ended" => matches!(answer, Lookup::Ended { .. }),
            "replaced" => matches!(answer, Lookup::Replaced { .. }),
            "none" => answer == Lookup::NotFound,
            "conflict" => answer == conflict(None),
            "conflict 1" => answer == conflict(Some("1")),
            _ => answer == conflict(Some("2")),
        };
        assert!(is_it, "{number}: {answer:?} instead of {expected}");
    }
    for (visitor, value) in [(&live, "2"), (&other, "1"), (&fresh, "2"), (&due, "2"), (&used, "1")]
    {
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), value);
    }
    // What is noted along with a write.
    let seen = async |visitor: &Visitor<PostgresStore>, what: &str| -> bool {
        let sql = format!("select {what} from {}.sessions where handle = $1", locks.schema.name());
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(visitor.id.as_bytes().to_vec());
        query.fetch_one(&locks.pool).await.unwrap()
    };
    assert!(seen(&fresh, "grace_until is not null").await, "the first use of a renewed secret");
    assert!(seen(&due, "idle_at > clock_timestamp() + interval '59 minutes'").await, "activity");

    let lock = locks.held(&first).await;
    let set = |visitor: Visitor<PostgresStore>| async move {
        visitor.set_for("b", "1", Some(Duration::from_secs(60))).await
    };
    let occupied = tokio::spawn(set(first.clone()));
    locks.blocked(1).await;
    let others = start([live.clone(), other].map(set)).await;
    lock.commit().await.unwrap();
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), APPLIED);
    }
    let Lookup::Found(loaded) = live.load().await.unwrap() else { panic!("it is live") };
    let b = loaded.fields.iter().find(|field| &*field.name == "b").unwrap();
    assert!(b.ttl.is_some(), "a lifetime");

    // Without a use to be noted, the deadline alone tells.
    let lock = locks.held(&first).await;
    let set = |visitor: Visitor<PostgresStore>| async move { visitor.set("c", "1").await };
    let occupied = tokio::spawn(set(first.clone()));
    locks.blocked(1).await;
    let [live, idle] = start([live, idle].map(set)).await.try_into().ok().unwrap();
    lock.commit().await.unwrap();
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    assert_eq!(live.await.unwrap().unwrap(), APPLIED);
    assert_eq!(idle.await.unwrap().unwrap(), Lookup::NotFound);
}

/// More often than there are connections, each of which has to prepare both statements once.
const ROUNDS: usize = 8;

fn assert_one(statements: &[usize]) {
    assert!(
        statements.contains(&1) && statements.iter().all(|count| *count <= 3),
        "{statements:?}"
    );
}

#[tokio::test]
async fn a_session_that_is_locked_holds_up_no_other() {
    let locks = Locks::new().await;
    let [first, second, third] = locks.visitors(3).await.try_into().ok().unwrap();
    let thief = Visitor { secret: SecretHash::from_bytes(random()), ..third.clone() };
    let set = |visitor: Visitor<PostgresStore>| async move { visitor.set("a", "2").await };
    let (lock, longer) = (locks.held(&first).await, locks.held(&second).await);
    let occupied = tokio::spawn(set(first.clone()));
    locks.blocked(1).await;
    let all = [second.clone(), third.clone(), thief, Visitor::new(&locks.store)];
    let [second_set, third_set, stolen, missed] =
        start(all.map(set)).await.try_into().ok().unwrap();
    lock.commit().await.unwrap();
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    assert_eq!(third_set.await.unwrap().unwrap(), APPLIED);
    assert_eq!(stolen.await.unwrap().unwrap(), Lookup::NotFound);
    assert_eq!(missed.await.unwrap().unwrap(), Lookup::NotFound);
    assert!(!second_set.is_finished(), "its session is locked");
    longer.commit().await.unwrap();
    assert_eq!(second_set.await.unwrap().unwrap(), APPLIED);
    for visitor in [first, second, third] {
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), "2");
    }
}

#[tokio::test]
async fn what_is_refused_of_one_is_not_refused_of_others() {
    let locks = Locks::new().await;
    let visitors = locks.visitors(4).await;
    let sql = "create function SCHEMA.refuse() returns trigger language plpgsql as $$ begin
            if new.value like '%bad' then raise exception 'no' using errcode = '53100'; end if;
            return new;
        end $$;
        create trigger refuse before insert or update on SCHEMA.sessions_fields
        for each row execute function SCHEMA.refuse()";
    let sql = sql.replace("SCHEMA", locks.schema.name());
    locks.pool.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    let set = |(visitor, value): (Visitor<PostgresStore>, &'static str)| async move {
        visitor.set("a", value).await
    };
    let lock = locks.held(&visitors[0]).await;
    let occupied = tokio::spawn(set((visitors[0].clone(), "2")));
    locks.blocked(1).await;
    let others = start(visitors[1..].iter().cloned().zip(["good", "bad", "good"]).map(set)).await;
    lock.commit().await.unwrap();
    assert_eq!(occupied.await.unwrap().unwrap(), APPLIED);
    let [good, bad, too] = others.try_into().ok().unwrap();
    assert_eq!(good.await.unwrap().unwrap(), APPLIED);
    assert_eq!(kind(bad.await.unwrap()), StoreErrorKind::Full);
    assert_eq!(too.await.unwrap().unwrap(), APPLIED);
    assert_eq!(visitors[2].get("a").await.unwrap().unwrap(), "1");
    assert_eq!(visitors[3].get("a").await.unwrap().unwrap(), "good");
}

#[tokio::test]
async fn what_takes_long_holds_up_no_other() {
    let locks = Locks::new().await;
    let [first, second] = locks.visitors(2).await.try_into().ok().unwrap();
    let set = |visitor: Visitor<PostgresStore>| async move { visitor.set("a", "2").await };
    let lock = locks.held(&first).await;
    let slow = tokio::spawn(set(first));
    locks.blocked(1).await;
    assert_eq!(set(second).await.unwrap(), APPLIED);
    assert!(!slow.is_finished(), "its session is locked");
    lock.commit().await.unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), APPLIED);
}

#[test]
fn a_runtime_that_stops_holds_up_no_other() {
    let (runtime, other) = (
        tokio::runtime::Runtime::new().unwrap(),
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
    );
    let server = Redis::shared(Flavour::Redis);
    let prefix = server.prefix();
    let store = runtime.block_on(async { redis_store(fred_client(server.url()).await, &prefix) });
    let store = Arc::new(store.with_in_flight(1));
    let visitor = runtime.block_on(Visitor::begin(&store));
    for _ in 0..50 {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let visitor = visitor.clone();
                runtime.spawn(async move { visitor.get("a").await })
            })
            .collect();
        // From here on, nobody drives it until the next time.
        other.block_on(visitor.set("a", "1")).unwrap();
        let all = async {
            for task in tasks {
                task.await.unwrap().unwrap();
            }
        };
        let done =
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), all).await });
        done.unwrap();
    }
}
