//! Tests of guards on routers, of the return to a page after a sign-in, and of the extractor for
//! the application's user.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{FromRequestParts, Path, Request},
    http::{StatusCode, header, request::Parts},
    middleware,
    response::Response,
    routing::get,
};
use ruts::{
    Error, Session, SessionLayer,
    auth::Assurance,
    field::{Field, Principal},
    guard::{Aal, CurrentUser, Next, require, require_with_state},
    session,
    session::LoadUser,
    store::memory::{ManualClock, MemoryStore},
    testing::Client,
};
use ruts_tests_support::{ClientExt, InstrumentedStore, Log, new_client};

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    name: String,
}

const HTML: (&str, &str) = ("accept", "text/html");

/// The accounts of the application: the password hash of its only user.
#[derive(Clone, Default)]
struct Accounts {
    hash: Arc<Mutex<Option<String>>>,
    loads: Arc<AtomicU32>,
}

impl LoadUser for Accounts {
    type Schema = Shop;
    type Id = u64;
    type User = String;
    type Error = io::Error;

    const PRINCIPAL: Field<u64, Principal> = Shop::USER;

    async fn load(&self, id: u64) -> Result<Option<String>, io::Error> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        if id == 500 { Err(io::Error::other("no database")) } else { Ok(self.hash()) }
    }

    fn stamp(hash: &String) -> Option<&[u8]> {
        Some(hash.as_bytes())
    }
}

impl Accounts {
    fn hash(&self) -> Option<String> {
        self.hash.lock().unwrap().clone()
    }

    fn set(&self, hash: Option<&str>) {
        *self.hash.lock().unwrap() = hash.map(str::to_owned);
    }
}

struct Fixture {
    accounts: Accounts,
    store: InstrumentedStore<MemoryStore>,
    client: Client,
}

fn fixture() -> Fixture {
    fixture_of(MemoryStore::new(), |layer| layer)
}

fn fixture_of(store: MemoryStore, change: fn(SessionLayer) -> SessionLayer) -> Fixture {
    let accounts = Accounts::default();
    accounts.set(Some("hash 1"));
    let store = InstrumentedStore::new(store);
    let sign_in = |shop: Shop, Path(user): Path<u64>, state: axum::extract::State<Accounts>| async move {
        let hash = state.0.hash().unwrap_or_default();
        shop.user().sign_in(&user, Assurance::Aal1).stamp(hash).await
    };
    let admin = Router::new()
        .route("/orders", get(|| async { "orders" }).post(|| async { "ordered" }))
        .layer(require::<Aal<Shop, 1>>())
        .route("/help", get(|| async { "help" }));
    let app = Router::new()
        .route("/sign-in/{user}", get(sign_in))
        .route("/sign-in-without-a-stamp", get(|shop: Shop| async move { shop.set_user(&7).await }))
        .route(
            "/accept/{hash}",
            get(|shop: Shop, Path(hash): Path<String>| async move {
                shop.user().accept_stamp(hash).await
            }),
        )
        .route("/name", get(|shop: Shop| async move { shop.set_name("ada").await }))
        .route(
            "/who",
            get(|shop: Shop| async move {
                Ok::<_, Error>(format!("{:?} {:?}", shop.user().await?, shop.name().await?))
            }),
        )
        .route(
            "/account",
            get(
                |CurrentUser(first): CurrentUser<Accounts>,
                 CurrentUser(second): CurrentUser<Accounts>| async move {
                    assert_eq!(first, second);
                    first
                },
            ),
        )
        .route("/next", get(|next: Next| async move { next.path_or("home").to_owned() }))
        .nest("/admin", admin)
        .with_state(accounts.clone())
        .layer(change(SessionLayer::new(store.clone()).sign_in_page("/enter")));
    Fixture { accounts, store, client: new_client(app) }
}

#[tokio::test]
async fn a_guard_covers_the_routes_before_it() {
    let Fixture { client, .. } = fixture();
    assert_eq!(client.text("/admin/help").await, "help");
    assert_eq!(client.get("/admin/orders").await.status, StatusCode::UNAUTHORIZED);
    client.text("/sign-in/7").await;
    assert_eq!(client.text("/admin/orders").await, "orders");
}

#[tokio::test]
async fn the_sign_in_page_leads_back() {
    let Fixture { client, .. } = fixture();
    for (path, next) in [
        ("/admin/orders?page=2&q=a%20b", "%2Fadmin%2Forders%3Fpage%3D2%26q%3Da%2520b"),
        ("/account", "%2Faccount"),
    ] {
        let reply = client.get_with(path, &[HTML]).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER);
        assert_eq!(reply.headers[header::LOCATION], format!("/enter?next={next}"));
        assert_eq!(client.text(&format!("/next?next={next}")).await, path);
    }
}

/// `Router::nest` removes the beginning of the path.
#[tokio::test]
async fn the_sign_in_page_of_a_nested_router_leads_back() {
    let shop = Router::new()
        .route("/orders", get(|| async { "orders" }))
        .layer(require::<Aal<Shop, 1>>())
        .layer(SessionLayer::new(MemoryStore::new()).sign_in_page("/shop/enter"));
    let client = new_client(Router::new().nest("/shop", shop));
    let reply = client.get_with("/shop/orders?page=2", &[HTML]).await;
    let location = "/shop/enter?next=%2Fshop%2Forders%3Fpage%3D2";
    assert_eq!(reply.headers[header::LOCATION], location);
}

#[tokio::test]
async fn a_guard_in_front_of_the_sign_in_page_is_reported() {
    for prefix in ["", "/shop"] {
        reports_a_guard_in_front_of_the_sign_in_page(prefix).await;
    }
}

async fn reports_a_guard_in_front_of_the_sign_in_page(prefix: &str) {
    let layer = SessionLayer::new(MemoryStore::new());
    let app = Router::new()
        .route("/enter", get(|| async { "form" }).post(|| async { "signed in" }))
        .layer(require::<Aal<Shop, 1>>())
        .layer(layer.sign_in_page(&format!("{prefix}/enter?lang=en")));
    let app = if prefix.is_empty() { app } else { Router::new().nest(prefix, app) };
    let client = new_client(app);
    let (log, _guard) = Log::start();
    for path in ["/enter", "/enter?next=%2F"] {
        let path = &format!("{prefix}{path}");
        assert_eq!(client.get_with(path, &[HTML]).await.status, StatusCode::UNAUTHORIZED);
    }
    let enter = format!("{prefix}/enter");
    assert_eq!(client.post_with(&enter, &[HTML]).await.status, StatusCode::UNAUTHORIZED);
    let text = "a guard covers the sign-in page itself";
    assert_eq!(log.text().matches(text).count(), 3, "{}", log.text());
}

#[tokio::test]
async fn a_router_requires_a_user_of_the_application() {
    let accounts = Accounts::default();
    accounts.set(Some("hash 1"));
    let sign_in =
        |shop: Shop| async move { shop.user().sign_in(&7, Assurance::Aal1).stamp("hash 1").await };
    let app = Router::new()
        .route("/account", get(|| async { "account" }))
        .layer(require_with_state::<CurrentUser<Accounts>, _>(accounts.clone()))
        .route("/sign-in", get(sign_in))
        .layer(SessionLayer::new(MemoryStore::new()));
    let client = new_client(app);
    assert_eq!(client.get("/account").await.status, StatusCode::UNAUTHORIZED);
    client.text("/sign-in").await;
    assert_eq!(client.text("/account").await, "account");
    accounts.set(Some("hash 2"));
    assert_eq!(client.get("/account").await.status, StatusCode::UNAUTHORIZED);
}

/// A guard reads the session before the handler can call `set_passive`.
#[tokio::test]
async fn passive_requests_are_passive_in_spite_of_a_guard() {
    const MINUTE: Duration = Duration::from_secs(60);
    async fn passive(session: Session, request: Request, next: middleware::Next) -> Response {
        session.set_passive();
        next.run(request).await
    }
    let late = |Aal(shop): Aal<Shop, 1>| async move { shop.session().set_passive() };
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let app = Router::new()
        .route("/in", get(|shop: Shop| async move { shop.set_user(&7).await }))
        .route("/passive", get(|_: Aal<Shop, 1>| async {}).layer(middleware::from_fn(passive)))
        .route("/late", get(late))
        .layer(SessionLayer::new(store).idle_timeout(60 * MINUTE));
    let client = new_client(app);
    let (log, _guard) = Log::start();
    let mut statuses = Vec::new();
    for path in ["/passive", "/late"] {
        client.text("/in").await;
        for _ in 0..7 {
            clock.advance(10 * MINUTE);
            statuses.push(client.get(path).await.status.as_u16());
        }
    }
    assert_eq!(statuses, [[200, 200, 200, 200, 200, 401, 401], [200; 7]].concat());
    let reports = log.text().matches("`set_passive` has no effect").count();
    assert_eq!(reports, 7, "{}", log.text());
}

#[tokio::test]
async fn a_submitted_form_leads_to_the_sign_in_page_and_back_to_the_form() {
    let Fixture { client, .. } = fixture();
    for (referer, location) in [
        ("https://shop.example/settings?tab=2", "/enter?next=%2Fsettings%3Ftab%3D2"),
        ("https://shop.example", "/enter?next=%2F"),
        ("https://evil.example/settings", "/enter"),
        ("https://shop.example//evil.example", "/enter"),
        ("/settings", "/enter"),
        ("", "/enter"),
    ] {
        let reply = client.post_with("/admin/orders", &[HTML, ("referer", referer)]).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{referer}");
        assert_eq!(reply.headers[header::LOCATION], location, "{referer}");
    }
    assert_eq!(client.post("/admin/orders", "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_way_back_stays_on_the_site() {
    let Fixture { client, .. } = fixture();
    for next in [
        "",
        "?next=",
        "?next=https://evil.example",
        "?next=//evil.example",
        "?next=%2F%2Fevil.example",
        "?next=/%5Cevil.example",
        "?next=/%09/evil.example",
        "?next=evil",
        "?other=/x",
    ] {
        assert_eq!(client.text(&format!("/next{next}")).await, "home", "{next}");
    }
    assert_eq!(client.text("/next?a=1&next=/cart").await, "/cart");
}

#[tokio::test]
async fn a_user_is_loaded_once_in_a_request() {
    let Fixture { accounts, store, client } = fixture();
    let guest = client.get("/account").await;
    assert_eq!(guest.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        accounts.loads.load(Ordering::Relaxed),
        0,
        "the account of a guest should not be loaded"
    );
    client.text("/sign-in/7").await;
    store.take_calls();
    assert_eq!(client.text("/account").await, "hash 1");
    assert_eq!(accounts.loads.load(Ordering::Relaxed), 1);
    assert_eq!(store.take_calls(), ["load"]);
}

#[tokio::test]
async fn a_new_password_ends_all_sessions_from_before() {
    let Fixture { accounts, client, .. } = fixture();
    let other = client.stranger();
    for client in [&client, &other] {
        client.text("/sign-in/7").await;
        client.text("/account").await;
    }
    accounts.set(Some("hash 2"));
    client.text("/sign-in/7").await;
    assert_eq!(client.text("/account").await, "hash 2", "the client should be signed in again");
    let reply = other.get("/account").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(other.text("/who").await, "None None");
    assert!(other.token().is_none(), "the cookie should be removed with the session");
}

#[tokio::test]
async fn a_user_that_is_gone_is_signed_out() {
    let Fixture { accounts, client, .. } = fixture();
    client.text("/sign-in/7").await;
    accounts.set(None);
    assert_eq!(client.get("/account").await.status, StatusCode::UNAUTHORIZED);
    accounts.set(Some("hash 1"));
    assert_eq!(client.text("/who").await, "None None");
}

#[tokio::test]
async fn a_sign_in_without_the_stamp_does_not_last() {
    let Fixture { client, .. } = fixture();
    client.text("/sign-in-without-a-stamp").await;
    assert_eq!(client.get("/account").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.text("/who").await, "None None");
}

/// A request that is in flight while the user signs in again counts as a request of a guest. Its
/// response has status 401, not a server error.
#[tokio::test]
async fn a_slow_page_does_not_fail_for_a_new_password() {
    let Fixture { accounts, store, client } = fixture();
    client.text("/sign-in/7").await;
    let mut pause = store.pause_after("load");
    let slow = client.steal();
    let slow = tokio::spawn(async move { slow.get("/account").await });
    pause.reached().await;
    accounts.set(Some("hash 2"));
    client.text("/sign-in/7").await;
    pause.resume();
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::UNAUTHORIZED);
    assert!(slow.set_cookies().is_empty());
    assert_eq!(client.text("/account").await, "hash 2");
}

/// A user changes the password. Meanwhile, a page of the same tab, which has already read the
/// session, loads the user with the new hash.
#[tokio::test]
async fn a_new_password_keeps_the_session_that_changed_it() {
    let Fixture { accounts, store, client } = fixture();
    client.text("/sign-in/7").await;
    client.text("/name").await;
    let thief = client.stranger();
    thief.text("/sign-in/7").await;
    let mut pause = store.pause_after("load");
    let page = client.steal();
    let page = tokio::spawn(async move { page.get("/account").await });
    pause.reached().await;

    client.text("/accept/hash%202").await;
    accounts.set(Some("hash 2"));
    pause.resume();
    let page = page.await.unwrap();
    assert_eq!((page.status, &*page.text()), (StatusCode::OK, "hash 2"));
    assert_eq!(client.text("/account").await, "hash 2");

    let before = client.steal();
    client.text("/sign-in/7").await;
    assert_eq!(client.text("/account").await, "hash 2");
    assert_eq!(client.text("/who").await, "Some(7) Some(\"ada\")");
    assert_eq!(before.text("/who").await, "None None", "the earlier cookie should be refused");
    assert_eq!(thief.get("/account").await.status, StatusCode::UNAUTHORIZED);
    accounts.set(Some("hash 1"));
    let reply = client.get("/account").await;
    assert_eq!(
        reply.status,
        StatusCode::UNAUTHORIZED,
        "the former stamp should no longer be accepted"
    );
}

/// If the handler has not accepted the new stamp of the user, or has accepted a different one, the
/// session ends.
#[tokio::test]
async fn a_session_accepts_only_the_stamp_that_its_handler_named() {
    let Fixture { accounts, client, .. } = fixture();
    assert_eq!(
        client.get("/accept/x").await.status,
        StatusCode::UNAUTHORIZED,
        "a guest should get status 401"
    );
    assert!(client.token().is_none());
    client.text("/sign-in/7").await;
    client.text("/accept/hash%203").await;
    accounts.set(Some("hash 3"));
    assert_eq!(client.text("/account").await, "hash 3");
    accounts.set(Some("hash 1"));
    assert_eq!(
        client.text("/account").await,
        "hash 1",
        "the session should still accept the stamp of its sign-in"
    );
    accounts.set(Some("hash 2"));
    assert_eq!(client.get("/account").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.text("/who").await, "None None");
}

/// The response to a renewal was lost, so the former secret has all rights until a client uses the
/// new one.
#[tokio::test]
async fn a_stamp_is_accepted_after_a_lost_renewal() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let Fixture { accounts, client, .. } =
        fixture_of(store, |layer| layer.renew_every(Duration::from_secs(60)));
    client.text("/sign-in/7").await;
    clock.advance(Duration::from_secs(61));
    client.steal().text("/who").await;
    client.text("/accept/hash%202").await;
    accounts.set(Some("hash 2"));
    assert_eq!(client.text("/account").await, "hash 2");
}

/// Extracts the user. Returns whether a user was found, and the number of loads so far.
async fn extract(parts: &mut Parts, accounts: &Accounts) -> (bool, u32) {
    let user = CurrentUser::<Accounts>::from_request_parts(parts, accounts).await;
    (user.is_ok(), accounts.loads.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_user_who_signs_in_during_a_request_is_loaded() {
    let accounts = Accounts::default();
    accounts.set(Some("hash"));
    let switch = move |shop: Shop, request: Request| async move {
        let mut parts = request.into_parts().0;
        let mut seen = vec![extract(&mut parts, &accounts).await];
        for user in [7, 7, 8] {
            shop.user().sign_in(&user, Assurance::Aal1).stamp("hash").await?;
            seen.push(extract(&mut parts, &accounts).await);
            seen.push(extract(&mut parts, &accounts).await);
        }
        shop.session().delete().await?;
        seen.push(extract(&mut parts, &accounts).await);
        Ok::<_, Error>(format!("{seen:?}"))
    };
    let app =
        Router::new().route("/switch", get(switch)).layer(SessionLayer::new(MemoryStore::new()));
    let seen = new_client(app).text("/switch").await;
    let expected = [(false, 0), (true, 1), (true, 1), (true, 1), (true, 1), (true, 2), (true, 2)];
    assert_eq!(seen, format!("{:?}", [&expected[..], &[(false, 2)]].concat()));
}

#[tokio::test]
async fn a_failed_load_signs_no_user_out() {
    let Fixture { client, .. } = fixture();
    client.text("/sign-in/500").await;
    assert_eq!(client.get("/account").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(client.text("/who").await, "Some(500) None");
}
