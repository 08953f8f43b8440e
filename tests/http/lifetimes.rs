//! Tests of the deadlines of sessions, and of the requests that move them.

use std::time::Duration;

use axum::{Router, routing::get};
use ruts::testing::Client;
use ruts::{
    Error, Session, SessionLayer, session,
    store::memory::{ManualClock, MemoryStore},
};
use ruts_tests_support::{ClientExt, InstrumentedStore, new_client};

const MINUTE: Duration = Duration::from_secs(60);

#[session]
struct Shop {
    #[field(default)]
    visits: u64,
}

fn seconds(left: Option<Duration>) -> String {
    left.map_or_else(|| "-".to_owned(), |left| left.as_secs().to_string())
}

fn app(store: InstrumentedStore<MemoryStore>) -> Router {
    Router::new()
        .route("/write", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/read",
            get(|shop: Shop| async move { Ok::<_, Error>(shop.visits().await?.to_string()) }),
        )
        .route(
            "/poll",
            get(|shop: Shop| async move {
                shop.session().set_passive();
                Ok::<_, Error>(shop.visits().await?.to_string())
            }),
        )
        .route(
            "/deadlines",
            get(|session: Session| async move {
                Ok::<_, Error>(match session.metadata().await? {
                    Some(meta) => format!(
                        "{} {} {}",
                        meta.age.as_secs(),
                        seconds(meta.idle_remaining),
                        seconds(meta.absolute_remaining)
                    ),
                    None => "no session".to_owned(),
                })
            }),
        )
        .layer(SessionLayer::new(store).aal2())
}

struct Fixture {
    clock: ManualClock,
    store: InstrumentedStore<MemoryStore>,
    client: Client,
}

fn fixture() -> Fixture {
    let clock = ManualClock::new();
    let store = InstrumentedStore::new(MemoryStore::builder().clock(clock.clone()).build());
    Fixture { clock, client: new_client(app(store.clone())), store }
}

// proves: NIST-5.2-c
#[tokio::test]
async fn a_session_reports_its_deadlines() {
    let Fixture { clock, store, client } = fixture();
    assert_eq!(client.text("/deadlines").await, "no session");
    client.text("/write").await;
    assert_eq!(client.text("/deadlines").await, "0 3600 86400");
    clock.advance(20 * MINUTE);
    store.take_calls();
    assert_eq!(client.text("/deadlines").await, "1200 2400 85200");
    assert_eq!(store.take_calls(), ["load"]);
    assert_eq!(
        client.text("/deadlines").await,
        "1200 2400 85200",
        "a read of the deadlines should not touch the session"
    );
    client.text("/read").await;
    assert_eq!(client.text("/deadlines").await, "1200 3600 85200");
}

/// A session is live until exactly its deadline.
// proves: ASVS-7.3.1 ASVS-7.3.2 NIST-5.2-a NIST-5.1.5
#[tokio::test]
async fn a_session_ends_at_both_deadlines() {
    for (seconds, is_live) in [(3599, true), (3600, false), (3601, false)] {
        let Fixture { clock, client, .. } = fixture();
        client.text("/write").await;
        clock.advance(Duration::from_secs(seconds));
        let expected = if is_live { "1" } else { "0" };
        assert_eq!(client.text("/read").await, expected, "idle for {seconds} seconds");
    }
    let Fixture { clock, client, .. } = fixture();
    client.text("/write").await;
    for _ in 0..47 {
        clock.advance(30 * MINUTE);
        assert_eq!(client.text("/read").await, "1");
        client.text("/write").await;
    }
    clock.advance(30 * MINUTE - Duration::from_secs(1));
    assert_eq!(client.text("/read").await, "1");
    clock.advance(Duration::from_secs(1));
    assert_eq!(client.text("/read").await, "0", "uses should not move the absolute deadline");
}

// proves: NIST-5.2-c
#[tokio::test]
async fn a_passive_request_does_not_move_the_idle_deadline() {
    let Fixture { clock, client, .. } = fixture();
    client.text("/write").await;
    for _ in 0..5 {
        clock.advance(10 * MINUTE);
        assert_eq!(client.text("/poll").await, "1");
        client.text("/deadlines").await;
    }
    clock.advance(10 * MINUTE);
    assert_eq!(client.text("/poll").await, "0");
}

// proves: AAL1 AAL2 AAL3 ASVS-7.1.1 NIST-5.2-d
#[test]
fn each_preset_meets_its_assurance_level() {
    let layer = || SessionLayer::new(MemoryStore::new());
    for (layer, level) in
        [(layer().aal1(), "AAL1"), (layer().aal2(), "AAL2"), (layer().aal3(), "AAL3")]
    {
        let text = layer.describe();
        assert!(text.ends_with(&format!("This is within {level} of NIST SP 800-63B-4.")), "{text}");
    }
    let stricter = layer().aal2().idle_timeout(15 * MINUTE).absolute_timeout(12 * 60 * MINUTE);
    assert!(stricter.describe().contains("AAL3"));
    // An unused session ends when its cookie does.
    let options = ruts::CookieOptions::build().max_age(1800);
    let brief = layer().aal2().with_cookie_options(options).describe();
    assert!(brief.contains("A session ends after 30 minutes without use"), "{brief}");
    assert!(brief.contains("The browser keeps the cookie for 30 minutes."), "{brief}");
}
