//! Connections that outlive a request end with their session.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::Path, routing::get};
use ruts::{
    Error, Handle, Session, SessionLayer, Watched, session,
    store::{
        Store,
        memory::{ManualClock, MemoryStore},
    },
};
use ruts_tests::{Browser, Fault, Probe, backends};
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

async fn is_over(connection: JoinHandle<String>, why: Watched, within: Duration) {
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
        ("/out", Watched::Ended),
        ("/sign-in/bob", Watched::SignedInAnew),
        ("/forget", Watched::SignedInAnew),
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
    is_over(connection, Watched::Ended, AT_ONCE).await;
    let browser = browser.stranger();
    browser.text("/begin").await;
    let connection = connected(&browser).await;
    index.revoke_everyone().await.unwrap();
    is_over(connection, Watched::Ended, AT_ONCE).await;
    assert_eq!(browser.stranger().text("/connect").await, "Ended", "there is no session");
}

#[tokio::test]
async fn a_connection_ends_when_the_session_expires() {
    let layer = SessionLayer::new(MemoryStore::new()).idle_timeout(Duration::from_millis(700));
    let browser = Browser::new(routes().layer(layer));
    browser.text("/begin").await;
    let connection = connected(&browser).await;
    is_over(connection, Watched::Ended, AT_ONCE).await;
}

/// The end came between the look and the waiting.
#[tokio::test]
async fn nothing_comes_between_looking_and_waiting() {
    let store = Probe::new(MemoryStore::new());
    let browser = Browser::new(routes().layer(SessionLayer::new(store.clone())));
    browser.text("/begin").await;
    let mut pause = store.pause_after("peek");
    let connection = tokio::spawn({
        let browser = browser.clone();
        async move { browser.text("/connect").await }
    });
    pause.reached().await;
    browser.steal().text("/out").await;
    pause.go_on();
    is_over(connection, Watched::Ended, AT_ONCE).await;
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
    is_over(connection, Watched::Ended, Duration::from_secs(60)).await;
}

/// Through another process, as it were.
async fn across<S: Store>(one: Arc<S>, other: Arc<S>) {
    let browser = Browser::new(routes().layer(SessionLayer::new(one)));
    browser.text("/sign-in/ada").await;
    let connection = connected(&browser).await;
    let handle: Handle = browser.token().unwrap()[..22].parse().unwrap();
    assert!(Shop::sessions(other).by_user("ada").revoke(&handle).await.unwrap());
    is_over(connection, Watched::Ended, Duration::from_secs(20)).await;
}

macro_rules! across {
    ($($backend:ident),+ $(,)?) => {
        $(
            // proves: ASVS-4.4.3
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $backend() {
                let pair = backends::$backend().await;
                across(pair.next(), pair.next()).await;
            }
        )+
    };
}

across!(redis_through_fred, cluster_through_redis_rs, postgres, redis_over_postgres);
