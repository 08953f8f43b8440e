//! Tests of the session cookie in requests and responses, and of the layer among other layers.

use axum::{
    Router,
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use cookie::{Cookie, SameSite};
use ruts::{
    CookieOptions, Error, Key, Session, SessionLayer, session,
    session::LayerName,
    store::memory::MemoryStore,
    testing::{Client, Reply},
};
use ruts_tests_support::{ClientExt, Log, new_client, new_client_on};
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

/// Returns the `Set-Cookie` headers as they were sent.
fn set_cookie_headers(reply: &Reply) -> Vec<&str> {
    let headers = reply.headers.get_all(header::SET_COOKIE).iter();
    headers.map(|header| header.to_str().unwrap()).collect()
}

fn layer() -> SessionLayer {
    SessionLayer::new(MemoryStore::new())
}

// proves: ASVS-7.6.2
#[tokio::test]
async fn the_cookie_is_set_once_and_only_by_a_write() {
    let client = new_client(routes().layer(layer()));
    assert!(client.get("/read").await.set_cookies().is_empty());
    let reply = client.get("/").await;
    let [set] = &*set_cookie_headers(&reply) else { panic!("{reply:?}") };
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Secure; Path=/");
    assert!(pair.starts_with("__Host-id=") && pair.len() == 76);
    for path in ["/", "/read"] {
        let reply = client.get(path).await;
        assert!(
            reply.set_cookies().is_empty(),
            "the response should not set a cookie that is current"
        );
        assert_eq!(reply.headers.get(header::CACHE_CONTROL), None);
    }
    assert_eq!(client.text("/").await, "3");
}

// proves: ASVS-14.3.2
#[tokio::test]
async fn no_cache_may_store_a_response_with_a_cookie() {
    let client = new_client(routes().layer(layer()));
    let reply = client.get("/cached").await;
    assert_eq!(reply.set_cookies().len(), 1);
    assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(client.get("/cached").await.headers[header::CACHE_CONTROL], "public, max-age=3600");
}

#[tokio::test]
async fn an_error_response_carries_the_cookie_of_an_earlier_write() {
    let client = new_client(routes().layer(layer()));
    let reply = client.get("/fails").await;
    assert_eq!(reply.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(client.text("/").await, "2", "the write should not be lost");
}

#[tokio::test]
async fn the_layer_works_with_tower_cookies_in_either_order() {
    let inside = routes().layer(layer()).layer(CookieManagerLayer::new());
    let outside = routes().layer(CookieManagerLayer::new()).layer(layer());
    for app in [inside, outside] {
        let client = new_client(app);
        let reply = client.get("/unrelated").await;
        assert_eq!(reply.set_cookies().len(), 2, "{reply:?}");
        assert_eq!(client.text("/unrelated").await, "2");
        assert!(client.cookie("unrelated").is_some());
        client.text("/out").await;
        assert_eq!((client.token(), client.cookie("unrelated")), (None, Some("1".to_owned())));
        assert_eq!(client.text("/unrelated").await, "1");
    }
}

#[tokio::test]
async fn other_middleware_works_inside_the_layer_and_fails_outside() {
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
    let client = new_client(app);
    client.text("/").await;
    assert_eq!(client.get("/").await.headers["x-visits"], "Some(1)");

    // Outside the layer, there is no session yet. The read returns an error instead of losing the
    // cookie.
    let client = new_client(routes().layer(layer()).layer(from_fn(seen)));
    assert_eq!(client.get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_missing_layer_is_an_error() {
    let (log, _guard) = Log::start();
    let client = new_client(routes());
    let reply = client.get("/").await;
    assert_eq!((reply.status, &*reply.text()), (StatusCode::INTERNAL_SERVER_ERROR, ""));
    assert!(log.text().contains("no `SessionLayer` wraps this handler"), "{}", log.text());
}

#[tokio::test]
async fn a_handler_that_names_another_store_type_gets_an_error() {
    let (log, _guard) = Log::start();
    let app = Router::new()
        .route("/right", get(|_: Session<MemoryStore>| async {}))
        .route("/any", get(|_: Session| async {}))
        .route("/wrong", get(|_: Session<String>| async {}))
        .layer(layer());
    let client = new_client(app);
    client.text("/right").await;
    client.text("/any").await;
    assert_eq!(client.get("/wrong").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let text = log.text();
    assert!(text.contains("alloc::string::String") && text.contains("MemoryStore"), "{text}");
}

struct Staff;

impl LayerName for Staff {
    const NAME: &str = "staff";
}

#[session(layer = Staff)]
struct Desk {
    #[field(default)]
    calls: u64,
}

#[tokio::test]
async fn two_named_layers_keep_two_sessions() {
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
    let client = new_client(app);
    assert_eq!(client.text("/call").await, "1");
    assert_eq!(client.token(), None);
    assert_eq!(client.text("/").await, "1");
    assert_eq!(client.text("/call").await, "2");
    client.text("/leave").await;
    assert_eq!(client.cookie("__Host-id-staff"), None);
    assert_eq!(client.text("/").await, "2");

    let client = new_client(Router::new().route("/", get(|_: Desk| async {})).layer(layer()));
    assert_eq!(client.get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn two_layers_with_one_cookie_name_are_told() {
    for (names, is_told) in [(["__Host-a", "__Host-a"], true), (["__Host-a", "__Host-a-2"], false)]
    {
        let (log, _guard) = Log::start();
        let [first, second] =
            names.map(|name| layer().with_cookie_options(CookieOptions::build().name(name)));
        let both = |shop: Shop, desk: Desk| async move {
            shop.set_visits(&1).await?;
            desk.set_calls(&1).await
        };
        let app = Router::new().route("/", get(both)).layer(first).layer(second.named::<Staff>());
        Client::new(app).get("/").await;
        assert_eq!(log.text().contains("sets two cookies of one name"), is_told, "{}", log.text());
    }
}

// proves: ASVS-3.3.2 NIST-5.1.3 NIST-5.1.1-6
#[tokio::test]
async fn the_options_apply_to_the_cookie_and_to_its_removal() {
    let options = CookieOptions::build()
        .name("shop")
        .same_site(SameSite::Strict)
        .path("/")
        .domain("shop.example")
        .max_age(3600);
    let client = new_client(routes().layer(layer().with_cookie_options(options)));
    let reply = client.get("/").await;
    let [set] = &*set_cookie_headers(&reply) else { panic!("{reply:?}") };
    assert!(set.starts_with("__Secure-shop="), "{set}");
    assert!(set.ends_with(
        "; HttpOnly; SameSite=Strict; Secure; Path=/; Domain=shop.example; Max-Age=3600"
    ));
    let reply = client.get("/out").await;
    let [removal] = &*set_cookie_headers(&reply) else { panic!("{reply:?}") };
    for attribute in ["Path=/", "Domain=shop.example", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(
            removal.contains(attribute),
            "the removal should have the attribute {attribute}: {removal}"
        );
    }
    assert_eq!(client.cookie("__Secure-shop"), None);
}

// proves: ASVS-3.3.1 ASVS-3.3.3 ASVS-3.3.4
#[test]
#[should_panic(expected = "always Secure")]
fn unsafe_options_are_refused() {
    let _ = layer().with_cookie_options(CookieOptions::build().secure(false));
}

// proves: NIST-5.1-f NIST-5.1.4
#[tokio::test]
async fn development_mode_serves_only_clients_on_loopback_names() {
    let (log, _guard) = Log::start();
    let app = routes().layer(layer().development());
    let local = new_client_on("localhost:3000", app.clone());
    local.text("/").await;
    assert_eq!(local.text("/").await, "2");
    assert!(local.cookie("dev-id").is_some());
    local.text("/out").await;
    assert_eq!(local.cookie("dev-id"), None);
    local.text("/").await;
    let remote = new_client(app);
    remote.plant("dev-id", &local.cookie("dev-id").unwrap());
    assert_eq!(remote.text("/read").await, "0", "a cookie on another host should be ignored");
    let reply = remote.get("/").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(reply.set_cookies().is_empty());
    assert!(log.text().contains("only direct requests for a loopback name"));
}

// proves: ASVS-9.1.1
#[tokio::test]
async fn a_token_opens_no_session_of_another_layer() {
    let store = MemoryStore::new();
    let app = routes()
        .route("/calls", get(|desk: Desk| async move { desk.calls().await.map(|n| n.to_string()) }))
        .route(
            "/set",
            get(|session: Session| async move { session.set("calls", &9_u64, None, None).await }),
        )
        .layer(SessionLayer::new(store.clone()))
        .layer(SessionLayer::new(store).named::<Staff>());
    let client = new_client(app);
    client.text("/set").await;
    client.plant("__Host-id-staff", &client.token().unwrap());
    assert_eq!(client.text("/calls").await, "0", "the token should be valid only in its own layer");
}

// proves: ASVS-7.2.1 ASVS-9.1.1
#[tokio::test]
async fn an_unsigned_cookie_opens_no_session() {
    let signed =
        |key: &Key| layer().with_cookie_options(CookieOptions::build().signing_key(key.clone()));
    let key = Key::generate();
    let store_and_key = signed(&key);
    let client = new_client(routes().layer(store_and_key));
    client.text("/").await;
    assert_eq!(client.text("/").await, "2");
    let value = client.token().unwrap();
    assert_eq!(value.len(), 44 + 66);
    let other = if value.as_bytes()[80] == b'A' { "B" } else { "A" };
    let altered = format!("{}{other}{}", &value[..80], &value[81..]);
    for forged in [value[44..].to_owned(), value.replace('.', "-"), altered] {
        client.plant("__Host-id", &forged);
        assert_eq!(client.text("/read").await, "0");
    }
    client.plant("__Host-id", &value);
    assert_eq!(client.text("/").await, "3");
}

// proves: ASVS-14.2.1 CS-4
#[tokio::test]
async fn a_token_in_the_url_or_a_header_is_ignored() {
    let client = new_client(routes().layer(layer()));
    client.text("/").await;
    let token = client.token().unwrap();
    let stranger = client.stranger();
    let reply = stranger.get(&format!("/read?id={token}&__Host-id={token}&session={token}")).await;
    assert_eq!(reply.body, "0");
    // Names are compared byte by byte. A cookie without a name is ignored.
    for name in ["__host-id", "__HOST-ID", "id", "", "__Host-id2", "X__Host-id"] {
        let stranger = client.stranger();
        stranger.plant(name, &token);
        assert_eq!(stranger.text("/read").await, "0", "`{name}`");
    }
}
