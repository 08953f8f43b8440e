//! Tests of sign-ins that are remembered, and of cookies that outlive the browser.

use std::time::Duration;

use axum::{Router, body::Body, extract::Path, http::StatusCode, routing::get};
use futures_util::stream;
use ruts::testing::{Client, Reply};
use ruts::{
    CookieOptions, Error, Session, SessionLayer,
    auth::Assurance,
    guard::Aal,
    session,
    store::memory::{ManualClock, MemoryStore},
};
use ruts_tests_support::{ClientExt, InstrumentedStore, new_client};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default)]
    cart: u64,
}

#[session]
struct Brief {
    #[field(principal, ttl = "1h")]
    guest: u64,
}

async fn who(shop: Shop) -> Result<String, Error> {
    let user = shop.user().await?;
    let assurance = shop.session().signed_in().await?.map(|signed_in| signed_in.assurance.level());
    Ok(format!("{user:?} {assurance:?}"))
}

async fn remember(shop: Shop, Path((user, days)): Path<(u64, u32)>) -> Result<(), Error> {
    shop.user().sign_in(&user, Assurance::Aal1).remember(days * DAY).await
}

async fn devices(shop: Shop) -> Result<String, Error> {
    let Some(sessions) = shop.session().sessions().await? else { return Ok("none".to_owned()) };
    let page = sessions.list((), None, 10).await?;
    let days = |session: &ruts::session::SessionSummary| {
        session.remembered.map(|life| life.as_secs() / DAY.as_secs())
    };
    Ok(format!("{:?}", page.sessions.iter().map(days).collect::<Vec<_>>()))
}

struct Fixture {
    clock: ManualClock,
    store: InstrumentedStore<MemoryStore>,
    client: Client,
}

fn fixture(layer: impl FnOnce(SessionLayer) -> SessionLayer) -> Fixture {
    let clock = ManualClock::new();
    let store = InstrumentedStore::new(MemoryStore::builder().clock(clock.clone()).build());
    let app = Router::new()
        .route("/who", get(who))
        .route("/remember/{user}/{days}", get(remember))
        .route(
            "/sign-in/{user}",
            get(|shop: Shop, Path(user): Path<u64>| async move { shop.set_user(&user).await }),
        )
        .route(
            "/forget/{user}",
            get(|shop: Shop, Path(user): Path<u64>| async move {
                shop.user().sign_in(&user, Assurance::Aal1).until_browser_closes().await
            }),
        )
        .route(
            "/edit/{user}",
            get(|shop: Shop, Path(user): Path<u64>| async move {
                let edit = shop.edit().user(&user).cart(&1);
                edit.remember(3 * DAY).commit().await
            }),
        )
        .route("/cart", get(|shop: Shop| async move { shop.set_cart(&1).await }))
        .route(
            "/age",
            get(|session: Session| async move {
                session.cookie_max_age().await.map(|age| format!("{age:?}"))
            }),
        )
        .route(
            "/begin-and-remember",
            get(|shop: Shop| async move {
                shop.set_cart(&1).await?;
                shop.user().sign_in(&7, Assurance::Aal1).remember(3 * DAY).await
            }),
        )
        .route("/rotate", get(|session: Session| async move { session.regenerate().await }))
        .route("/body", get(|shop: Shop| async move { in_body(shop) }))
        .route("/sign-out", get(|shop: Shop| async move { shop.user().remove().await.map(drop) }))
        .route("/pay", get(|_: Aal<Shop, 1>| async { "paid" }))
        .route("/devices", get(devices))
        .route(
            "/brief",
            get(|shop: Brief| async move {
                shop.guest().sign_in(&7, Assurance::Aal1).remember(2 * HOUR).await
            }),
        )
        .route(
            "/expire/{days}",
            get(|session: Session, Path(days): Path<u64>| async move {
                session.expire(days * DAY.as_secs()).await
            }),
        )
        .layer(layer(SessionLayer::new(store.clone())));
    Fixture { client: new_client(app).with_clock(&clock), clock, store }
}

/// Reads the session after the response has begun.
fn in_body(shop: Shop) -> Body {
    Body::from_stream(stream::once(async move { who(shop).await.map_err(std::io::Error::other) }))
}

/// Returns the `Max-Age` of the cookie that a reply sets. `None` if the reply sets no cookie,
/// `Some(None)` if the cookie ends with the browser.
fn age(reply: &Reply) -> Option<Option<Duration>> {
    let cookies = reply.set_cookies();
    let age = cookies.first()?.max_age();
    Some(age.map(|age| Duration::from_secs(age.whole_seconds().try_into().unwrap())))
}

#[tokio::test]
async fn a_remembered_user_is_recognised_and_has_to_authenticate_again() {
    let Fixture { clock, client, .. } = fixture(SessionLayer::aal2);
    let reply = client.get("/remember/7/30").await;
    assert_eq!(age(&reply), Some(Some(30 * DAY)));
    assert_eq!(client.text("/who").await, "Some(7) Some(1)");
    clock.advance(20 * DAY);
    for _ in 0..2 {
        assert_eq!(
            client.text("/who").await,
            "Some(7) Some(0)",
            "the user should stay remembered after a use"
        );
        assert_eq!(client.get("/pay").await.status, StatusCode::UNAUTHORIZED);
    }
    let reply = client.get("/sign-in/7").await;
    assert_eq!(
        age(&reply),
        Some(Some(30 * DAY)),
        "the same user should be remembered for as long as before"
    );
    assert_eq!(client.text("/pay").await, "paid");
    clock.advance(31 * DAY);
    assert_eq!(client.text("/who").await, "None None");
}

#[tokio::test]
async fn a_remembered_user_is_still_signed_in_after_the_browser_was_closed() {
    for (path, expected) in [("/remember/7/30", "Some(7) Some(1)"), ("/forget/7", "None None")] {
        let Fixture { client, .. } = fixture(|layer| layer);
        client.text(path).await;
        client.close();
        assert_eq!(client.text("/who").await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_handler_knows_the_age_of_its_cookie() {
    let Fixture { store, client, .. } = fixture(SessionLayer::aal2);
    assert_eq!(client.text("/age").await, "None");
    client.text("/remember/7/30").await;
    store.take_calls();
    assert_eq!(client.text("/age").await, format!("Some({})", 30 * DAY.as_secs()));
    assert!(store.take_calls().is_empty());
    client.text("/forget/7").await;
    assert_eq!(client.text("/age").await, "None");
    let options = CookieOptions::build().max_age(60);
    let Fixture { client, .. } = fixture(|layer| layer.with_cookie_options(options));
    assert_eq!(client.text("/age").await, "Some(60)");
}

#[tokio::test]
async fn use_keeps_the_authentication_for_as_long_as_the_layer_allows() {
    let Fixture { clock, client, .. } = fixture(SessionLayer::aal2);
    client.text("/remember/7/30").await;
    for half_hour in 1..=47 {
        clock.advance(HOUR / 2);
        assert_eq!(
            client.text("/who").await,
            "Some(7) Some(1)",
            "the authentication should not have lapsed after {half_hour} half hours"
        );
    }
    clock.advance(HOUR / 2);
    assert_eq!(
        client.text("/who").await,
        "Some(7) Some(0)",
        "the authentication should lapse after 24 hours"
    );
}

/// A write touches the session, but does not restore an authentication that has lapsed.
#[tokio::test]
async fn a_write_extends_the_session_and_not_the_authentication() {
    let Fixture { clock, client, .. } = fixture(SessionLayer::aal2);
    client.text("/remember/7/30").await;
    clock.advance(HOUR / 2);
    client.text("/cart").await;
    clock.advance(HOUR / 2);
    assert_eq!(client.text("/who").await, "Some(7) Some(1)");
    clock.advance(2 * HOUR);
    client.text("/cart").await;
    assert_eq!(client.text("/who").await, "Some(7) Some(0)");
}

#[tokio::test]
async fn visits_extend_cookie_and_session_until_the_absolute_timeout() {
    let Fixture { clock, client, .. } =
        fixture(|layer| layer.absolute_timeout(365 * DAY).idle_timeout(DAY));
    client.text("/remember/7/14").await;
    for visit in 1..=36 {
        clock.advance(10 * DAY);
        let reply = client.get("/who").await;
        assert!(reply.text().starts_with("Some(7)"), "visit {visit}");
        let left = (365 - 10 * visit) * DAY;
        let expected = if left > 4 * DAY + 10 * DAY { Some(Some(14 * DAY)) } else { age(&reply) };
        assert_eq!(age(&reply), expected, "visit {visit}");
        assert!(age(&reply).flatten().is_none_or(|age| age <= left), "visit {visit}");
    }
    clock.advance(5 * DAY);
    assert_eq!(client.text("/who").await, "None None");
}

/// The options of the layer give a persistent cookie to every visitor.
#[tokio::test]
async fn a_daily_visit_keeps_a_cookie_of_the_layer_alive() {
    let Fixture { clock, client, .. } = fixture(|layer| {
        layer
            .with_cookie_options(CookieOptions::build().max_age(14 * DAY.as_secs()))
            .idle_timeout(14 * DAY)
            .absolute_timeout(365 * DAY)
    });
    let mut lasts_until = 0;
    let mut keep = |day: u64, reply: &Reply| {
        if let Some(age) = age(reply) {
            lasts_until = day + age.unwrap().as_secs() / DAY.as_secs();
        }
        assert!(lasts_until >= day, "the browser should keep the cookie on day {day}");
        assert!(lasts_until <= 365, "the cookie should not outlive the session");
    };
    keep(0, &client.get("/sign-in/7").await);
    for day in 1..365 {
        clock.advance(DAY);
        let reply = client.get("/who").await;
        assert!(reply.text().starts_with("Some(7)"), "day {day}");
        keep(day, &reply);
    }
}

#[tokio::test]
async fn a_rotation_without_a_read_keeps_the_life_of_the_cookie() {
    let Fixture { clock, client, .. } = fixture(|layer| layer);
    client.text("/remember/7/30").await;
    let life = age(&client.get("/rotate").await).flatten().unwrap();
    assert!(life + Duration::from_secs(1) >= 30 * DAY, "{life:?}");
    clock.advance(20 * DAY);
    assert_eq!(client.text("/who").await, "Some(7) Some(0)");
}

#[tokio::test]
async fn a_forgotten_cookie_ends_with_the_browser() {
    let Fixture { clock, client, .. } = fixture(|layer| {
        let options = CookieOptions::build().max_age(14 * DAY.as_secs());
        layer.with_cookie_options(options).renew_every(HOUR)
    });
    assert_eq!(age(&client.get("/cart").await), Some(Some(14 * DAY)));
    assert_eq!(age(&client.get("/forget/7").await), Some(None));
    clock.advance(HOUR);
    assert_eq!(
        age(&client.get("/who").await),
        Some(None),
        "the cookie should end with the browser, even after a renewal"
    );
    assert_eq!(age(&client.get("/remember/7/3").await), Some(Some(3 * DAY)));
    assert_eq!(age(&client.get("/forget/7").await), Some(None));
}

/// The response of a rotation sets a cookie, and a body is read after the last step of a request.
#[tokio::test]
async fn a_rotation_and_a_read_in_a_body_count_as_a_use() {
    let hour = |layer: SessionLayer| layer.idle_timeout(HOUR).absolute_timeout(300 * DAY);
    for path in ["/rotate", "/body"] {
        let Fixture { clock, client, .. } = fixture(hour);
        client.text("/remember/7/30").await;
        for _ in 0..13 {
            clock.advance(HOUR / 12);
            assert_eq!(client.get(path).await.status, StatusCode::OK);
        }
        let reply = client.get("/pay").await;
        assert_eq!(reply.status, StatusCode::OK, "{path} should count as a use every five minutes");
    }
    let Fixture { clock, client, .. } = fixture(hour);
    client.text("/remember/7/30").await;
    for _ in 0..31 {
        clock.advance(DAY);
        client.text("/rotate").await;
    }
    assert_eq!(client.text("/who").await, "Some(7) Some(0)");
    assert_eq!(client.get("/pay").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn another_user_is_not_remembered_by_accident() {
    let Fixture { client, .. } = fixture(|layer| layer);
    client.text("/remember/7/30").await;
    client.text("/sign-out").await;
    assert_eq!(age(&client.get("/sign-in/8").await), Some(None));
    assert_eq!(client.text("/devices").await, "[None]");
    client.text("/remember/7/30").await;
    assert_eq!(age(&client.get("/sign-in/8").await), Some(None));
    assert_eq!(client.text("/devices").await, "[None]");
}

#[tokio::test]
async fn the_list_of_devices_says_how_long_a_user_is_remembered() {
    let Fixture { client, .. } = fixture(|layer| layer);
    client.text("/remember/7/30").await;
    assert_eq!(client.text("/devices").await, "[Some(30)]");
    client.text("/forget/7").await;
    assert_eq!(client.text("/devices").await, "[None]");
    assert_eq!(age(&client.get("/edit/7").await), Some(Some(3 * DAY)));
    assert_eq!(client.text("/devices").await, "[Some(3)]");
}

#[tokio::test]
async fn a_session_that_begins_with_the_request_is_remembered() {
    let Fixture { client, .. } = fixture(|layer| layer);
    assert_eq!(age(&client.get("/begin-and-remember").await), Some(Some(3 * DAY)));
    assert_eq!(client.text("/who").await, "Some(7) Some(1)");
}

/// A read takes one round trip. One read in each eighth of the idle timeout takes two.
#[tokio::test]
async fn a_remembered_session_costs_few_round_trips() {
    let Fixture { clock, store, client } = fixture(SessionLayer::aal2);
    client.text("/remember/7/30").await;
    store.take_calls();
    client.text("/who").await;
    assert_eq!(store.take_calls(), ["load"]);
    clock.advance(HOUR / 8);
    client.text("/who").await;
    assert_eq!(store.take_calls(), ["load", "update"]);
    client.text("/who").await;
    assert_eq!(store.take_calls(), ["load"]);
    client.text("/cart").await;
    assert_eq!(store.take_calls(), ["update", "load"]);
}

#[tokio::test]
async fn a_client_cannot_change_the_life_of_its_cookie() {
    let Fixture { clock, client, .. } = fixture(SessionLayer::aal2);
    client.text("/remember/7/1").await;
    let token = client.token().unwrap();
    let forged = |life: &str| format!("__Host-id={}{life}", &token[..67]);
    let is_user = async |cookie: String| {
        let reply = client.stranger().get_with("/who", &[("cookie", &cookie)]).await;
        reply.text().starts_with("Some(7)")
    };
    assert!(is_user(forged(&token[67..])).await);
    assert!(!is_user(forged("AAJ_AA")).await);
    assert!(!is_user(format!("__Host-id={}", &token[..66])).await);
    clock.advance(DAY);
    assert_eq!(client.text("/who").await, "None None");
}

#[tokio::test]
async fn a_lifetime_that_cannot_be_granted_is_an_error() {
    let Fixture { client, .. } = fixture(|layer| layer);
    client.text("/cart").await;
    for path in ["/remember/7/0", "/remember/7/401", "/brief", "/expire/31"] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert_eq!(age(&reply), None, "{path}");
    }
    client.text("/expire/30").await;
    assert_eq!(client.text("/who").await, "None None");
}

/// Sends two cookies with the name of the session cookie. A sibling domain can cause this by
/// planting a cookie.
async fn with_both(client: &Client, path: &str, [first, second]: [&str; 2]) -> Reply {
    let cookies = format!("__Host-id={first}; __Host-id={second}");
    client.stranger().get_with(path, &[("cookie", &cookies)]).await
}

/// A token with a lifetime of 400 days that is not in the store. Anyone can write such a token.
fn forged() -> String {
    format!("{}.{}.Ag9YAA", "A".repeat(22), "A".repeat(43))
}

/// Only the token that the store accepts determines lifetimes, whether the other token comes before
/// or after it.
#[tokio::test]
async fn another_token_changes_no_lifetime() {
    let Fixture { client, .. } = fixture(SessionLayer::aal3);
    client.get("/sign-in/7").await;
    let good = client.token().unwrap();
    let rotated = with_both(&client, "/rotate", [&forged(), &good]).await;
    assert_eq!(age(&rotated), Some(None), "the cookie should still end with the browser");

    let Fixture { clock: other_clock, client: other, .. } = fixture(|layer| layer);
    other.get("/remember/7/30").await;
    let remembered = other.token().unwrap();
    for stale in [forged(), good] {
        let again = with_both(&other, "/age", [&stale, &remembered]).await;
        assert_eq!(again.text(), "Some(2592000)");
    }
    other_clock.advance(25 * DAY);
    let plain = format!("{}.{}", "A".repeat(22), "A".repeat(43));
    for cookies in [[&*plain, &*remembered], [&*remembered, &*plain]] {
        let lapsed = with_both(&other, "/pay", cookies).await;
        assert_eq!(
            lapsed.status,
            StatusCode::UNAUTHORIZED,
            "the authentication should have lapsed"
        );
    }
}

/// Both tokens belong to the browser: one is from an earlier sign-in, the other from the live
/// session.
#[tokio::test]
async fn a_stale_token_shortens_no_sign_in() {
    let Fixture { clock, client, .. } = fixture(|layer| layer.idle_timeout(HOUR));
    client.get("/remember/7/30").await;
    let stale = client.token().unwrap();
    client.get("/sign-out").await;
    client.forget("__Host-id");
    client.get("/sign-in/7").await;
    let good = client.token().unwrap();
    for _ in 0..12 {
        clock.advance(HOUR / 6);
        let reply = with_both(&client, "/who", [&stale, &good]).await;
        assert_eq!(reply.text(), "Some(7) Some(1)", "an active user should stay signed in");
    }
}

/// The second click presents the former secret, so it gets a session of its own.
#[tokio::test]
async fn a_second_click_keeps_the_lifetime_of_the_cookie() {
    let Fixture { client, .. } = fixture(|layer| layer);
    client.get("/remember/7/30").await;
    let second = client.steal();
    for click in [&client, &second] {
        assert_eq!(age(&click.get("/sign-in/7").await), Some(Some(30 * DAY)));
    }
    let life = CookieOptions::build().max_age(30 * 24 * 60 * 60);
    let Fixture { client, .. } = fixture(|layer| layer.with_cookie_options(life));
    client.get("/forget/7").await;
    let second = client.steal();
    for click in [&client, &second] {
        assert_eq!(
            age(&click.get("/sign-in/7").await),
            Some(None),
            "the cookie should end with the browser, as on a shared computer"
        );
    }
}
