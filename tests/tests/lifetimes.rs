//! How long sessions live, over HTTP, and what does and does not keep them alive.

use std::time::Duration;

use axum::{Router, routing::get};
use ruts::{
    Error, Session, SessionLayer, session,
    store::memory::{ManualClock, MemoryStore},
};
use ruts_tests::{Browser, Probe};

const MINUTE: Duration = Duration::from_secs(60);

#[session]
struct Shop {
    #[field(default)]
    visits: u64,
}

fn spelled(left: Option<Duration>) -> String {
    left.map_or_else(|| "-".to_owned(), |left| left.as_secs().to_string())
}

fn app(store: Probe<MemoryStore>) -> Router {
    Router::new()
        .route("/write", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/read",
            get(|shop: Shop| async move { Ok::<_, Error>(shop.visits().await?.to_string()) }),
        )
        .route(
            "/poll",
            get(|shop: Shop| async move {
                shop.session().passive();
                Ok::<_, Error>(shop.visits().await?.to_string())
            }),
        )
        .route(
            "/deadlines",
            get(|session: Session| async move {
                Ok::<_, Error>(match session.deadlines().await? {
                    Some(meta) => format!(
                        "{} {} {}",
                        meta.age.as_secs(),
                        spelled(meta.idle),
                        spelled(meta.absolute)
                    ),
                    None => "no session".to_owned(),
                })
            }),
        )
        .layer(SessionLayer::new(store).aal2())
}

struct Fixture {
    clock: ManualClock,
    store: Probe<MemoryStore>,
    browser: Browser,
}

fn fixture() -> Fixture {
    let clock = ManualClock::new();
    let store = Probe::new(MemoryStore::builder().clock(clock.clone()).build());
    Fixture { clock, browser: Browser::new(app(store.clone())), store }
}

// proves: NIST-5.2-c
#[tokio::test]
async fn the_deadlines_are_told() {
    let Fixture { clock, store, browser } = fixture();
    assert_eq!(browser.text("/deadlines").await, "no session");
    browser.text("/write").await;
    assert_eq!(browser.text("/deadlines").await, "0 3600 86400");
    clock.advance(20 * MINUTE);
    store.calls();
    assert_eq!(browser.text("/deadlines").await, "1200 2400 85200");
    assert_eq!(store.calls(), ["load"]);
    assert_eq!(browser.text("/deadlines").await, "1200 2400 85200", "asking is no use");
    browser.text("/read").await;
    assert_eq!(browser.text("/deadlines").await, "1200 3600 85200");
}

/// At the very second, and one before.
// proves: ASVS-7.3.1 ASVS-7.3.2 NIST-5.2-a NIST-5.1.5
#[tokio::test]
async fn a_session_ends_on_time() {
    for (seconds, alive) in [(3599, true), (3600, false), (3601, false)] {
        let Fixture { clock, browser, .. } = fixture();
        browser.text("/write").await;
        clock.advance(Duration::from_secs(seconds));
        let expected = if alive { "1" } else { "0" };
        assert_eq!(browser.text("/read").await, expected, "idle for {seconds} seconds");
    }
    let Fixture { clock, browser, .. } = fixture();
    browser.text("/write").await;
    for _ in 0..47 {
        clock.advance(30 * MINUTE);
        assert_eq!(browser.text("/read").await, "1");
        browser.text("/write").await;
    }
    clock.advance(30 * MINUTE - Duration::from_secs(1));
    assert_eq!(browser.text("/read").await, "1");
    clock.advance(Duration::from_secs(1));
    assert_eq!(browser.text("/read").await, "0", "however much it is used");
}

// proves: NIST-5.2-c
#[tokio::test]
async fn a_page_that_polls_keeps_nobody_signed_in() {
    let Fixture { clock, browser, .. } = fixture();
    browser.text("/write").await;
    for _ in 0..5 {
        clock.advance(10 * MINUTE);
        assert_eq!(browser.text("/poll").await, "1");
        browser.text("/deadlines").await;
    }
    clock.advance(10 * MINUTE);
    assert_eq!(browser.text("/poll").await, "0");
}

// proves: AAL1 AAL2 AAL3 ASVS-7.1.1 NIST-5.2-d
#[test]
fn the_presets_keep_to_their_levels() {
    let layer = || SessionLayer::new(MemoryStore::new());
    for (layer, level) in
        [(layer().aal1(), "AAL1"), (layer().aal2(), "AAL2"), (layer().aal3(), "AAL3")]
    {
        let text = layer.describe();
        assert!(text.ends_with(&format!("This is within {level} of NIST SP 800-63B-4.")), "{text}");
    }
    let stricter = layer().aal2().idle_timeout(15 * MINUTE).absolute_timeout(12 * 60 * MINUTE);
    assert!(stricter.describe().contains("AAL3"));
    // A cookie that ends sooner ends the session sooner.
    let options = ruts::CookieOptions::build().max_age(3600);
    let brief = layer().aal2().with_cookie_options(options).describe();
    assert!(brief.contains("A session ends 1 hour after its start"), "{brief}");
}
