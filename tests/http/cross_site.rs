//! Tests of requests that another site makes in the name of a user, and of the two defences:
//! `CsrfLayer` and CSRF tokens.

use std::time::Duration;

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    routing::{get, post},
};
use ruts::testing::Client;
use ruts::{
    Error, Session, SessionLayer,
    layer::CsrfLayer,
    session,
    store::memory::{ManualClock, MemoryStore},
};
use ruts_tests_support::{ClientExt, InstrumentedStore, new_client};

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    visits: u64,
}

fn shop(store: InstrumentedStore<MemoryStore>) -> Client {
    let app = Router::new()
        .route("/begin", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route("/write", post(|shop: Shop| async move { shop.set_visits(&2).await }))
        .route(
            "/sign-in/{user}",
            get(|shop: Shop, Path(user): Path<String>| async move { shop.set_user(&user).await }),
        )
        .route("/regenerate", get(|session: Session| async move { session.regenerate().await }))
        .route("/token", get(|session: Session| async move { session.csrf_token().await }))
        .route(
            "/check/{token}",
            get(|session: Session, Path(token): Path<String>| async move {
                Ok::<_, Error>(session.is_csrf_token(&token).await?.to_string())
            }),
        )
        .route(
            "/write-check/{token}",
            get(|shop: Shop, Path(token): Path<String>| async move {
                shop.set_visits(&3).await?;
                Ok::<_, Error>(shop.session().is_csrf_token(&token).await?.to_string())
            }),
        )
        .route("/end", get(|session: Session| async move { session.delete().await }))
        .layer(SessionLayer::new(store))
        .layer(CsrfLayer::new());
    new_client(app)
}

// proves: ASVS-3.5.1 CS-18
#[tokio::test]
async fn an_unsafe_request_of_another_site_is_refused() {
    let client = shop(InstrumentedStore::new(MemoryStore::new()));
    client.text("/begin").await;
    let same = "https://shop.example";
    let (served, refused) = (StatusCode::OK, StatusCode::FORBIDDEN);
    for (headers, expected) in [
        (&[("sec-fetch-site", "same-origin")][..], served),
        (&[("sec-fetch-site", "none")], served),
        (&[("sec-fetch-site", "same-site")], refused),
        (&[("sec-fetch-site", "cross-site")], refused),
        (&[("sec-fetch-site", "cross-site"), ("origin", same)], refused),
        (&[("origin", same)], served),
        (&[("origin", "https://evil.example")], refused),
        (&[("origin", "https://shop.example.evil.example")], refused),
        (&[("origin", "https://shop.example:444")], refused),
        (&[("origin", "null")], refused),
        (&[], served),
    ] {
        assert_eq!(client.post_with("/write", headers).await.status, expected, "{headers:?}");
    }
    let followed = client.get_with("/begin", &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(followed.status, served, "a link from another site should work");
}

async fn is_valid(client: &Client, token: &str) -> bool {
    client.text(&format!("/check/{token}")).await == "true"
}

// proves: NIST-5.1-g ASVS-3.5.1
#[tokio::test]
async fn a_token_is_valid_only_in_its_own_session() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let ada = shop(store);
    let bob = ada.stranger();
    let (first, again) = (ada.text("/token").await, ada.text("/token").await);
    assert_ne!(first, again, "each call should return a different token");
    assert!(is_valid(&ada, &first).await && is_valid(&ada, &again).await);
    assert!(
        !is_valid(&bob, &first).await,
        "a token should not be valid for a client without a session"
    );
    let theirs = bob.text("/token").await;
    assert!(is_valid(&bob, &theirs).await && !is_valid(&ada, &theirs).await);
    for wrong in ["x", &first[1..], &format!("{first}A"), &"A".repeat(86), &first.to_lowercase()] {
        assert!(!is_valid(&ada, wrong).await, "{wrong}");
    }
    ada.text("/regenerate").await;
    assert!(is_valid(&ada, &first).await, "a token should stay valid after a rotation");
    ada.text("/sign-in/ada").await;
    assert!(!is_valid(&ada, &first).await, "a token should not be valid after a sign-in");
    let signed_in = ada.text("/token").await;
    assert!(is_valid(&ada, &signed_in).await);
    ada.text("/sign-in/eve").await;
    assert!(
        !is_valid(&ada, &signed_in).await,
        "a token should not be valid for a different principal"
    );
}

/// After a sign-out, a browser may send the former cookie once more, for example because the user
/// clicked twice. The page that it then gets may have a form.
#[tokio::test]
async fn a_form_right_after_a_sign_out_works() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let ada = shop(store);
    ada.text("/sign-in/ada").await;
    let before = ada.text("/token").await;
    let late = ada.steal();
    ada.text("/end").await;
    let page = late.get("/token").await;
    assert_eq!((page.status, page.set_cookies().len()), (StatusCode::OK, 0));
    assert!(is_valid(&late, &page.text()).await);
    assert!(!is_valid(&late, &before).await, "the token of the ended session should be refused");
    assert!(!is_valid(&ada.stranger(), &page.text()).await);
    let other = ada.stranger();
    other.text("/begin").await;
    assert!(!is_valid(&other, &page.text()).await);
    late.text("/sign-in/ada").await;
    assert!(!is_valid(&late, &page.text()).await, "a token should not be valid after a sign-in");
}

/// The user clicks twice on the button of a form, or misses the response and sends the form again.
// proves: NIST-5.1-g
#[tokio::test]
async fn a_second_click_on_a_sign_in_form_is_accepted() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let ada = shop(InstrumentedStore::new(store));
    let as_guest = ada.text("/token").await;
    let late = ada.steal();
    ada.text("/sign-in/ada").await;
    assert!(is_valid(&late, &as_guest).await, "a second click on a sign-in form should be valid");
    clock.advance(Duration::from_secs(60));
    assert!(is_valid(&late, &as_guest).await, "a form should be valid after a lost response");
    assert!(!is_valid(&ada, &as_guest).await, "the new secret should not accept the token");
    assert!(!is_valid(&ada.stranger(), &as_guest).await);
    let other = ada.stranger();
    other.text("/begin").await;
    let dead = format!("__Host-id={}", other.token().unwrap());
    other.text("/end").await;
    let behind = late.get_with(&format!("/check/{as_guest}"), &[("cookie", &dead)]).await;
    assert_eq!(behind.text(), "true", "a dead cookie in front should not matter");
    let written = late.steal().text(&format!("/write-check/{as_guest}")).await;
    assert_eq!(written, "true", "an earlier write by the request should not matter");
    let as_ada = ada.text("/token").await;
    let late = ada.steal();
    ada.text("/sign-in/ada").await;
    assert!(is_valid(&late, &as_ada).await, "a second click on a step-up form should be valid");
    let of_eve = late.stranger();
    assert!(!is_valid(&late, &of_eve.text("/token").await).await);
    ada.text("/sign-in/eve").await;
    assert!(!is_valid(&late, &as_ada).await, "a second replacement should invalidate the token");
}

#[tokio::test]
async fn a_token_costs_one_round_trip_and_the_first_one_two() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let client = shop(store.clone());
    client.text("/begin").await;
    store.take_calls();
    client.text("/token").await;
    assert_eq!(
        store.take_calls(),
        ["load", "update"],
        "the first token of a session should cost two calls"
    );
    let token = client.text("/token").await;
    assert_eq!(store.take_calls(), ["load"]);
    client.text(&format!("/check/{token}")).await;
    assert_eq!(store.take_calls(), ["load"]);
}

#[tokio::test]
async fn two_tabs_that_request_their_first_token_at_once_both_get_a_valid_one() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let client = shop(store.clone());
    client.text("/begin").await;
    let mut pause = store.pause_before("update");
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.text("/token").await }
    });
    pause.reached().await;
    let fast = client.text("/token").await;
    pause.resume();
    for token in [fast, slow.await.unwrap()] {
        assert!(is_valid(&client, &token).await);
    }
}
