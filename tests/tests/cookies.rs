//! The cookie on its way in and out, the layer in its surroundings, over HTTP.

use axum::{
    Router,
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use cookie::{Cookie, SameSite};
use ruts::{
    CookieOptions, Error, Key, Session, SessionLayer, SessionName, session,
    store::memory::MemoryStore,
};
use ruts_tests::{Browser, Log};
use tower_cookies::{CookieManagerLayer, Cookies};

#[session]
struct Shop {
    #[field(default)]
    visits: u64,
}

async fn visit(shop: Shop) -> Result<String, Error> {
    let visits = shop.visits().update(|visits| {
        *visits += 1;
        *visits
    });
    Ok(visits.await?.to_string())
}

fn routes() -> Router {
    Router::new()
        .route("/", get(visit))
        .route("/read", get(|shop: Shop| async move { shop.visits().await.map(|n| n.to_string()) }))
        .route("/out", get(|shop: Shop| async move { shop.session().delete().await }))
        .route(
            "/cached",
            get(|shop: Shop| async move {
                visit(shop)
                    .await
                    .map(|body| ([(header::CACHE_CONTROL, "public, max-age=3600")], body))
            }),
        )
        .route(
            "/fails",
            get(|shop: Shop| async move {
                visit(shop).await?;
                Ok::<_, Error>(StatusCode::IM_A_TEAPOT)
            }),
        )
        .route(
            "/unrelated",
            get(|cookies: Cookies, shop: Shop| async move {
                cookies.add(Cookie::new("unrelated", "1"));
                visit(shop).await
            }),
        )
}

fn layer() -> SessionLayer {
    SessionLayer::new(MemoryStore::new())
}

// proves: ASVS-7.6.2
#[tokio::test]
async fn the_cookie_is_set_once_and_only_when_there_is_something_to_keep() {
    let browser = Browser::new(routes().layer(layer()));
    assert!(browser.get("/read").await.set_cookies().is_empty());
    let page = browser.get("/").await;
    let [set] = page.set_cookies()[..] else { panic!("{page:?}") };
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Secure; Path=/");
    assert!(pair.starts_with("__Host-id=") && pair.len() == 76);
    for path in ["/", "/read"] {
        let page = browser.get(path).await;
        assert!(page.set_cookies().is_empty(), "the client is up to date");
        assert_eq!(page.headers.get(header::CACHE_CONTROL), None);
    }
    assert_eq!(browser.text("/").await, "3");
}

// proves: ASVS-14.3.2
#[tokio::test]
async fn no_cache_may_keep_a_response_with_a_cookie() {
    let browser = Browser::new(routes().layer(layer()));
    let page = browser.get("/cached").await;
    assert_eq!(page.set_cookies().len(), 1);
    assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(browser.get("/cached").await.headers[header::CACHE_CONTROL], "public, max-age=3600");
}

#[tokio::test]
async fn a_response_that_reports_an_error_still_carries_the_cookie() {
    let browser = Browser::new(routes().layer(layer()));
    let page = browser.get("/fails").await;
    assert_eq!(page.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(browser.text("/").await, "2", "what was written is not lost");
}

#[tokio::test]
async fn it_works_with_tower_cookies_in_either_order_and_without() {
    let inside = routes().layer(layer()).layer(CookieManagerLayer::new());
    let outside = routes().layer(CookieManagerLayer::new()).layer(layer());
    for app in [inside, outside] {
        let browser = Browser::new(app);
        let page = browser.get("/unrelated").await;
        assert_eq!(page.set_cookies().len(), 2, "{page:?}");
        assert_eq!(browser.text("/unrelated").await, "2");
        assert!(browser.cookie("unrelated").is_some());
        browser.text("/out").await;
        assert_eq!((browser.token(), browser.cookie("unrelated")), (None, Some("1".to_owned())));
        assert_eq!(browser.text("/unrelated").await, "1");
    }
}

#[tokio::test]
async fn it_works_inside_and_outside_of_other_middleware() {
    async fn seen(session: Session, request: axum::extract::Request, next: Next) -> Response {
        match session.get::<u64>("visits").await {
            Ok(visits) => {
                let response = next.run(request).await;
                ([("x-visits", format!("{visits:?}"))], response).into_response()
            }
            Err(error) => error.into_response(),
        }
    }
    let app = routes().layer(from_fn(seen)).layer(layer());
    let browser = Browser::new(app);
    browser.text("/").await;
    assert_eq!(browser.get("/").await.headers["x-visits"], "Some(1)");

    // The other way round there is no session yet, and that is an error, not a lost cookie.
    let browser = Browser::new(routes().layer(layer()).layer(from_fn(seen)));
    assert_eq!(browser.get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_missing_layer_is_an_error_that_says_so() {
    let (log, _guard) = Log::start();
    let browser = Browser::new(routes());
    let page = browser.get("/").await;
    assert_eq!((page.status, page.body.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, ""));
    assert!(log.text().contains("no `SessionLayer` for"), "{}", log.text());
}

#[tokio::test]
async fn a_handler_that_names_another_store_is_refused() {
    let (log, _guard) = Log::start();
    let app = Router::new()
        .route("/right", get(|_: Session<MemoryStore>| async {}))
        .route("/any", get(|_: Session| async {}))
        .route("/wrong", get(|_: Session<String>| async {}))
        .layer(layer());
    let browser = Browser::new(app);
    browser.text("/right").await;
    browser.text("/any").await;
    assert_eq!(browser.get("/wrong").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let text = log.text();
    assert!(text.contains("alloc::string::String") && text.contains("MemoryStore"), "{text}");
}

struct Staff;

impl SessionName for Staff {
    const NAME: &str = "staff";
}

#[session(layer = Staff)]
struct Desk {
    #[field(default)]
    calls: u64,
}

#[tokio::test]
async fn two_sessions_live_side_by_side() {
    let app = routes()
        .route(
            "/call",
            get(|desk: Desk| async move {
                desk.calls()
                    .update(|calls| {
                        *calls += 1;
                        *calls
                    })
                    .await
                    .map(|calls| calls.to_string())
            }),
        )
        .route("/leave", get(|desk: Desk| async move { desk.session().delete().await }))
        .layer(layer())
        .layer(layer().named::<Staff>());
    let browser = Browser::new(app);
    assert_eq!(browser.text("/call").await, "1");
    assert_eq!(browser.token(), None);
    assert_eq!(browser.text("/").await, "1");
    assert_eq!(browser.text("/call").await, "2");
    browser.text("/leave").await;
    assert_eq!(browser.cookie("__Host-id-staff"), None);
    assert_eq!(browser.text("/").await, "2");

    let browser = Browser::new(Router::new().route("/", get(|_: Desk| async {})).layer(layer()));
    assert_eq!(browser.get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

// proves: ASVS-3.3.2 NIST-5.1.3 NIST-5.1.1-6
#[tokio::test]
async fn options_shape_the_cookie_and_its_removal() {
    let options = CookieOptions::build()
        .name("shop")
        .same_site(SameSite::Strict)
        .path("/")
        .domain("shop.example")
        .max_age(3600);
    let browser = Browser::new(routes().layer(layer().with_cookie_options(options)));
    let page = browser.get("/").await;
    assert!(page.set_cookies()[0].starts_with("__Secure-shop="), "{page:?}");
    assert!(page.set_cookies()[0].ends_with(
        "; HttpOnly; SameSite=Strict; Secure; Path=/; Domain=shop.example; Max-Age=3600"
    ));
    let page = browser.get("/out").await;
    for attribute in ["Path=/", "Domain=shop.example", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(page.set_cookies()[0].contains(attribute), "the browser would keep the cookie");
    }
    assert_eq!(browser.cookie("__Secure-shop"), None);
}

// proves: ASVS-3.3.1 ASVS-3.3.3 ASVS-3.3.4
#[test]
#[should_panic(expected = "always Secure")]
fn unsafe_options_do_not_build() {
    let _ = layer().with_cookie_options(CookieOptions::build().secure(false));
}

// proves: NIST-5.1-f NIST-5.1.4
#[tokio::test]
async fn development_mode_serves_loopback_names_and_nobody_else() {
    let (log, _guard) = Log::start();
    let app = routes().layer(layer().development());
    let local = Browser::new(app.clone()).on_host("localhost:3000");
    local.text("/").await;
    assert_eq!(local.text("/").await, "2");
    assert!(local.cookie("dev-id").is_some());
    local.text("/out").await;
    assert_eq!(local.cookie("dev-id"), None);
    local.text("/").await;
    let remote = Browser::new(app);
    remote.plant("dev-id", &local.cookie("dev-id").unwrap());
    assert_eq!(remote.text("/read").await, "0", "a cookie that came along is ignored");
    let page = remote.get("/").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(page.set_cookies().is_empty());
    assert!(log.text().contains("sessions are for clients on a loopback name only"));
}

// proves: ASVS-9.1.1
#[tokio::test]
async fn the_token_of_one_session_opens_nothing_in_another_of_the_same_store() {
    let store = MemoryStore::new();
    let app = routes()
        .route("/calls", get(|desk: Desk| async move { desk.calls().await.map(|n| n.to_string()) }))
        .route(
            "/set",
            get(|session: Session| async move { session.set("calls", &9_u64, None, None).await }),
        )
        .layer(SessionLayer::new(store.clone()))
        .layer(SessionLayer::new(store).named::<Staff>());
    let browser = Browser::new(app);
    browser.text("/set").await;
    browser.plant("__Host-id-staff", &browser.token().unwrap());
    assert_eq!(browser.text("/calls").await, "0", "a customer is no staff");
}

// proves: ASVS-7.2.1 ASVS-9.1.1
#[tokio::test]
async fn only_signed_cookies_are_looked_up() {
    let signed =
        |key: &Key| layer().with_cookie_options(CookieOptions::build().signing_key(key.clone()));
    let key = Key::generate();
    let store_and_key = signed(&key);
    let browser = Browser::new(routes().layer(store_and_key));
    browser.text("/").await;
    assert_eq!(browser.text("/").await, "2");
    let value = browser.token().unwrap();
    assert_eq!(value.len(), 44 + 66);
    let other = if value.as_bytes()[80] == b'A' { "B" } else { "A" };
    let altered = format!("{}{other}{}", &value[..80], &value[81..]);
    for forged in [value[44..].to_owned(), value.replace('.', "-"), altered] {
        browser.plant("__Host-id", &forged);
        assert_eq!(browser.text("/read").await, "0");
    }
    browser.plant("__Host-id", &value);
    assert_eq!(browser.text("/").await, "3");
}

// proves: ASVS-14.2.1 CS-4
#[tokio::test]
async fn a_token_in_the_url_or_a_header_is_ignored() {
    let browser = Browser::new(routes().layer(layer()));
    browser.text("/").await;
    let token = browser.token().unwrap();
    let stranger = browser.stranger();
    let page = stranger.get(&format!("/read?id={token}&__Host-id={token}&session={token}")).await;
    assert_eq!(page.body, "0");
    // Names are compared letter by letter, and a cookie without a name is none.
    for name in ["__host-id", "__HOST-ID", "id", "", "__Host-id2", "X__Host-id"] {
        let stranger = browser.stranger();
        stranger.plant(name, &token);
        assert_eq!(stranger.text("/read").await, "0", "`{name}`");
    }
}
