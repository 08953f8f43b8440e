//! `Session::token_status`: the reason why a request has no session.

use std::time::Duration;

use axum::{Router, routing::get};
use ruts::{
    Error, Session, SessionLayer, session,
    session::TokenStatus,
    store::memory::{ManualClock, MemoryStore},
    testing::Client,
};
use ruts_tests_support::{ClientExt, new_client};

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
}

async fn token_status(session: Session) -> Result<String, Error> {
    Ok(match session.token_status().await? {
        TokenStatus::Deleted { ago } => format!("ended {}", ago.as_secs()),
        TokenStatus::Replaced { ago } => format!("replaced {}", ago.as_secs()),
        other => format!("{other:?}"),
    })
}

fn fixture() -> (ManualClock, Client) {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let app = Router::new()
        .route("/", get(token_status))
        .route("/sign-in", get(|shop: Shop| async move { shop.set_user(&7).await }))
        .route("/sign-out", get(|session: Session| async move { session.delete().await }))
        .route(
            "/revoke",
            get(|session: Session| async move {
                session.revoke_others().await.map(|ended| ended.to_string())
            }),
        )
        .route(
            "/sign-in-and-ask",
            get(|shop: Shop| async move {
                shop.set_user(&7).await?;
                token_status(shop.session().clone()).await
            }),
        )
        .layer(SessionLayer::new(store));
    (clock, new_client(app))
}

#[tokio::test]
async fn a_request_knows_the_state_of_its_session() {
    let (clock, client) = fixture();
    assert_eq!(client.text("/").await, "NoToken");
    client.plant("__Host-id", "a planted cookie");
    assert_eq!(client.text("/").await, "Unreadable");
    client.forget("__Host-id");

    client.text("/sign-in").await;
    assert_eq!(client.text("/").await, "Live");
    let (before, tab) = (client.steal(), client.steal());
    client.text("/sign-in").await;
    clock.advance(Duration::from_secs(7));
    assert_eq!(before.text("/").await, "replaced 7");

    let tab_of_today = client.steal();
    client.text("/sign-out").await;
    clock.advance(Duration::from_secs(8));
    assert_eq!(tab_of_today.text("/").await, "ended 8");
    clock.advance(Duration::from_secs(60));
    assert_eq!(tab_of_today.text("/").await, "Expired { by: None }");
    assert_eq!(tab.text("/").await, "Expired { by: None }");
}

/// A secret that was replaced more than once is distinguished from the secret of an ended session.
#[tokio::test]
async fn a_made_up_secret_of_a_live_session_is_reported() {
    let (_, client) = fixture();
    client.text("/sign-in").await;
    let before = client.steal();
    client.text("/sign-in").await;
    client.text("/sign-in").await;
    assert_eq!(before.text("/").await, "WrongSecret");
    client.text("/sign-out").await;
    assert_eq!(before.text("/").await, "Expired { by: None }");
}

#[tokio::test]
async fn a_revoked_session_differs_from_an_expired_one() {
    let (clock, client) = fixture();
    client.text("/sign-in").await;
    let other = client.stranger();
    other.text("/sign-in").await;
    assert_eq!(client.text("/revoke").await, "1");
    assert_eq!(other.text("/").await, "Revoked");
    clock.advance(Duration::from_secs(6 * 24 * 60 * 60));
    assert_eq!(other.text("/").await, "Revoked");
    assert_eq!(client.text("/").await, "Live");
    clock.advance(Duration::from_secs(2 * 24 * 60 * 60));
    assert_eq!(
        other.text("/").await,
        "Expired { by: None }",
        "after its deadline, a revoked session should count as expired"
    );
    assert_eq!(client.text("/").await, "Live");
    clock.advance(Duration::from_secs(8 * 24 * 60 * 60));
    assert_eq!(client.text("/").await, "Expired { by: Some(Idle) }");
}

#[tokio::test]
async fn a_session_that_was_too_old_differs_from_one_that_was_not_used() {
    let (clock, client) = fixture();
    client.text("/sign-in").await;
    let day = Duration::from_secs(24 * 60 * 60);
    let mut days = 0;
    let last = loop {
        match &*client.text("/").await {
            "Live" => clock.advance(day),
            last => break last.to_owned(),
        }
        days += 1;
    };
    assert_eq!((&*last, days), ("Expired { by: Some(Absolute) }", 30));
    // The store frees expired sessions as new ones are created.
    for _ in 0..200 {
        client.stranger().text("/sign-in").await;
    }
    assert_eq!(client.text("/").await, "Expired { by: None }");
}

/// A user whose session was revoked can sign in again immediately.
#[tokio::test]
async fn a_revocation_keeps_nobody_from_signing_in() {
    let (_, client) = fixture();
    client.text("/sign-in").await;
    let other = client.stranger();
    other.text("/sign-in").await;
    client.text("/revoke").await;
    assert_eq!(other.text("/").await, "Revoked");
    other.text("/sign-in").await;
    assert_eq!(other.text("/").await, "Live");
    assert_eq!(client.text("/").await, "Live");
}

/// The status describes the presented token, whatever the request has done since.
#[tokio::test]
async fn a_sign_in_does_not_change_the_status_of_the_presented_token() {
    let (_, client) = fixture();
    assert_eq!(client.text("/sign-in-and-ask").await, "NoToken");
    client.text("/sign-out").await;
    client.plant("__Host-id", "AAECAwQFBgcICQoLDA0ODw.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(client.text("/sign-in-and-ask").await, "Expired { by: None }");
}
