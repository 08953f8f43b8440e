//! Tests of the sources of tokens, and of the responses. The cases are planted cookies, replaced
//! keys, headers instead of cookies, and the response after a session has ended.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Query,
    http::{StatusCode, header},
    routing::get,
};
use ruts::testing::Client;
use ruts::{
    CookieOptions, Error, Session, SessionLayer,
    crypto::{KeyError, KeyRing},
    layer::{ClearSiteData, TokenSource},
    session,
    session::LayerName,
    store::memory::{ManualClock, MemoryStore},
};
use ruts_tests_support::{ClientExt, Fault, InstrumentedStore, Log, new_client};

#[session]
struct Shop {
    #[field(default)]
    visits: u64,
}

fn routes() -> Router {
    Router::new()
        .route(
            "/out-and-on",
            get(|shop: Shop| async move {
                shop.session().delete().await?;
                shop.set_visits(&1).await
            }),
        )
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
            "/read",
            get(|shop: Shop, _: Query<Vec<(String, String)>>| async move {
                shop.visits().await.map(|n| n.to_string())
            }),
        )
        .route("/out", get(|session: Session| async move { session.delete().await }))
}

fn app(
    layer: impl FnOnce(SessionLayer) -> SessionLayer,
) -> (InstrumentedStore<MemoryStore>, Router) {
    let store = InstrumentedStore::new(MemoryStore::new());
    (store.clone(), routes().layer(layer(SessionLayer::new(store))))
}

async fn visited(app: &Router) -> Client {
    let client = new_client(app.clone());
    assert_eq!(client.text("/visit").await, "1");
    client
}

/// Returns two cookies with the name of the session cookie. A sibling domain can cause this by
/// planting a cookie.
fn both(first: &str, second: &str) -> String {
    format!("__Host-id={first}; other=1; __Host-id={second}")
}

/// Returns a well-formed token that is not valid.
fn forged() -> String {
    format!("{}.{}", "A".repeat(22), "A".repeat(43))
}

// proves: CS-6 ASVS-7.2.1
#[tokio::test]
async fn a_planted_cookie_does_not_hide_a_valid_one() {
    let (store, app) = app(|layer| layer);
    let victim = visited(&app).await;
    let good = victim.token().unwrap();
    let attacker = visited(&app).await;
    attacker.text("/out").await;
    let stale = victim.steal();
    for planted in [forged(), "junk".to_owned(), good.clone(), stale.token().unwrap()] {
        for cookies in [both(&planted, &good), both(&good, &planted)] {
            store.take_calls();
            let reply = victim.stranger().get_with("/read", &[("cookie", &cookies)]).await;
            assert_eq!(reply.body, "1", "{planted}");
            assert!(reply.set_cookies().is_empty());
            assert!(
                store.take_calls().len() <= 3,
                "each token should be tried at most once before the read"
            );
        }
    }
    let reply = victim.stranger().get_with("/visit", &[("cookie", &both(&forged(), &good))]).await;
    assert_eq!(reply.body, "2", "a write should find the valid token, and apply once");
    assert_eq!(victim.text("/read").await, "2");
    let many = [&*forged(), "; __Host-id="].concat().repeat(20);
    store.take_calls();
    victim.stranger().get_with("/read", &[("cookie", &format!("__Host-id={many}{good}"))]).await;
    assert!(store.take_calls().len() <= 5, "the number of tokens that are tried should be limited");
}

#[tokio::test]
async fn a_store_failure_does_not_remove_a_valid_cookie_beside_a_planted_one() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let fault = store.clone();
    let twice = move |shop: Shop| async move {
        let mut loaded = fault.pause_after("load");
        let fail = async {
            loaded.reached().await;
            fault.fail_next(Fault::Unreachable);
            loaded.resume();
        };
        let (first, ()) = tokio::join!(async { shop.visits().await }, fail);
        assert!(matches!(first, Err(Error::Store(_))), "{first:?}");
        shop.visits().await.map(|visits| visits.to_string())
    };
    let app = routes().route("/twice", get(twice)).layer(SessionLayer::new(store));
    let victim = visited(&app).await;
    let cookies = both(&forged(), &victim.token().unwrap());
    let reply = victim.stranger().get_with("/twice", &[("cookie", &cookies)]).await;
    assert_eq!((&*reply.text(), reply.set_cookies().len()), ("1", 0));
}

// proves: CS-6
#[tokio::test]
async fn several_session_cookies_are_logged() {
    let (_, app) = app(|layer| layer);
    let client = visited(&app).await;
    let (log, guard) = Log::start();
    client.text("/read").await;
    assert!(!log.text().contains("several session cookies"));
    let cookies = both(&forged(), &client.token().unwrap());
    client.stranger().get_with("/read", &[("cookie", &cookies)]).await;
    drop(guard);
    assert!(log.text().contains("several session cookies in one request"), "{}", log.text());
}

/// A cookie that is protected by a removed key causes no store call.
// proves: ASVS-13.3.1 ASVS-7.2.1
#[tokio::test]
async fn cookie_keys_can_be_replaced_while_sessions_live() {
    let secrets = ["first secret of thirty-two bytes!", "another secret of thirty-two bytes"];
    for encrypted in [false, true] {
        let ring = KeyRing::new([secrets[0]]).unwrap();
        let options = match encrypted {
            false => CookieOptions::build().signing_keys(&ring),
            true => CookieOptions::build().encryption_keys(&ring),
        };
        let (store, app) = app(|layer| layer.with_cookie_options(options));
        let client = visited(&app).await;
        let value = client.token().unwrap();
        let id = store.inner().len();
        assert_eq!(id, 1);
        assert_eq!(value.contains('.'), !encrypted, "an encrypted cookie should hide the id");

        ring.replace([secrets[1], secrets[0]]).unwrap();
        assert_eq!(
            client.text("/visit").await,
            "2",
            "a cookie of the former key should be accepted"
        );
        let newer = visited(&app).await;
        ring.replace([secrets[1]]).unwrap();
        assert_eq!(newer.text("/visit").await, "2", "a cookie of the new key should be accepted");
        store.take_calls();
        let (log, _guard) = Log::start();
        assert_eq!(client.text("/read").await, "0", "a cookie of a removed key should be refused");
        assert_eq!(store.take_calls(), [""; 0], "a cookie of a removed key should cause no call");
        assert!(log.text().contains("unreadable session token"), "{}", log.text());

        let mut tampered = newer.token().unwrap().into_bytes();
        tampered[3] ^= 1;
        let tampered = String::from_utf8(tampered).unwrap();
        for foreign in [tampered, value.clone(), forged()] {
            let client = newer.stranger();
            client.plant("__Host-id", &foreign);
            assert_eq!(client.text("/read").await, "0");
        }
    }
}

// proves: ASVS-13.3.1
#[test]
fn a_short_key_is_refused() {
    assert_eq!(KeyRing::new([[7_u8; 31]]).err(), Some(KeyError::TooShort { bytes: 31 }));
    assert_eq!(KeyRing::new([""; 0]).err(), Some(KeyError::None));
    let ring = KeyRing::new([[7_u8; 32]]).unwrap();
    assert_eq!(ring.replace(["short"]).err(), Some(KeyError::TooShort { bytes: 5 }));
    assert_eq!(format!("{ring:?}"), "KeyRing { keys: 1 }");
}

// proves: ASVS-14.2.1 CS-4
#[tokio::test]
async fn the_token_source_decides_between_cookie_and_header() {
    for source in [TokenSource::Cookie, TokenSource::Header, TokenSource::Both] {
        let (_, app) = app(|layer| layer.token_source(source));
        let (cookie, bearer) = (new_client(app.clone()), new_client(app));
        let by_header = source != TokenSource::Cookie;
        let by_cookie = source != TokenSource::Header;
        let first = bearer.get_with("/visit", &[("authorization", "Bearer none")]).await;
        assert_eq!(first.headers.contains_key("session-token"), by_header, "{source:?}");
        assert_eq!(first.set_cookies().is_empty(), by_header, "{source:?}");
        if by_header {
            assert_eq!(first.headers[header::CACHE_CONTROL], "no-store");
            let token = first.headers["session-token"].to_str().unwrap();
            let authorization = format!("bearer {token}");
            let headers = [("authorization", &*authorization)];
            assert_eq!(bearer.get_with("/visit", &headers).await.body, "2");
            let planted = bearer.stranger();
            planted.plant("__Host-id", token);
            assert_eq!(planted.text("/read").await, if by_cookie { "2" } else { "0" });
            let out = bearer.get_with("/out", &headers).await;
            assert_eq!(
                (out.headers["session-token"].as_bytes(), out.set_cookies().len()),
                (&b""[..], 0)
            );
            assert_eq!(bearer.get_with("/read", &headers).await.body, "0");
        }
        let reply = cookie.get("/visit").await;
        assert_eq!(!reply.set_cookies().is_empty(), by_cookie, "{source:?}");
    }
}

// proves: ASVS-14.2.1
#[tokio::test]
async fn a_token_in_the_url_is_ignored() {
    let (store, app) = app(|layer| layer.token_source(TokenSource::Both));
    let client = visited(&app).await;
    let token = client.token().unwrap();
    store.take_calls();
    for path in [
        format!("/read?id={token}"),
        format!("/read?session={token}&__Host-id={token}"),
        format!("/read?authorization=Bearer+{token}"),
    ] {
        assert_eq!(client.stranger().text(&path).await, "0");
    }
    assert_eq!(store.take_calls(), [""; 0]);
}

// proves: ASVS-14.3.1
#[tokio::test]
async fn a_deletion_sends_clear_site_data() {
    let all = [ClearSiteData::Cache, ClearSiteData::Cookies, ClearSiteData::Storage];
    let (_, app) = app(|layer| layer.clear_site_data(&all));
    let client = visited(&app).await;
    assert!(!client.get("/visit").await.headers.contains_key("clear-site-data"));
    let out = client.get("/out").await;
    assert_eq!(out.headers["clear-site-data"], r#""cache", "cookies", "storage""#);
    assert_eq!(out.set_cookies().len(), 1);
    // A write after the deletion creates a new session, whose cookie must stay.
    let client = visited(&app).await;
    let out = client.get("/out-and-on").await;
    assert_eq!(out.headers["clear-site-data"], r#""cache", "storage""#);
    assert!(client.token().is_some());
    let (_, app) = self::app(|layer| layer);
    let client = visited(&app).await;
    assert!(!client.get("/out").await.headers.contains_key("clear-site-data"));
}

/// The header is a list. The handler and each layer add to it.
#[tokio::test]
async fn clear_site_data_is_added_to_other_directives() {
    struct Staff;
    impl LayerName for Staff {
        const NAME: &str = "staff";
    }
    #[session(layer = Staff)]
    struct Desk {
        note: u8,
    }
    #[session]
    struct Shop {
        cart: u8,
    }
    let store = Arc::new(MemoryStore::new());
    let begin = |shop: Shop, desk: Desk| async move {
        shop.set_cart(&1).await?;
        desk.set_note(&1).await
    };
    let end = |shop: Shop, desk: Desk| async move {
        shop.session().delete().await?;
        desk.session().delete().await?;
        Ok::<_, Error>([("clear-site-data", "\"executionContexts\"")])
    };
    let app = Router::new()
        .route("/in", get(begin))
        .route("/out", get(end))
        .layer(
            SessionLayer::new(&store).named::<Staff>().clear_site_data(&[ClearSiteData::Storage]),
        )
        .layer(SessionLayer::new(&store).clear_site_data(&[ClearSiteData::Cache]));
    let client = new_client(app);
    client.text("/in").await;
    let reply = client.get("/out").await;
    let cleared: Vec<_> = reply.headers.get_all("clear-site-data").iter().collect();
    assert_eq!(cleared, ["\"executionContexts\"", "\"storage\"", "\"cache\""]);
}

/// Removing an invalid cookie could remove the cookie of a newer sign-in. An invalid cookie does no
/// harm, so it stays.
// proves: CS-12
#[tokio::test]
async fn a_cookie_that_opens_nothing_stays_until_a_write_replaces_it() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let client = new_client(routes().layer(SessionLayer::new(store)));
    client.text("/visit").await;
    clock.advance(Duration::from_secs(8 * 24 * 3600));
    let reply = client.get("/read").await;
    assert_eq!((&*reply.text(), reply.set_cookies().len()), ("0", 0));
    client.plant("__Host-id", &forged());
    client.text("/visit").await;
    assert_ne!(client.token(), Some(forged()), "a write should create a new session");
    assert_eq!(client.text("/read").await, "1");
}

// proves: CS-14
#[tokio::test]
async fn unknown_tokens_are_logged() {
    let (_, app) = app(|layer| layer);
    let (log, guard) = Log::start();
    for guess in 0..20_u8 {
        let client = new_client(app.clone());
        let letter = char::from(b'A' + guess);
        client.plant("__Host-id", &forged().replacen('A', &letter.to_string(), 1));
        assert_eq!(client.get("/read").await.status, StatusCode::OK);
    }
    drop(guard);
    assert_eq!(log.text().matches("unknown session token").count(), 20);
}
