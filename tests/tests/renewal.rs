//! Secrets that are renewed because they are old: nobody loses a session by it, and who comes with a
//! former secret long after is noticed. Over HTTP, with forced interleavings.

use std::time::Duration;

use axum::{Router, routing::get};
use ruts::{
    Error, Session, SessionLayer, session,
    store::memory::{ManualClock, MemoryStore},
};
use ruts_tests::{Browser, Fault, Log, Probe};

const MINUTE: Duration = Duration::from_secs(60);

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    visits: u64,
}

struct Fixture {
    clock: ManualClock,
    store: Probe<MemoryStore>,
    browser: Browser,
}

/// A visitor whose secret is due.
async fn due() -> Fixture {
    let clock = ManualClock::new();
    let store = Probe::new(MemoryStore::builder().clock(clock.clone()).build());
    let layer = SessionLayer::new(store.clone()).renew_every(15 * MINUTE);
    let app = Router::new()
        .route("/begin", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route("/read", get(|shop: Shop| async move { shop.visits().await.map(|n| n.to_string()) }))
        .route(
            "/visit",
            get(|shop: Shop| async move {
                let visit = shop.visits().update(|n| {
                    *n += 1;
                    *n
                });
                visit.await.map(|n| n.to_string())
            }),
        )
        .route(
            "/poll",
            get(|shop: Shop| async move {
                shop.session().passive();
                shop.visits().await.map(|n| n.to_string())
            }),
        )
        .route(
            "/read-and-sign-in",
            get(|shop: Shop| async move {
                shop.visits().await?;
                shop.set_user("ada").await
            }),
        )
        .route(
            "/user",
            get(|shop: Shop| async move { Ok::<_, Error>(format!("{:?}", shop.user().await?)) }),
        )
        .route("/out", get(|session: Session| async move { session.delete().await }))
        .layer(layer);
    let browser = Browser::new(app);
    browser.text("/begin").await;
    clock.advance(15 * MINUTE);
    store.calls();
    Fixture { clock, store, browser }
}

// proves: CS-11 NIST-5.1-a
#[tokio::test]
async fn a_secret_is_renewed_when_it_is_due_and_not_before() {
    let Fixture { clock, store, browser } = due().await;
    let former = browser.token();
    assert_eq!(browser.get("/read").await.set_cookies().len(), 1);
    assert_eq!(store.calls(), ["load", "update"], "one round trip more");
    let renewed = browser.token();
    assert_ne!(former, renewed);
    assert_eq!(former.unwrap()[..22], renewed.unwrap()[..22], "it is the same session");
    clock.advance(15 * MINUTE - Duration::from_secs(1));
    assert!(browser.get("/read").await.set_cookies().is_empty());
    assert_eq!(store.calls(), ["load"]);
    clock.advance(Duration::from_secs(1));
    assert_eq!(browser.get("/read").await.set_cookies().len(), 1);
}

// proves: CS-11
#[tokio::test]
async fn of_two_tabs_one_renews_and_neither_is_signed_out() {
    let Fixture { clock, store, browser } = due().await;
    let slow = browser.steal();
    let mut pause = store.pause_after("load");
    let reading = tokio::spawn({
        let slow = slow.clone();
        async move { slow.get("/visit").await }
    });
    pause.reached().await;
    assert_eq!(browser.text("/read").await, "1");
    pause.go_on();
    let late = reading.await.unwrap();
    assert_eq!(late.body, "2", "a write of the slow tab is not lost");
    assert!(late.set_cookies().is_empty(), "it would clobber the new cookie");
    assert_eq!(browser.text("/visit").await, "3", "the first use of the new cookie");
    clock.advance(Duration::from_secs(29));
    assert_eq!(slow.text("/visit").await, "4", "within the grace");
    clock.advance(Duration::from_secs(1));
    assert_eq!(slow.text("/read").await, "0", "beyond it");
    assert_eq!(browser.text("/read").await, "4");
}

// proves: CS-11
#[tokio::test]
async fn a_response_that_got_lost_costs_nobody_the_session() {
    let Fixture { clock, browser, .. } = due().await;
    for _ in 0..4 {
        let lost = browser.steal();
        assert_eq!(lost.get("/read").await.set_cookies().len(), 1);
        clock.advance(15 * MINUTE);
        assert_eq!(lost.stranger().text("/read").await, "0");
    }
    assert_eq!(browser.text("/visit").await, "2");
    assert_eq!(browser.text("/visit").await, "3");
}

// proves: CS-11 CS-6
#[tokio::test]
async fn a_former_secret_long_after_is_noticed() {
    let Fixture { clock, browser, .. } = due().await;
    let thief = browser.steal();
    browser.text("/read").await;
    browser.text("/read").await;
    clock.advance(2 * MINUTE);
    let (log, guard) = Log::start();
    assert_eq!(thief.text("/read").await, "0");
    drop(guard);
    assert!(log.text().contains("reuse of a former session secret"), "{}", log.text());
    assert_eq!(browser.text("/read").await, "1");
}

/// Who knows the secret from before must not have the session of who signs in.
// proves: ASVS-7.2.4 NIST-5.1.1
#[tokio::test]
async fn a_sign_in_ends_the_grace_of_a_renewal() {
    let Fixture { browser, .. } = due().await;
    let thief = browser.steal();
    assert_eq!(browser.get("/read-and-sign-in").await.set_cookies().len(), 1);
    assert_eq!(browser.text("/user").await, r#"Some("ada")"#);
    assert_eq!(thief.text("/user").await, "None");

    let Fixture { browser, .. } = due().await;
    let thief = browser.steal();
    browser.text("/read").await;
    browser.text("/read-and-sign-in").await;
    assert_eq!(browser.text("/user").await, r#"Some("ada")"#);
    assert_eq!(thief.text("/user").await, "None");
}

#[tokio::test]
async fn a_page_that_polls_renews_nothing() {
    let Fixture { store, browser, .. } = due().await;
    assert!(browser.get("/poll").await.set_cookies().is_empty());
    assert_eq!(store.calls(), ["load"]);
}

#[tokio::test]
async fn a_renewal_that_fails_is_no_matter() {
    for fault in [Fault::Unreachable, Fault::AnswerLost, Fault::CacheNotTold] {
        let Fixture { store, browser, .. } = due().await;
        let mut pause = store.pause_after("load");
        let reading = tokio::spawn({
            let browser = browser.clone();
            async move { browser.text("/read").await }
        });
        pause.reached().await;
        store.fail_next(fault);
        pause.go_on();
        assert_eq!(reading.await.unwrap(), "1", "{fault:?}");
        assert_eq!(browser.text("/visit").await, "2", "{fault:?}");
        assert_eq!(browser.text("/visit").await, "3", "{fault:?}");
    }
}

#[tokio::test]
async fn a_late_tab_can_sign_out() {
    let Fixture { browser, .. } = due().await;
    let late = browser.steal();
    browser.text("/read").await;
    browser.text("/read").await;
    late.text("/out").await;
    assert_eq!(late.token(), None);
    assert_eq!(browser.text("/read").await, "0");
}
