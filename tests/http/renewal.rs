//! Tests of secrets that are renewed by age: no client loses its session, and a late use of a
//! former secret is logged. The tests force interleavings.

use std::time::Duration;

use axum::{Router, routing::get};
use ruts::testing::Client;
use ruts::{
    Error, Session, SessionLayer, session,
    store::memory::{ManualClock, MemoryStore},
};
use ruts_tests_support::{ClientExt, Fault, InstrumentedStore, Log, new_client};

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
    store: InstrumentedStore<MemoryStore>,
    client: Client,
}

/// Returns a client whose secret is due for renewal.
async fn due() -> Fixture {
    let clock = ManualClock::new();
    let store = InstrumentedStore::new(MemoryStore::builder().clock(clock.clone()).build());
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
                shop.session().set_passive();
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
    let client = new_client(app);
    client.text("/begin").await;
    clock.advance(15 * MINUTE);
    store.take_calls();
    Fixture { clock, store, client }
}

// proves: CS-11 NIST-5.1-a
#[tokio::test]
async fn a_secret_is_renewed_when_it_is_due_and_not_before() {
    let Fixture { clock, store, client } = due().await;
    let former = client.token();
    assert_eq!(client.get("/read").await.set_cookies().len(), 1);
    assert_eq!(store.take_calls(), ["load", "update"], "a renewal should cost one round trip");
    let renewed = client.token();
    assert_ne!(former, renewed);
    assert_eq!(
        former.unwrap()[..22],
        renewed.unwrap()[..22],
        "the renewal should keep the session id"
    );
    clock.advance(15 * MINUTE - Duration::from_secs(1));
    assert!(client.get("/read").await.set_cookies().is_empty());
    assert_eq!(store.take_calls(), ["load"]);
    clock.advance(Duration::from_secs(1));
    assert_eq!(client.get("/read").await.set_cookies().len(), 1);
}

// proves: CS-11
#[tokio::test]
async fn one_of_two_tabs_renews_and_both_keep_the_session() {
    let Fixture { clock, store, client } = due().await;
    let slow = client.steal();
    let mut pause = store.pause_after("load");
    let reading = tokio::spawn({
        let slow = slow.clone();
        async move { slow.get("/visit").await }
    });
    pause.reached().await;
    assert_eq!(client.text("/read").await, "1");
    pause.resume();
    let late = reading.await.unwrap();
    assert_eq!(late.body, "2", "the write by the slow tab should apply");
    assert!(late.set_cookies().is_empty(), "the late response should not overwrite the new cookie");
    assert_eq!(client.text("/visit").await, "3", "the new cookie should work at its first use");
    clock.advance(Duration::from_secs(29));
    assert_eq!(
        slow.text("/visit").await,
        "4",
        "the former cookie should work within the grace period"
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        slow.text("/read").await,
        "0",
        "the former cookie should be refused after the grace period"
    );
    assert_eq!(client.text("/read").await, "4");
}

// proves: CS-11
#[tokio::test]
async fn a_lost_response_does_not_end_the_session() {
    let Fixture { clock, client, .. } = due().await;
    for _ in 0..4 {
        let lost = client.steal();
        assert_eq!(lost.get("/read").await.set_cookies().len(), 1);
        clock.advance(15 * MINUTE);
        assert_eq!(lost.stranger().text("/read").await, "0");
    }
    assert_eq!(client.text("/visit").await, "2");
    assert_eq!(client.text("/visit").await, "3");
}

// proves: CS-11 CS-6
#[tokio::test]
async fn a_use_of_a_former_secret_after_the_grace_period_is_logged() {
    let Fixture { clock, client, .. } = due().await;
    let thief = client.steal();
    client.text("/read").await;
    client.text("/read").await;
    clock.advance(2 * MINUTE);
    let (log, guard) = Log::start();
    assert_eq!(thief.text("/read").await, "0");
    drop(guard);
    assert!(log.text().contains("reuse of a former session secret"), "{}", log.text());
    assert_eq!(client.text("/read").await, "1");
}

/// A sign-in must not sign in a thief who has the former secret.
// proves: ASVS-7.2.4 NIST-5.1.1
#[tokio::test]
async fn a_sign_in_ends_the_grace_period_of_a_renewal() {
    let Fixture { client, .. } = due().await;
    let thief = client.steal();
    assert_eq!(client.get("/read-and-sign-in").await.set_cookies().len(), 1);
    assert_eq!(client.text("/user").await, r#"Some("ada")"#);
    assert_eq!(thief.text("/user").await, "None");

    let Fixture { client, .. } = due().await;
    let thief = client.steal();
    client.text("/read").await;
    client.text("/read-and-sign-in").await;
    assert_eq!(client.text("/user").await, r#"Some("ada")"#);
    assert_eq!(thief.text("/user").await, "None");
}

#[tokio::test]
async fn a_passive_request_does_not_renew() {
    let Fixture { store, client, .. } = due().await;
    assert!(client.get("/poll").await.set_cookies().is_empty());
    assert_eq!(store.take_calls(), ["load"]);
}

#[tokio::test]
async fn a_request_succeeds_although_its_renewal_fails() {
    for fault in [Fault::Unreachable, Fault::AnswerLost, Fault::StaleCache] {
        let Fixture { store, client, .. } = due().await;
        let mut pause = store.pause_after("load");
        let reading = tokio::spawn({
            let client = client.clone();
            async move { client.text("/read").await }
        });
        pause.reached().await;
        store.fail_next(fault);
        pause.resume();
        assert_eq!(reading.await.unwrap(), "1", "{fault:?}");
        assert_eq!(client.text("/visit").await, "2", "{fault:?}");
        assert_eq!(client.text("/visit").await, "3", "{fault:?}");
    }
}

#[tokio::test]
async fn a_tab_with_a_former_secret_can_delete_the_session() {
    let Fixture { client, .. } = due().await;
    let late = client.steal();
    client.text("/read").await;
    client.text("/read").await;
    late.text("/out").await;
    assert_eq!(late.token(), None);
    assert_eq!(client.text("/read").await, "0");
}
