//! Clients that change in the course of a session: who judges of it, and what follows.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use ruts::{
    Aal, ClientChangeAction, ClientFingerprint, Error, SessionLayer, session,
    store::memory::MemoryStore,
};
use ruts_tests::{Browser, Fault, Log, Probe};

#[session]
struct Shop {
    #[field(principal)]
    user: u32,
    #[field(default)]
    cart: u32,
    #[field(once)]
    flash: String,
}

const AT_HOME: &[(&str, &str)] = &[("user-agent", "Firefox/150"), ("x-network", "192.0.2")];
const ON_THE_ROAD: &[(&str, &str)] = &[("user-agent", "Firefox/150"), ("x-network", "198.51.100")];
const ELSEWHERE: &[(&str, &str)] = &[("user-agent", "curl/9"), ("x-network", "203.0.113")];

struct Fixture {
    store: Probe<MemoryStore>,
    browser: Browser,
    judged: Arc<AtomicUsize>,
}

/// Another network asks for a step up, another browser ends the session.
fn fixture() -> Fixture {
    let judged = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&judged);
    let store = Probe::new(MemoryStore::new());
    let layer = SessionLayer::new(store.clone()).watch_clients(
        |headers, _| {
            let header = |name| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
            ClientFingerprint::new()
                .with("agent", header("user-agent"))
                .with("network", header("x-network"))
        },
        move |changed| {
            count.fetch_add(1, Ordering::Relaxed);
            if changed.contains(&"agent") {
                ClientChangeAction::End
            } else {
                ClientChangeAction::StepUp
            }
        },
    );
    let app = Router::new()
        .route("/in", get(|shop: Shop| async move { shop.set_user(&7).await }))
        .route(
            "/who",
            get(|shop: Shop| async move {
                let cart = shop.cart().await?;
                let user = shop.user().await?;
                Ok::<_, Error>(format!("{user:?} {cart}"))
            }),
        )
        .route("/cart", get(|shop: Shop| async move { shop.set_cart(&3).await }))
        .route("/flash", get(|shop: Shop| async move { shop.flash().take().await.map(|_| ()) }))
        .route("/pay", get(|_: Aal<Shop, 1>| async {}))
        .layer(layer);
    Fixture { store, browser: Browser::new(app), judged }
}

async fn status(browser: &Browser, path: &str, headers: &[(&'static str, &str)]) -> StatusCode {
    browser.get_with(path, headers).await.status
}

// proves: NIST-5.3 CS-15 CS-13
#[tokio::test]
async fn another_network_asks_for_another_authentication() {
    let Fixture { browser, judged, .. } = fixture();
    browser.get_with("/in", AT_HOME).await;
    assert_eq!(status(&browser, "/pay", AT_HOME).await, StatusCode::OK);
    assert_eq!(judged.load(Ordering::Relaxed), 0);

    assert_eq!(browser.get_with("/who", ON_THE_ROAD).await.body, "Some(7) 0");
    assert_eq!(status(&browser, "/pay", ON_THE_ROAD).await, StatusCode::UNAUTHORIZED);
    // At home nothing has changed; after authenticating, nothing has on the road.
    assert_eq!(status(&browser, "/pay", AT_HOME).await, StatusCode::OK);
    browser.get_with("/in", ON_THE_ROAD).await;
    assert_eq!(status(&browser, "/pay", ON_THE_ROAD).await, StatusCode::OK);
    assert_eq!(status(&browser, "/pay", AT_HOME).await, StatusCode::UNAUTHORIZED);
}

// proves: NIST-5.3 CS-15
#[tokio::test]
async fn another_browser_ends_the_session() {
    for path in ["/who", "/cart", "/flash", "/pay"] {
        let Fixture { browser, .. } = fixture();
        browser.get_with("/in", AT_HOME).await;
        let (log, _guard) = Log::start();
        let thief = browser.steal();
        thief.get_with(path, ELSEWHERE).await;
        assert!(log.text().contains("client has changed"), "{path}");
        assert_eq!(browser.get_with("/who", AT_HOME).await.body, "None 0", "{path}");
        assert_eq!(thief.get_with("/who", ELSEWHERE).await.body.split(' ').next(), Some("None"));
    }
}

#[tokio::test]
async fn a_write_of_the_thief_does_not_reach_the_session() {
    let Fixture { browser, store, .. } = fixture();
    browser.get_with("/in", AT_HOME).await;
    let thief = browser.steal();
    // The session cannot be ended, so nothing is done with it.
    let mut looked = store.pause_after("load");
    let fail = async {
        looked.reached().await;
        store.fail_next(Fault::Unreachable);
        looked.go_on();
    };
    let (status, ()) = tokio::join!(status(&thief, "/cart", ELSEWHERE), fail);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(browser.get_with("/who", AT_HOME).await.body, "Some(7) 0");
}

#[tokio::test]
async fn nobody_is_judged_without_a_sign_in() {
    let Fixture { browser, judged, .. } = fixture();
    browser.get_with("/cart", AT_HOME).await;
    assert_eq!(browser.get_with("/who", ELSEWHERE).await.body, "None 3");
    assert_eq!(judged.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn one_read_stays_one_call() {
    let Fixture { browser, store, .. } = fixture();
    browser.get_with("/in", AT_HOME).await;
    store.calls();
    browser.get_with("/who", AT_HOME).await;
    assert_eq!(store.calls(), ["load"]);
    browser.get_with("/cart", AT_HOME).await;
    assert_eq!(store.calls(), ["load", "update"]);
}
