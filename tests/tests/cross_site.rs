//! Requests that other sites make in somebody's name, and the two ways to refuse them.

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    routing::{get, post},
};
use ruts::{CsrfLayer, Error, Session, SessionLayer, session, store::memory::MemoryStore};
use ruts_tests::{Browser, Probe};

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    visits: u64,
}

fn browser(store: Probe<MemoryStore>) -> Browser {
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
        .layer(SessionLayer::new(store))
        .layer(CsrfLayer::new());
    Browser::new(app)
}

// proves: ASVS-3.5.1 CS-18
#[tokio::test]
async fn only_requests_of_this_site_change_something() {
    let browser = browser(Probe::new(MemoryStore::new()));
    browser.text("/begin").await;
    let same = "https://shop.example";
    let (yes, no) = (StatusCode::OK, StatusCode::FORBIDDEN);
    for (headers, expected) in [
        (&[("sec-fetch-site", "same-origin")][..], yes),
        (&[("sec-fetch-site", "none")], yes),
        (&[("sec-fetch-site", "same-site")], no),
        (&[("sec-fetch-site", "cross-site")], no),
        (&[("sec-fetch-site", "cross-site"), ("origin", same)], no),
        (&[("origin", same)], yes),
        (&[("origin", "https://evil.example")], no),
        (&[("origin", "https://shop.example.evil.example")], no),
        (&[("origin", "https://shop.example:444")], no),
        (&[("origin", "null")], no),
        (&[], yes),
    ] {
        assert_eq!(browser.post_with("/write", headers).await.status, expected, "{headers:?}");
    }
    let followed = browser.get_with("/begin", &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(followed.status, yes, "a link from another site");
}

async fn is_good(browser: &Browser, token: &str) -> bool {
    browser.text(&format!("/check/{token}")).await == "true"
}

// proves: NIST-5.1-g ASVS-3.5.1
#[tokio::test]
async fn a_token_is_good_in_its_own_session_only() {
    let store = Probe::new(MemoryStore::new());
    let ada = browser(store.clone());
    let bob = ada.stranger();
    let (first, again) = (ada.text("/token").await, ada.text("/token").await);
    assert_ne!(first, again, "it is another text each time");
    assert!(is_good(&ada, &first).await && is_good(&ada, &again).await);
    assert!(!is_good(&bob, &first).await, "who has no session");
    let theirs = bob.text("/token").await;
    assert!(is_good(&bob, &theirs).await && !is_good(&ada, &theirs).await);
    for wrong in ["x", &first[1..], &format!("{first}A"), &"A".repeat(86), &first.to_lowercase()] {
        assert!(!is_good(&ada, wrong).await, "{wrong}");
    }
    ada.text("/regenerate").await;
    assert!(is_good(&ada, &first).await, "a form that was open meanwhile");
    ada.text("/sign-in/ada").await;
    assert!(!is_good(&ada, &first).await, "what came before the sign-in");
    let signed_in = ada.text("/token").await;
    assert!(is_good(&ada, &signed_in).await);
    ada.text("/sign-in/eve").await;
    assert!(!is_good(&ada, &signed_in).await, "somebody else");
}

#[tokio::test]
async fn a_token_costs_one_round_trip() {
    let store = Probe::new(MemoryStore::new());
    let browser = browser(store.clone());
    browser.text("/begin").await;
    store.calls();
    browser.text("/token").await;
    assert_eq!(store.calls(), ["load", "update"], "the first in a session");
    let token = browser.text("/token").await;
    assert_eq!(store.calls(), ["load"]);
    browser.text(&format!("/check/{token}")).await;
    assert_eq!(store.calls(), ["load"]);
}

/// Two tabs ask for their first token at once: both are good.
#[tokio::test]
async fn parallel_first_tokens_are_both_good() {
    let store = Probe::new(MemoryStore::new());
    let browser = browser(store.clone());
    browser.text("/begin").await;
    let mut pause = store.pause_before("update");
    let slow = tokio::spawn({
        let browser = browser.clone();
        async move { browser.text("/token").await }
    });
    pause.reached().await;
    let fast = browser.text("/token").await;
    pause.go_on();
    for token in [fast, slow.await.unwrap()] {
        assert!(is_good(&browser, &token).await);
    }
}
