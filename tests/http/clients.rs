//! A layer reacts to a client whose properties change during a session: it demands a step-up, or
//! ends the session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use ruts::testing::Client;
use ruts::{
    Error, SessionLayer,
    client::{ClientChangeAction, ClientFingerprint},
    guard::Aal,
    session,
    store::{
        OnLimit,
        memory::{ManualClock, MemoryStore},
    },
};
use ruts_tests_support::{ClientExt, Fault, InstrumentedStore, Log, new_client};

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
    store: InstrumentedStore<MemoryStore>,
    client: Client,
    /// Number of times that the check was called.
    checks: Arc<AtomicUsize>,
}

/// A change of network demands a step-up. A change of browser ends the session.
fn fixture() -> Fixture {
    let checks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&checks);
    let store = InstrumentedStore::new(MemoryStore::new());
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
        .route(
            "/metadata",
            get(|shop: Shop| async move {
                let metadata = shop.session().metadata().await?;
                let signed_in = metadata.and_then(|metadata| metadata.signed_in);
                Ok::<_, Error>(format!("{:?}", signed_in.map(|signed_in| signed_in.assurance)))
            }),
        )
        .layer(layer);
    Fixture { store, client: new_client(app), checks }
}

async fn status(client: &Client, path: &str, headers: &[(&'static str, &str)]) -> StatusCode {
    client.get_with(path, headers).await.status
}

// proves: NIST-5.3 CS-15 CS-13
#[tokio::test]
async fn another_network_demands_a_step_up() {
    let Fixture { client, checks, .. } = fixture();
    client.get_with("/in", AT_HOME).await;
    assert_eq!(status(&client, "/pay", AT_HOME).await, StatusCode::OK);
    assert_eq!(checks.load(Ordering::Relaxed), 0);

    assert_eq!(client.get_with("/who", ON_THE_ROAD).await.text(), "Some(7) 0");
    assert_eq!(status(&client, "/pay", ON_THE_ROAD).await, StatusCode::UNAUTHORIZED);
    // The network at home is still that of the sign-in. After a new sign-in on the road, the
    // network at home counts as a change.
    assert_eq!(status(&client, "/pay", AT_HOME).await, StatusCode::OK);
    client.get_with("/in", ON_THE_ROAD).await;
    assert_eq!(status(&client, "/pay", ON_THE_ROAD).await, StatusCode::OK);
    assert_eq!(status(&client, "/pay", AT_HOME).await, StatusCode::UNAUTHORIZED);
}

// proves: NIST-5.3 CS-15
#[tokio::test]
async fn another_browser_ends_the_session() {
    for path in ["/who", "/cart", "/flash", "/pay"] {
        let Fixture { client, .. } = fixture();
        client.get_with("/in", AT_HOME).await;
        let (log, _guard) = Log::start();
        let thief = client.steal();
        thief.get_with(path, ELSEWHERE).await;
        assert!(log.text().contains("client has changed"), "{path}");
        assert_eq!(client.get_with("/who", AT_HOME).await.text(), "None 0", "{path}");
        assert!(thief.get_with("/who", ELSEWHERE).await.text().starts_with("None"), "{path}");
    }
}

#[tokio::test]
async fn a_write_of_a_thief_changes_nothing_even_if_the_session_cannot_be_ended() {
    let Fixture { client, store, .. } = fixture();
    client.get_with("/in", AT_HOME).await;
    let thief = client.steal();
    let mut loaded = store.pause_after("load");
    let fail = async {
        loaded.reached().await;
        store.fail_next(Fault::Unreachable);
        loaded.resume();
    };
    let (status, ()) = tokio::join!(status(&thief, "/cart", ELSEWHERE), fail);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.get_with("/who", AT_HOME).await.text(), "Some(7) 0");
}

/// If an earlier sign-in was lost, a sign-in reads the session of its client without checking the
/// client. If the session limit then refuses this sign-in, the handler may continue, but must not
/// see the session.
#[tokio::test]
async fn a_refused_sign_in_of_a_thief_reveals_nothing() {
    for lost in [false, true] {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let layer = SessionLayer::new(store).max_sessions(1, OnLimit::Reject).watch_clients(
            |headers, _| {
                let agent = headers.get("user-agent").map_or(&b""[..], |value| value.as_bytes());
                ClientFingerprint::new().with("agent", agent)
            },
            |_| ClientChangeAction::End,
        );
        let app = Router::new()
            .route("/in", get(|shop: Shop| async move { shop.set_user(&7).await }))
            .route("/own", get(|shop: Shop| async move { shop.set_user(&9).await }))
            .route("/cart", get(|shop: Shop| async move { shop.set_cart(&3).await }))
            .route(
                "/try",
                get(|shop: Shop| async move {
                    let refused = shop.set_user(&9).await.is_err();
                    let signed_in = shop.session().signed_in().await;
                    format!(
                        "{refused} {:?} {:?}",
                        signed_in.is_ok_and(|it| it.is_some()),
                        shop.cart().await
                    )
                }),
            );
        let client = new_client(app.layer(layer));
        client.stranger().get_with("/own", ELSEWHERE).await;
        client.get_with("/cart", AT_HOME).await;
        if lost {
            client.steal().get_with("/in", AT_HOME).await;
            clock.advance(Duration::from_secs(6));
            client.get_with("/cart", AT_HOME).await;
        }
        client.get_with("/in", AT_HOME).await;
        let thief = client.steal();
        assert_eq!(thief.get_with("/try", ELSEWHERE).await.text(), "true false Ok(0)", "{lost}");
    }
}

#[tokio::test]
async fn a_session_without_a_principal_is_not_checked() {
    let Fixture { client, checks, .. } = fixture();
    client.get_with("/cart", AT_HOME).await;
    assert_eq!(client.get_with("/who", ELSEWHERE).await.text(), "None 3");
    assert_eq!(checks.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_check_costs_no_round_trip() {
    let Fixture { client, store, .. } = fixture();
    client.get_with("/in", AT_HOME).await;
    store.take_calls();
    client.get_with("/who", AT_HOME).await;
    assert_eq!(store.take_calls(), ["load"]);
    client.get_with("/cart", AT_HOME).await;
    assert_eq!(store.take_calls(), ["load", "update"]);
}

#[tokio::test]
async fn metadata_shows_the_sign_in_as_guards_see_it() {
    let Fixture { client, .. } = fixture();
    client.get_with("/in", AT_HOME).await;
    for (at, expected) in [(AT_HOME, "Some(Aal1)"), (ON_THE_ROAD, "Some(Remembered)")] {
        assert_eq!(client.get_with("/metadata", at).await.text(), expected);
    }
    assert_eq!(client.get_with("/metadata", ELSEWHERE).await.text(), "None");
}
