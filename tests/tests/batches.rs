//! Operations on several sessions of Redis that go to the server together: how many commands that takes,
//! and that each has its own answer, whatever becomes of the others.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use ruts::{
    Hot, SecretHash,
    store::{
        Change, Fields, Lookup, Put, Store, StoreError, StoreErrorKind, Updated,
        redis::{RedisClient, RedisStore},
    },
};
use ruts_tests::{
    Proxy, Traffic, Visitor,
    backends::{fred_client, fred_cluster, manager, redis_cluster, redis_store},
    kind, random,
    servers::{Cluster, Flavour, Prefix, Redis},
};
use tokio::task::{JoinHandle, JoinSet};

const APPLIED: Lookup<Updated> = Lookup::Found(Updated::Applied { found: 0 });
const MANY: usize = 64;

/// A server whose answers can be held back, and a store one of whose operations is under way at a time.
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
    a_lost_answer_is_unknown_to_all_that_went,
    who_waits_too_long_is_not_sent,
    who_gives_up_waiting_is_not_sent,
    who_is_dropped_holds_up_nobody,
    a_forgotten_script_is_sent_again,
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
        // The first time, the server does not know the script, and is asked for what it can do.
        assert!(calls == 1, "{calls} commands");

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
        assert!(calls == 1, "{calls} commands");
        for (number, visitor) in visitors.iter().enumerate() {
            assert_eq!(visitor.get("b").await.unwrap().unwrap(), number.to_string());
        }
    }
}

async fn each_has_its_own_answer<C: RedisClient>(held: Held<C>) {
    let [first, live, other, ended, rotated, corrupt, foreign, user] = held.visitors().await;
    let key = |visitor: &Visitor<_>| {
        let name = held.server.command::<Vec<String>>(&["KEYS", "*"]);
        let handle = visitor.handle.to_string();
        name.into_iter().find(|key| key.ends_with(&handle[2..])).unwrap()
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
    let reads =
        start(
            all.map(|visitor| {
                let visitor = visitor.clone();
                async move {
                    visitor.store.load(visitor.access(), Fields::Named(&["a", "b"]), None).await
                }
            }),
        );
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
    let timeout = Duration::from_secs(1);
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
                let value = format!("{round} of {}", visitor.handle);
                assert_eq!(visitor.set("a", &value).await.unwrap(), APPLIED);
                assert_eq!(visitor.get("a").await.unwrap().unwrap(), value);
            });
        }
        tasks.join_all().await;
    }
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
            let put = |name| Change::Set(Put { name, value: &value, ttl: None, hot: Hot::Auto });
            let changes: Vec<_> = names.iter().map(|name| put(name)).collect();
            assert_eq!(visitor.change(&changes).await.unwrap(), APPLIED);
            let names: Vec<&str> = names.iter().map(String::as_str).chain(["large"]).collect();
            let answer = visitor.store.load(visitor.access(), Fields::Named(&names), None).await;
            let Ok(Lookup::Found(loaded)) = answer else { panic!("{answer:?}") };
            assert_eq!(loaded.fields.len(), 301);
            assert_eq!(loaded.fields[300].value.len(), 1 << 20);
        });
    }
    tasks.join_all().await;
}
