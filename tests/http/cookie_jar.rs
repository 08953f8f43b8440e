//! Tests of the feature `tower-cookies`: the session layer uses the cookie jar of a
//! `CookieManagerLayer` that wraps it.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use cookie::Cookie;
use ruts::{
    CookieOptions, Error, Key, SessionLayer, session,
    store::memory::MemoryStore,
    testing::{Client, Reply},
};
use ruts_tests_support::{ClientExt, new_client};
use tower_cookies::{CookieManagerLayer, Cookies};

const NAME: &str = "__Host-id";

#[session]
struct Shop {
    #[field(default)]
    visits: u64,
}

async fn visit(shop: Shop) -> Result<String, Error> {
    let visit = shop.visits().update(|visits| {
        *visits += 1;
        *visits
    });
    Ok(visit.await?.to_string())
}

/// A layer between the jar and the session. Headers of the request change the session's cookie in
/// the jar. The response reports the cookie that the jar holds at the end.
async fn between(cookies: Cookies, request: Request<Body>, next: Next) -> Response {
    if request.headers().contains_key("x-remove") {
        cookies.remove(Cookie::new(NAME, ""));
    }
    if let Some(token) = request.headers().get("x-token") {
        cookies.add(Cookie::new(NAME, token.to_str().unwrap().to_owned()));
    }
    let response = next.run(request).await;
    let held = cookies.get(NAME).map_or("none".to_owned(), |held| held.value().to_owned());
    ([("x-jar", held)], response).into_response()
}

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/", get(visit))
        .route("/read", get(|shop: Shop| async move { shop.visits().await.map(|n| n.to_string()) }))
        .route("/out", get(|shop: Shop| async move { shop.session().delete().await }))
        .route("/cookies", get(|cookies: Cookies| async move { cookies.list().len().to_string() }))
        .layer(layer)
        .layer(from_fn(between))
        .layer(CookieManagerLayer::new())
}

fn client() -> Client {
    new_client(app(SessionLayer::new(MemoryStore::new())))
}

fn jar(reply: &Reply) -> &str {
    reply.headers["x-jar"].to_str().unwrap()
}

#[tokio::test]
async fn the_jar_holds_the_cookie_and_sends_it_once() {
    let client = client();
    assert_eq!(jar(&client.get("/read").await), "none");
    let reply = client.get("/").await;
    let [set] = &*reply.set_cookies() else { panic!("{reply:?}") };
    assert_eq!((set.name(), set.value()), (NAME, jar(&reply)));
    assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(client.text("/cookies").await, "1", "the handler should see one cookie in the jar");
    let reply = client.get("/").await;
    assert_eq!((&*reply.text(), reply.set_cookies().len()), ("2", 0));

    let reply = client.get("/out").await;
    let [removal] = &*reply.set_cookies() else { panic!("{reply:?}") };
    assert_eq!(removal.max_age(), Some(cookie::time::Duration::ZERO));
    assert_eq!((removal.path(), removal.secure()), (Some("/"), Some(true)));
    assert_eq!((jar(&reply), client.token()), ("none", None));
    assert_eq!(client.text("/").await, "1");
}

#[tokio::test]
async fn a_layer_outside_replaces_and_removes_the_cookie() {
    // Some cookies here are not set by the session layer, so the attributes are not checked.
    let client = Client::new(app(SessionLayer::new(MemoryStore::new())));
    client.text("/").await;
    let token = client.token().unwrap();
    assert_eq!(client.get_with("/read", &[("x-remove", "1")]).await.text(), "0");
    let other = client.stranger();
    assert_eq!(other.get_with("/", &[("x-token", &token)]).await.text(), "2");
    other.text("/").await;
    assert_eq!(other.get_with("/read", &[("x-token", &token)]).await.text(), "2");
}

#[tokio::test]
async fn the_headers_still_tell_of_several_cookies() {
    let client = client();
    client.text("/").await;
    let token = client.token().unwrap();
    let other = client.stranger();
    other.text("/").await;
    other.text("/out").await;
    // A jar keeps the last cookie of a name. Here, the last cookie is not valid.
    let planted = format!("{}{}", if token.starts_with('A') { "B" } else { "A" }, &token[1..]);
    let cookies = format!("{NAME}={token}; {NAME}={planted}");
    let reply = client.stranger().get_with("/read", &[("cookie", &cookies)]).await;
    assert_eq!((&*reply.text(), jar(&reply)), ("1", &*planted));
}

#[tokio::test]
async fn a_cookie_that_no_jar_can_read_is_found_and_removed() {
    let client = client();
    client.text("/").await;
    let token = client.token().unwrap();
    let header = [b"theme=\xff; ", NAME.as_bytes(), b"=", token.as_bytes()];
    let send = async |path: &str| {
        let mut request = Request::get(path).body(String::new()).unwrap();
        let header = HeaderValue::from_bytes(&header.concat()).unwrap();
        request.headers_mut().insert(header::COOKIE, header);
        client.stranger().send(request).await
    };
    assert_eq!(send("/read").await.text(), "1");
    let reply = send("/out").await;
    let [removal] = &*reply.set_cookies() else { panic!("{reply:?}") };
    assert_eq!((removal.name(), removal.max_age().unwrap().is_zero()), (NAME, true));
    assert_eq!(client.text("/read").await, "0");
}

#[tokio::test]
async fn the_key_of_the_layer_opens_the_cookie_in_the_jar() {
    let key = Key::generate();
    let options = CookieOptions::build().signing_key(key.clone());
    let app =
        Router::new()
            .route("/", get(visit))
            .route(
                "/signed",
                get(|cookies: Cookies| async move {
                    cookies.signed(&key).get(NAME).is_some().to_string()
                }),
            )
            .layer(SessionLayer::new(MemoryStore::new()).with_cookie_options(options))
            .layer(CookieManagerLayer::new());
    let client = new_client(app);
    client.text("/").await;
    assert_eq!(client.text("/").await, "2");
    assert_eq!(client.text("/signed").await, "true");
}
