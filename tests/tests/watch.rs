//! Connections that outlive a request end with their session.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::Path, routing::get};
use ruts::{
    Error, Session, SessionChange, SessionId, SessionLayer, session,
    store::{
        Store,
        memory::{ManualClock, MemoryStore},
        notify::{Channel, NotifyingStore},
        postgres::PostgresChannel,
        redis::{RedisChannel, RedisStore},
    },
};
use ruts_tests::{
    Browser, Fault, Probe, backends,
    servers::{Cluster, Flavour, Postgres, Redis},
};
use tokio::{task::JoinHandle, time::timeout};

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    visits: u64,
}

fn routes() -> Router {
    Router::new()
        .route("/begin", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/sign-in/{user}",
            get(|shop: Shop, Path(user): Path<String>| async move { shop.set_user(&user).await }),
        )
        .route("/forget", get(|shop: Shop| async move { shop.user().remove().await.map(|_| ()) }))
        .route("/regenerate", get(|session: Session| async move { session.regenerate().await }))
        .route("/out", get(|session: Session| async move { session.delete().await }))
        .route(
            "/connect",
            get(|session: Session| async move {
                Ok::<_, Error>(format!("{:?}", session.watch().await?.await))
            }),
        )
}

/// A connection that is there and does not end by itself.
async fn connected(browser: &Browser) -> JoinHandle<String> {
    let browser = browser.clone();
    let mut connection = tokio::spawn(async move { browser.text("/connect").await });
    assert!(timeout(Duration::from_millis(100), &mut connection).await.is_err());
    connection
}

/// Well below the time after which it would look anyway.
const AT_ONCE: Duration = Duration::from_secs(3);

async fn is_over(connection: JoinHandle<String>, why: SessionChange, within: Duration) {
    let ended = timeout(within, connection).await.expect("the connection goes on").unwrap();
    assert_eq!(ended, format!("{why:?}"));
}

// proves: ASVS-4.4.3
#[tokio::test]
async fn a_connection_ends_with_its_session_and_not_before() {
    let store = Arc::new(Probe::new(MemoryStore::new()));
    let browser = Browser::new(routes().layer(SessionLayer::new(&store)));
    let others = browser.stranger();
    others.text("/begin").await;
    for (end, why) in [
        ("/out", SessionChange::Ended),
        ("/sign-in/bob", SessionChange::PrincipalChanged),
        ("/forget", SessionChange::PrincipalChanged),
    ] {
        browser.text("/sign-in/ada").await;
        let connection = connected(&browser).await;
        browser.text("/regenerate").await;
        browser.text("/begin").await;
        browser.text("/sign-in/ada").await;
        others.text("/out").await;
        let mut connection = connection;
        assert!(timeout(Duration::from_millis(100), &mut connection).await.is_err(), "{end}");
        browser.text(end).await;
        is_over(connection, why, AT_ONCE).await;
    }
    let index = Shop::sessions(&store);
    browser.text("/sign-in/ada").await;
    let connection = connected(&browser).await;
    index.by_user("ada").revoke_all().await.unwrap();
    is_over(connection, SessionChange::Ended, AT_ONCE).await;
    let browser = browser.stranger();
    browser.text("/begin").await;
    let connection = connected(&browser).await;
    index.revoke_everyone().await.unwrap();
    is_over(connection, SessionChange::Ended, AT_ONCE).await;
    assert_eq!(browser.stranger().text("/connect").await, "Ended", "there is no session");
}

#[tokio::test]
async fn a_connection_ends_when_the_session_expires() {
    let layer = SessionLayer::new(MemoryStore::new()).idle_timeout(Duration::from_millis(700));
    let browser = Browser::new(routes().layer(layer));
    browser.text("/begin").await;
    let connection = connected(&browser).await;
    is_over(connection, SessionChange::Ended, AT_ONCE).await;
}

/// The end came between the look and the waiting.
#[tokio::test]
async fn nothing_comes_between_looking_and_waiting() {
    let store = Probe::new(MemoryStore::new());
    let browser = Browser::new(routes().layer(SessionLayer::new(store.clone())));
    browser.text("/begin").await;
    let mut pause = store.pause_after("inspect");
    let connection = tokio::spawn({
        let browser = browser.clone();
        async move { browser.text("/connect").await }
    });
    pause.reached().await;
    browser.steal().text("/out").await;
    pause.go_on();
    is_over(connection, SessionChange::Ended, AT_ONCE).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again() {
    let clock = ManualClock::new();
    let store = Probe::new(MemoryStore::builder().clock(clock.clone()).build());
    let browser = Browser::new(routes().layer(SessionLayer::new(store.clone())));
    browser.text("/begin").await;
    let mut pause = store.pause_before("load");
    let connection = tokio::spawn({
        let browser = browser.clone();
        async move { browser.text("/connect").await }
    });
    pause.reached().await;
    pause.go_on();
    store.fail_next(Fault::Unreachable);
    clock.advance(Duration::from_secs(40 * 24 * 3600));
    is_over(connection, SessionChange::Ended, Duration::from_secs(60)).await;
}

/// Through another process, as it were.
async fn across<S: Store>(one: Arc<S>, other: Arc<S>, within: Duration) {
    let browser = Browser::new(routes().layer(SessionLayer::new(one)));
    browser.text("/sign-in/ada").await;
    let connection = connected(&browser).await;
    let id: SessionId = browser.token().unwrap()[..22].parse().unwrap();
    assert!(Shop::sessions(other).by_user("ada").revoke(&id).await.unwrap());
    is_over(connection, SessionChange::Ended, within).await;
}

macro_rules! across {
    ($($backend:ident),+ $(,)?) => {
        $(
            // proves: ASVS-4.4.3
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $backend() {
                let pair = backends::$backend().await;
                across(pair.next(), pair.next(), Duration::from_secs(20)).await;
            }
        )+
    };
}

across!(redis_through_fred, cluster_through_redis_rs, postgres, redis_over_postgres);

/// Through a channel, whatever the store is: another process hears of it at once.
async fn announced<S: Store, C: Channel>(stores: [S; 2], channels: [C; 2]) {
    let [one, other] = stores;
    let [here, there] = channels;
    let one = Arc::new(NotifyingStore::new(one, here));
    let other = Arc::new(NotifyingStore::new(other, there));
    // Once it listens. Until then, it looks by itself.
    across(Arc::clone(&one), Arc::clone(&other), Duration::from_secs(20)).await;
    across(Arc::clone(&one), Arc::clone(&other), AT_ONCE).await;
    let app = |store: &Arc<NotifyingStore<S, C>>| {
        Browser::new(routes().layer(SessionLayer::new(Arc::clone(store))))
    };
    let (browser, elsewhere) = (app(&one), app(&other));
    for (end, why) in [
        ("/out", SessionChange::Ended),
        ("/sign-in/bob", SessionChange::PrincipalChanged),
        ("/forget", SessionChange::PrincipalChanged),
    ] {
        browser.text("/sign-in/ada").await;
        let connection = connected(&browser).await;
        let same = elsewhere.stranger();
        same.plant("__Host-id", &browser.token().unwrap());
        same.text(end).await;
        is_over(connection, why, AT_ONCE).await;
        browser.plant("__Host-id", "");
    }
    browser.text("/sign-in/ada").await;
    let connection = connected(&browser).await;
    Shop::sessions(other).revoke_everyone().await.unwrap();
    is_over(connection, SessionChange::Ended, AT_ONCE).await;
}

async fn redis_stores() -> [RedisStore<fred::clients::Pool>; 2] {
    let pair = backends::redis_through_fred().await;
    [(*pair.next()).clone(), (*pair.next()).clone()]
}

// proves: ASVS-4.4.3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_redis_with_fred() {
    let url = Redis::shared(Flavour::Redis).url();
    let client = backends::fred_client(url).await;
    let pool = backends::fred_pool(url).await;
    announced(redis_stores().await, [(); 2].map(|()| RedisChannel::new(pool.clone(), "fred")))
        .await;
    let channels = [(); 2].map(|()| RedisChannel::new(client.clone(), "fred"));
    announced(redis_stores().await, channels).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_valkey_with_redis_rs() {
    let url = Redis::shared(Flavour::Valkey).url();
    let client = redis::Client::open(url).unwrap();
    let channels = [(); 2].map(|()| RedisChannel::new(client.clone(), "redis-rs"));
    announced(redis_stores().await, channels).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_cluster() {
    let client = backends::fred_cluster(Cluster::shared()).await;
    let channels = [(); 2].map(|()| RedisChannel::new(client.clone(), "cluster"));
    announced(redis_stores().await, channels).await;
}

// proves: ASVS-4.4.3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_postgres() {
    let pair = backends::postgres().await;
    let stores = [(*pair.next()).clone(), (*pair.next()).clone()];
    let pool = Postgres::shared().pool(3);
    announced(stores, [(); 2].map(|()| PostgresChannel::new(pool.clone(), "ruts"))).await;
}

/// A listener that was cut off listens again, and looks at what it may have missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_breaks_is_mended() {
    let server = Redis::shared(Flavour::Redis);
    let client = redis::Client::open(server.url()).unwrap();
    let channel = || RedisChannel::new(client.clone(), "broken");
    let [one, other] = redis_stores().await;
    let one = Arc::new(NotifyingStore::new(one, channel()));
    let other = Arc::new(NotifyingStore::new(other, channel()));
    across(Arc::clone(&one), Arc::clone(&other), Duration::from_secs(20)).await;
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").to_owned();
    kill.query_async::<u32>(&mut admin).await.unwrap();
    across(Arc::clone(&one), Arc::clone(&other), Duration::from_secs(20)).await;
    // By now it listens again.
    across(one, other, AT_ONCE).await;
}

#[tokio::test]
async fn nobody_waits_for_a_channel_that_does_not_work() {
    let nobody = redis::Client::open("redis://127.0.0.1:1").unwrap();
    let store = NotifyingStore::new(MemoryStore::new(), RedisChannel::new(nobody, "dead"));
    let browser = Browser::new(routes().layer(SessionLayer::new(store)));
    browser.text("/sign-in/ada").await;
    let connection = connected(&browser).await;
    browser.text("/out").await;
    is_over(connection, SessionChange::Ended, AT_ONCE).await;
}
