//! Tests of common events during a rollout: cookie jars, renewals, lifts that fail, planted
//! cookies, sign-outs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use ruts::{
    CookieOptions, SessionLayer,
    store::memory::{ManualClock, MemoryStore},
    testing::Client,
};
use ruts_lift::{BoxError, LiftLayer, OldCookie, OldSession, OldSessions, TowerSessions};
use ruts_tests_support::{ClientExt, Log};
use tower_sessions::MemoryStore as OldStore;

use super::{
    COOKIE, old_program, plant_old_cookie_of,
    scenarios::{Shop, expect, lift, post_to, shop},
};

/// An old store that can refuse to end sessions, as a read-only replica does.
#[derive(Clone)]
struct Old {
    inner: TowerSessions<OldStore>,
    is_read_only: Arc<AtomicBool>,
}

impl OldSessions for Old {
    async fn load(&self, id: &str) -> Result<Option<OldSession>, BoxError> {
        self.inner.load(id).await
    }

    async fn delete(&self, id: &str) -> Result<(), BoxError> {
        match self.is_read_only.load(Ordering::Relaxed) {
            true => Err("the old store is read-only".into()),
            false => self.inner.delete(id).await,
        }
    }
}

struct Fixture {
    client: Client,
    clock: ManualClock,
    store: Arc<MemoryStore>,
    is_read_only: Arc<AtomicBool>,
}

/// Starts the old program, the new one without the lift layer, and the new one during the rollout.
fn fixture_with(
    configure: impl FnOnce(SessionLayer) -> SessionLayer,
    around: impl FnOnce(Router) -> Router,
) -> Fixture {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::builder().clock(clock.clone()).build());
    let (old, is_read_only) = (OldStore::default(), Arc::new(AtomicBool::new(false)));
    let sessions = configure(SessionLayer::new(&store));
    let lifted =
        Old { inner: TowerSessions::new(old.clone()), is_read_only: Arc::clone(&is_read_only) };
    let layer = LiftLayer::during_rollout(&sessions, &store, OldCookie::new(COOKIE), lifted, lift);
    let routes = |sessions: SessionLayer| {
        Router::new()
            .route(
                "/poll",
                get(|shop: Shop| async move {
                    shop.session().set_passive();
                    shop.user().await.map(|user| format!("{user:?}"))
                }),
            )
            .route("/leave", post(|shop: Shop| async move { shop.user().remove().await.map(drop) }))
            .layer(sessions.clone())
            .merge(shop(sessions))
    };
    let app = Router::new()
        .nest("/old", old_program::program(old))
        .nest("/plain", routes(sessions.clone()))
        .nest("/both", around(routes(sessions).layer(layer)));
    Fixture { client: Client::new(app), clock, store, is_read_only }
}

fn fixture() -> Fixture {
    fixture_with(|layer| layer, |app| app)
}

impl Fixture {
    async fn live_sessions(&self) -> usize {
        let sessions = Shop::sessions(&self.store).by_user("ada");
        sessions.list((), None, 100).await.unwrap().sessions.len()
    }
}

/// An app that moves from ruts 0.13 has such a layer outside of all others.
#[tokio::test]
async fn a_cookie_jar_around_the_layers_changes_nothing() {
    let around = |app: Router| app.layer(tower_cookies::CookieManagerLayer::new());
    let Fixture { client, .. } = fixture_with(|layer| layer, around);
    post_to(&client, "/old/sign-in", "name=ada").await;
    let tab = client.steal();
    expect(&client, "/both/show", "ada: ").await;
    expect(&tab, "/both/show", "ada: ").await;
    let thief = client.steal();
    post_to(&client, "/both/sign-out", "").await;
    expect(&thief, "/old/show", "guest: ").await;
}

/// The layer reads the session before the request of the client. This read must not be logged or
/// counted.
#[tokio::test]
async fn the_look_before_a_request_leaves_no_trace() {
    let hour = Duration::from_secs(3600);
    let mut renewals = Vec::new();
    for path in ["plain", "both"] {
        let cookie = CookieOptions::build().max_age(8 * 3600);
        let configure = |layer: SessionLayer| {
            layer.with_cookie_options(cookie).renew_every(hour).idle_timeout(hour * 8)
        };
        let Fixture { client, clock, .. } = fixture_with(configure, |app| app);
        post_to(&client, &format!("/{path}/sign-in"), "name=ada").await;
        let mut count = 0;
        for _ in 0..4 {
            clock.advance(hour * 2);
            count += client.get(&format!("/{path}/show")).await.set_cookies().len();
        }
        assert_eq!(client.get(&format!("/{path}/show")).await.text(), "ada: ");
        renewals.push(count);
    }
    assert_eq!(renewals, [4, 4]);

    let Fixture { client, clock, .. } = fixture_with(|layer| layer.idle_timeout(hour), |app| app);
    post_to(&client, "/both/sign-in", "name=ada").await;
    for _ in 0..4 {
        clock.advance(hour / 3);
        client.get("/both/poll").await;
    }
    expect(&client, "/both/show", "guest: ").await;

    let (log, _guard) = Log::start();
    client.plant("__Host-id", &format!("{}.{}", "A".repeat(22), "A".repeat(43)));
    client.get("/both/show").await;
    assert_eq!(log.text().matches("unknown session token").count(), 1, "{}", log.text());
}

/// A different host of the domain can set the old cookie, which has no prefix.
#[tokio::test]
async fn a_planted_old_cookie_replaces_no_user() {
    let Fixture { client, .. } = fixture();
    post_to(&client, "/both/sign-in", "name=ada").await;
    post_to(&client, "/both/add", "item=secret").await;
    let attacker = client.stranger();
    post_to(&attacker, "/old/sign-in", "name=eve").await;
    plant_old_cookie_of(&attacker, &client);
    expect(&client, "/both/show", "ada: secret").await;
    assert_eq!(client.cookie(COOKIE), None);

    // The old session of the same user is lifted into the session.
    let desk = client.stranger();
    post_to(&desk, "/both/sign-in", "name=ada").await;
    post_to(&desk, "/old/sign-in", "name=ada").await;
    post_to(&desk, "/old/add", "item=tea").await;
    expect(&desk, "/both/show", "ada: tea").await;

    // If a different user signs in after the first user has signed out, this user replaces the
    // first one.
    post_to(&desk, "/old/sign-out", "").await;
    post_to(&desk, "/old/sign-in", "name=bob").await;
    expect(&desk, "/both/show", "bob: ").await;
}

#[tokio::test]
async fn a_sign_out_that_does_not_reach_the_old_session_is_an_error() {
    let Fixture { client, is_read_only, .. } = fixture();
    post_to(&client, "/old/sign-in", "name=ada").await;
    expect(&client, "/both/show", "ada: ").await;
    let thief = client.steal();
    is_read_only.store(true, Ordering::Relaxed);
    let reply = client.post("/both/sign-out", "").await;
    assert_eq!((reply.status, &*reply.text()), (StatusCode::SERVICE_UNAVAILABLE, ""));
    is_read_only.store(false, Ordering::Relaxed);
    expect(&client, "/both/show", "guest: ").await;
    expect(&thief, "/old/show", "guest: ").await;
}

#[tokio::test]
async fn the_removal_of_the_user_ends_the_old_session() {
    let Fixture { client, .. } = fixture();
    post_to(&client, "/old/sign-in", "name=ada").await;
    expect(&client, "/both/show", "ada: ").await;
    post_to(&client, "/both/leave", "").await;
    expect(&client, "/both/show", "guest: ").await;
    expect(&client, "/old/show", "guest: ").await;
}

/// By default, the ruts cookie ends with the browser. Meanwhile the secret was renewed.
#[tokio::test]
async fn a_client_that_lost_its_cookie_gets_its_session_back() {
    let hour = Duration::from_secs(3600);
    let fixture = fixture_with(|layer| layer.renew_every(hour), |app| app);
    let client = &fixture.client;
    post_to(client, "/old/sign-in", "name=ada").await;
    expect(client, "/both/show", "ada: ").await;
    let secret = client.cookie("__Host-id");
    fixture.clock.advance(hour * 2);
    post_to(client, "/both/add", "item=tea").await;
    assert_ne!(client.cookie("__Host-id"), secret);
    client.forget("__Host-id");
    expect(client, "/both/show", "ada: tea").await;
    assert_eq!(fixture.live_sessions().await, 1);
}

/// The old libraries read the last one.
#[tokio::test]
async fn of_two_old_cookies_the_last_one_counts() {
    let Fixture { client, .. } = fixture();
    post_to(&client, "/old/sign-in", "name=ada").await;
    let id = client.cookie(COOKIE).unwrap();
    let cookies = [(format!("id=x; id={id}"), "ada: "), (format!("id={id}; id=x"), "guest: ")];
    for (cookies, page) in cookies {
        for path in ["/old/show", "/both/show"] {
            let reply = client.stranger().get_with(path, &[("cookie", &cookies)]).await;
            assert_eq!(reply.text(), page, "{path} {cookies}");
        }
    }
}

/// A browser sends a cookie of another program as it was set, with any characters.
#[tokio::test]
async fn other_cookies_may_have_any_characters() {
    let Fixture { client, .. } = fixture();
    for other in ["name=Zoe", "name=Zo\u{eb}", "name"] {
        post_to(&client, "/old/sign-in", "name=ada").await;
        let id = client.cookie(COOKIE).unwrap();
        let browser = client.stranger();
        let cookies = format!("{other}; {COOKIE}={id}");
        let reply = browser.get_with("/both/show", &[("cookie", &cookies)]).await;
        assert_eq!(reply.text(), "ada: ", "{other}");
        // A sign-out in the old program ends the lifted session.
        post_to(&client, "/old/sign-out", "").await;
        let reply = browser.get_with("/both/show", &[("cookie", other)]).await;
        assert_eq!(reply.text(), "guest: ", "{other}");
    }
}
