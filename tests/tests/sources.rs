//! Where a token comes from and where it goes: planted cookies, keys that change, headers instead of
//! cookies, and what a client is told when its session is over.

use std::time::Duration;

use axum::{
    Router,
    extract::Query,
    http::{StatusCode, header},
    routing::get,
};
use ruts::{
    ClearSiteData, CookieOptions, Error, KeyError, KeyRing, Session, SessionLayer, TokenSource,
    session,
    store::memory::{ManualClock, MemoryStore},
};
use ruts_tests::{Browser, Fault, Log, Probe};

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
        .route(
            "/slow",
            get(|shop: Shop| async move {
                let visits = shop.visits().await?;
                tokio::time::sleep(Duration::from_secs(6)).await;
                Ok::<_, Error>(visits.to_string())
            }),
        )
}

fn app(layer: impl FnOnce(SessionLayer) -> SessionLayer) -> (Probe<MemoryStore>, Router) {
    let store = Probe::new(MemoryStore::new());
    (store.clone(), routes().layer(layer(SessionLayer::new(store))))
}

async fn visited(app: &Router) -> Browser {
    let browser = Browser::new(app.clone());
    assert_eq!(browser.text("/visit").await, "1");
    browser
}

/// Two cookies of the session's name, as a sibling domain can have them sent.
fn both(first: &str, second: &str) -> String {
    format!("__Host-id={first}; other=1; __Host-id={second}")
}

/// A token of the right shape that opens nothing.
fn forged() -> String {
    format!("{}.{}", "A".repeat(22), "A".repeat(43))
}

// proves: CS-6 ASVS-7.2.1
#[tokio::test]
async fn a_planted_cookie_does_not_take_the_place_of_a_good_one() {
    let (store, app) = app(|layer| layer);
    let victim = visited(&app).await;
    let good = victim.token().unwrap();
    let attacker = visited(&app).await;
    attacker.text("/out").await;
    let stale = victim.steal();
    for planted in [forged(), "junk".to_owned(), good.clone(), stale.token().unwrap()] {
        for cookies in [both(&planted, &good), both(&good, &planted)] {
            store.calls();
            let page = victim.stranger().get_with("/read", &[("cookie", &cookies)]).await;
            assert_eq!(page.body, "1", "{planted}");
            assert!(page.set_cookies().is_empty());
            assert!(store.calls().len() <= 2, "each is tried once");
        }
    }
    let page = victim.stranger().get_with("/visit", &[("cookie", &both(&forged(), &good))]).await;
    assert_eq!(page.body, "2", "a write finds the good one too, and counts once");
    assert_eq!(victim.text("/read").await, "2");
    let many = [&*forged(), "; __Host-id="].concat().repeat(20);
    store.calls();
    victim.stranger().get_with("/read", &[("cookie", &format!("__Host-id={many}{good}"))]).await;
    assert!(store.calls().len() <= 2, "however many there are");
}

/// A good cookie beside a planted one is not forgotten because the store failed once.
#[tokio::test]
async fn a_fault_takes_no_good_cookie_away() {
    let probe = Probe::new(MemoryStore::new());
    let fault = probe.clone();
    let twice = move |shop: Shop| async move {
        let mut asked = fault.pause_after("load");
        let fail = async {
            asked.reached().await;
            fault.fail_next(Fault::Unreachable);
            asked.go_on();
        };
        let (first, ()) = tokio::join!(async { shop.visits().await }, fail);
        assert!(matches!(first, Err(Error::Store(_))), "{first:?}");
        shop.visits().await.map(|visits| visits.to_string())
    };
    let app = routes().route("/twice", get(twice)).layer(SessionLayer::new(probe));
    let victim = visited(&app).await;
    let cookies = both(&forged(), &victim.token().unwrap());
    let page = victim.stranger().get_with("/twice", &[("cookie", &cookies)]).await;
    assert_eq!((page.body.as_str(), page.set_cookies().len()), ("1", 0));
}

// proves: CS-6
#[tokio::test]
async fn several_cookies_are_reported() {
    let (_, app) = app(|layer| layer);
    let browser = visited(&app).await;
    let (log, guard) = Log::start();
    browser.text("/read").await;
    assert!(!log.text().contains("several session cookies"));
    let cookies = both(&forged(), &browser.token().unwrap());
    browser.stranger().get_with("/read", &[("cookie", &cookies)]).await;
    drop(guard);
    assert!(log.text().contains("several session cookies in one request"), "{}", log.text());
}

/// Sessions live on while keys change; what no key of the ring has made is not looked up.
// proves: ASVS-13.3.1 ASVS-7.2.1
#[tokio::test]
async fn keys_can_be_changed_while_the_layer_is_at_work() {
    let secrets = ["first secret of thirty-two bytes!", "another secret of thirty-two bytes"];
    for encrypted in [false, true] {
        let ring = KeyRing::new([secrets[0]]).unwrap();
        let options = match encrypted {
            false => CookieOptions::build().signing_keys(&ring),
            true => CookieOptions::build().encryption_keys(&ring),
        };
        let (store, app) = app(|layer| layer.with_cookie_options(options));
        let browser = visited(&app).await;
        let value = browser.token().unwrap();
        let id = store.inner().len();
        assert_eq!(id, 1);
        assert_eq!(value.contains('.'), !encrypted, "an encrypted cookie shows no handle");

        ring.replace([secrets[1], secrets[0]]).unwrap();
        assert_eq!(browser.text("/visit").await, "2", "a cookie of the former key");
        let newer = visited(&app).await;
        ring.replace([secrets[1]]).unwrap();
        assert_eq!(newer.text("/visit").await, "2", "a cookie of the new key");
        store.calls();
        assert_eq!(browser.text("/read").await, "0", "its key is gone");
        assert_eq!(store.calls(), [""; 0], "the store is not even asked");

        let mut tampered = newer.token().unwrap().into_bytes();
        tampered[3] ^= 1;
        let tampered = String::from_utf8(tampered).unwrap();
        for foreign in [tampered, value.clone(), forged()] {
            let browser = newer.stranger();
            browser.plant("__Host-id", &foreign);
            assert_eq!(browser.text("/read").await, "0");
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
async fn a_token_comes_in_the_header_only_if_that_was_asked_for() {
    for source in [TokenSource::Cookie, TokenSource::Header, TokenSource::Both] {
        let (_, app) = app(|layer| layer.token_source(source));
        let (cookie, bearer) = (Browser::new(app.clone()), Browser::new(app));
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
            bearer.plant("__Host-id", token);
            assert_eq!(bearer.text("/read").await, if by_cookie { "2" } else { "0" });
            let out = bearer.get_with("/out", &headers).await;
            assert_eq!(
                (out.headers["session-token"].as_bytes(), out.set_cookies().len()),
                (&b""[..], 0)
            );
            assert_eq!(bearer.get_with("/read", &headers).await.body, "0");
        }
        let page = cookie.get("/visit").await;
        assert_eq!(!page.set_cookies().is_empty(), by_cookie, "{source:?}");
    }
}

// proves: ASVS-14.2.1
#[tokio::test]
async fn a_token_in_the_address_is_ignored() {
    let (store, app) = app(|layer| layer.token_source(TokenSource::Both));
    let browser = visited(&app).await;
    let token = browser.token().unwrap();
    store.calls();
    for path in [
        format!("/read?id={token}"),
        format!("/read?session={token}&__Host-id={token}"),
        format!("/read?authorization=Bearer+{token}"),
    ] {
        assert_eq!(browser.stranger().text(&path).await, "0");
    }
    assert_eq!(store.calls(), [""; 0]);
}

// proves: ASVS-14.3.1
#[tokio::test]
async fn the_browser_is_told_to_clear_the_site() {
    let all = [ClearSiteData::Cache, ClearSiteData::Cookies, ClearSiteData::Storage];
    let (_, app) = app(|layer| layer.clear_site_data(&all));
    let browser = visited(&app).await;
    assert!(!browser.get("/visit").await.headers.contains_key("clear-site-data"));
    let out = browser.get("/out").await;
    assert_eq!(out.headers["clear-site-data"], r#""cache", "cookies", "storage""#);
    assert_eq!(out.set_cookies().len(), 1);
    // A message for the next page begins another session, whose cookie stays.
    let browser = visited(&app).await;
    let out = browser.get("/out-and-on").await;
    assert_eq!(out.headers["clear-site-data"], r#""cache", "storage""#);
    assert!(browser.token().is_some());
    let (_, app) = self::app(|layer| layer);
    let browser = visited(&app).await;
    assert!(!browser.get("/out").await.headers.contains_key("clear-site-data"));
}

// proves: CS-12 NIST-5.1-e
#[tokio::test]
async fn a_cookie_that_opens_nothing_is_taken_away() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let browser = Browser::new(routes().layer(SessionLayer::new(store)));
    browser.text("/visit").await;
    clock.advance(Duration::from_secs(8 * 24 * 3600));
    let page = browser.get("/read").await;
    assert_eq!((page.body.as_str(), page.set_cookies().len()), ("0", 1));
    assert_eq!(browser.token(), None);
    browser.plant("__Host-id", &forged());
    browser.text("/visit").await;
    assert_ne!(browser.token(), Some(forged()), "a write starts anew instead");
    assert_eq!(browser.text("/read").await, "1");
}

/// Meanwhile somebody may have signed in, and the browser has another cookie of that name.
#[tokio::test(start_paused = true)]
async fn a_slow_response_takes_no_cookie_away() {
    let (_, app) = app(|layer| layer);
    let browser = Browser::new(app);
    browser.plant("__Host-id", &forged());
    assert!(browser.get("/slow").await.set_cookies().is_empty());
    assert_eq!(browser.get("/read").await.set_cookies().len(), 1);
}

// proves: CS-14
#[tokio::test]
async fn guesses_are_logged() {
    let (_, app) = app(|layer| layer);
    let (log, guard) = Log::start();
    for guess in 0..20_u8 {
        let browser = Browser::new(app.clone());
        let letter = char::from(b'A' + guess);
        browser.plant("__Host-id", &forged().replacen('A', &letter.to_string(), 1));
        assert_eq!(browser.get("/read").await.status, StatusCode::OK);
    }
    drop(guard);
    assert_eq!(log.text().matches("unknown session token").count(), 20);
}
