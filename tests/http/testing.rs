//! The security checks of `ruts::testing` on an application that follows all rules, and on one that
//! breaks them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use ruts::{
    Error, Session, SessionLayer,
    auth::Assurance,
    guard::{Aal, Fresh},
    layer::{ClearSiteData, CsrfLayer, TokenSource},
    session,
    store::{OnLimit, memory::MemoryStore},
    testing::{
        Client, ManualClock, Outcome, Report, SessionSecurity, assert_session_security,
        check_session_security, with_session,
    },
};

const HOUR: Duration = Duration::from_secs(60 * 60);

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    cart: u32,
}

fn careful(clock: &ManualClock) -> Router {
    limited(clock, 2, OnLimit::EndOldest)
}

fn limited(clock: &ManualClock, sessions: u32, on_limit: OnLimit) -> Router {
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let sessions = SessionLayer::new(store)
        .aal2()
        .max_sessions(sessions, on_limit)
        .clear_site_data(&[ClearSiteData::Storage]);
    let others = |session: Session| async move { session.revoke_others().await.map(drop) };
    let second = |shop: Shop| async move { shop.user().sign_in("ada", Assurance::Aal2).await };
    Router::new()
        .route("/", get(|| async { "welcome" }))
        .route("/account", get(|_: Aal<Shop, 1>| async { "yours" }))
        .route("/password", get(|_: Fresh<Shop, 5>| async { "change it" }))
        .route("/cart", post(|shop: Shop| async move { shop.set_cart(&1).await }))
        .route("/in", post(|shop: Shop| async move { shop.set_user("ada").await }))
        .route("/second", post(second))
        .route("/others", post(others))
        .route("/out", post(|session: Session| async move { session.delete().await }))
        .layer(sessions)
        .layer(CsrfLayer::new())
}

fn scenario(app: Router, clock: &ManualClock) -> SessionSecurity {
    SessionSecurity::new(
        Client::new(app),
        "/account",
        |client| async move { client.post("/in", "").await },
        |client| async move { client.post("/out", "").await },
    )
    .guest(|client| async move { client.post("/cart", "").await })
    .elevate(|client| async move { client.post("/second", "").await })
    .sign_out_others(|client| async move { client.post("/others", "").await })
    .lifetimes(clock, HOUR, 24 * HOUR)
    .fresh("/password", Duration::from_secs(5 * 60))
    .max_sessions(2)
}

// proves: ASVS-3.5.1 ASVS-7.1.2 ASVS-7.4.3 ASVS-7.5.1 ASVS-7.5.2 CS-8 CS-13 CS-17
#[tokio::test]
async fn a_careful_application_keeps_all_rules() {
    let clock = ManualClock::new();
    let scenario = scenario(careful(&clock), &clock);
    let report = check_session_security(&scenario).await;
    assert!(report.findings.iter().all(|finding| finding.outcome == Outcome::Kept), "\n{report}");
    assert_session_security(scenario).await;

    // The checks themselves sign in often, but few of their sessions are live at the same time.
    let app = limited(&clock, 3, OnLimit::Reject);
    assert_session_security(self::scenario(app, &clock).max_sessions(3)).await;
    let app = limited(&clock, 1, OnLimit::Reject);
    let report = check_session_security(&self::scenario(app, &clock).max_sessions(1)).await;
    assert_eq!(report.broken().count(), 0, "{report}");
    let finding = report.about("ASVS-7.4.3").unwrap();
    assert_eq!(finding.outcome, Outcome::NotChecked("max_sessions"), "needs two sessions");
}

/// A check must not count a rule as kept because an earlier step has failed.
#[tokio::test]
async fn a_sign_in_that_fails_is_a_broken_rule() {
    let clock = ManualClock::new();
    let sign_in = |client: Client| async move {
        if client.cookies().is_empty() {
            client.post("/in", "").await
        } else {
            client.get("/").await
        }
    };
    let sign_out = |client: Client| async move { client.post("/out", "").await };
    let app = careful(&clock);
    let scenario = SessionSecurity::new(Client::new(app), "/account", sign_in, sign_out)
        .guest(|client| async move { client.post("/cart", "").await })
        .elevate(|client| async move { client.post("/out", "").await });
    let report = check_session_security(&scenario).await;
    for id in ["ASVS-7.2.2", "ASVS-7.2.4", "CS-8"] {
        let finding = report.about(id).unwrap();
        assert!(matches!(finding.outcome, Outcome::Broken(_)), "{report}");
    }
}

#[tokio::test]
async fn a_check_without_its_part_of_the_scenario_is_reported_as_not_checked() {
    let clock = ManualClock::new();
    let scenario = SessionSecurity::new(
        Client::new(careful(&clock)),
        "/account",
        |client| async move { client.post("/in", "").await },
        |client| async move { client.post("/out", "").await },
    );
    let report = check_session_security(&scenario).await;
    assert_eq!(report.broken().count(), 0, "{report}");
    for id in ["CS-8", "ASVS-7.2.4", "ASVS-7.4.3", "ASVS-7.1.2", "ASVS-7.3.1", "ASVS-7.5.1"] {
        let finding = report.about(id).unwrap();
        assert!(matches!(finding.outcome, Outcome::NotChecked(_)), "{finding:?}");
    }
}

/// Careless sessions: the client chooses the id, the id is public, and no session ends.
#[derive(Clone, Default)]
struct Careless(Arc<Mutex<HashMap<String, bool>>>);

impl Careless {
    fn id(headers: &HeaderMap, query: &HashMap<String, String>) -> Option<String> {
        let cookies = headers.get(header::COOKIE).and_then(|cookies| cookies.to_str().ok());
        let pairs = cookies.unwrap_or_default().split("; ").filter_map(|pair| pair.split_once('='));
        let cookie = pairs.filter(|(name, _)| *name == "PHPSESSID").map(|(_, id)| id.to_owned());
        cookie.last().or_else(|| query.get("PHPSESSID").cloned())
    }
}

type Asked = (State<Careless>, Query<HashMap<String, String>>, HeaderMap);

/// Adopts the id that the client presents, or issues the next number.
fn begin(careless: &Careless, query: &HashMap<String, String>, headers: &HeaderMap) -> String {
    let mut sessions = careless.0.lock().unwrap();
    let next = sessions.len().to_string();
    let id = Careless::id(headers, query).unwrap_or(next);
    sessions.entry(id.clone()).or_insert(false);
    id
}

async fn home((State(careless), Query(query), headers): Asked) -> impl IntoResponse {
    let id = begin(&careless, &query, &headers);
    let cookie = format!("PHPSESSID={id}; Domain=app.example; Max-Age=86400; Path=/shop");
    ([(header::SET_COOKIE, cookie)], format!("welcome, {id}"))
}

async fn sign_in((State(careless), Query(query), headers): Asked) -> impl IntoResponse {
    let id = begin(&careless, &query, &headers);
    careless.0.lock().unwrap().insert(id.clone(), true);
    let cookie = format!("PHPSESSID={id}; Domain=app.example; Max-Age=86400; Path=/shop");
    ([(header::SET_COOKIE, cookie)], "hello")
}

async fn account((State(careless), Query(query), headers): Asked) -> impl IntoResponse {
    let Some(id) = Careless::id(&headers, &query) else {
        return (StatusCode::UNAUTHORIZED, String::new());
    };
    if id.is_empty() {
        return (StatusCode::INTERNAL_SERVER_ERROR, String::new());
    }
    match careless.0.lock().unwrap().get(&id) {
        Some(true) => (StatusCode::OK, format!("yours, {id}")),
        _ => (StatusCode::UNAUTHORIZED, String::new()),
    }
}

/// Removes the cookie, but does not end the session.
async fn sign_out() -> impl IntoResponse {
    [(header::SET_COOKIE, "PHPSESSID=; Max-Age=0")]
}

fn careless() -> Router {
    Router::new()
        .route("/", get(home))
        .route("/account", get(account))
        .route("/password", get(account))
        .route("/cart", post(home))
        .route("/in", post(sign_in))
        .route("/second", post(|| async {}))
        .route("/others", post(|| async {}))
        .route("/out", post(sign_out))
        .with_state(Careless::default())
}

fn broken(report: &Report) -> Vec<&'static str> {
    report.broken().map(|finding| finding.rule).collect()
}

/// Shows that each check can fail, except for two rules that the application follows by accident.
#[tokio::test]
async fn a_careless_application_breaks_the_rules() {
    let clock = ManualClock::new();
    let report = check_session_security(&scenario(careless(), &clock)).await;
    let kept: Vec<&str> = (report.findings.iter())
        .filter(|finding| finding.outcome == Outcome::Kept)
        .map(|finding| finding.rule)
        .collect();
    let by_accident = ["the cookie is not too long", "another site cannot end the session"];
    assert_eq!(kept, by_accident, "\n{report}");
    assert!(broken(&report).len() > 20, "\n{report}");
}

/// The sign-out works, but a link on another site can trigger it: `SameSite=Lax` allows links.
#[tokio::test]
async fn a_sign_out_by_a_link_is_found() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let app = Router::new()
        .route("/", get(|| async {}))
        .route("/account", get(|_: Aal<Shop, 1>| async {}))
        .route("/in", post(|shop: Shop| async move { shop.set_user("ada").await }))
        .route("/out", get(|session: Session| async move { session.delete().await }))
        .layer(SessionLayer::new(store));
    let scenario = SessionSecurity::new(
        Client::new(app),
        "/account",
        |client| async move { client.post("/in", "").await },
        |client| async move { client.get("/out").await },
    );
    let report = check_session_security(&scenario).await;
    let rules =
        ["a sign-out clears the browser's data of the site", "another site cannot end the session"];
    assert_eq!(broken(&report), rules, "\n{report}");
}

#[tokio::test]
async fn a_test_signs_in_without_a_form() {
    let layer = SessionLayer::new(MemoryStore::new());
    let who = |shop: Shop| async move {
        Ok::<_, Error>(shop.user().await?.unwrap_or_else(|| "guest".to_owned()))
    };
    let app = Router::new().route("/", get(who)).layer(layer.clone());
    let client = Client::new(app);
    let signed_in = with_session(&client, &layer, |shop: Shop| async move {
        shop.set_user("ada").await?;
        Ok::<_, Error>(shop.session().signed_in().await?.is_some())
    });
    assert!(signed_in.await.unwrap());
    assert_eq!(client.get("/").await.text(), "ada");
    assert_eq!(client.stranger().get("/").await.text(), "guest");
    with_session(&client, &layer, |shop: Shop| async move { shop.session().delete().await })
        .await
        .unwrap();
    assert_eq!(client.cookies(), Vec::<String>::new());
}

#[tokio::test]
async fn a_client_keeps_a_token_from_a_header() {
    let layer = SessionLayer::new(MemoryStore::new()).token_source(TokenSource::Header);
    let who = |shop: Shop| async move {
        Ok::<_, Error>(shop.user().await?.unwrap_or_else(|| "guest".to_owned()))
    };
    let app = Router::new().route("/", get(who)).layer(layer.clone());
    let client = Client::new(app);
    let signed_in = |shop: Shop| async move { shop.set_user("ada").await };
    with_session(&client, &layer, signed_in).await.unwrap();
    assert_eq!(client.get("/").await.text(), "ada");
    assert_eq!(client.steal().get("/").await.text(), "ada");
    assert_eq!(client.stranger().get("/").await.text(), "guest");
    let signed_out = |shop: Shop| async move { shop.session().delete().await };
    with_session(&client, &layer, signed_out).await.unwrap();
    assert_eq!(client.get("/").await.text(), "guest");
}

/// The headers of a request show which cookies the request carried.
#[tokio::test]
async fn a_request_of_another_site_carries_the_cookies_that_a_browser_would_send() {
    async fn set() -> impl IntoResponse {
        let cookies =
            ["strict=1; SameSite=Strict", "lax=1; SameSite=Lax", "open=1", "no=1; SameSite=None"];
        axum::response::AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie)))
    }

    async fn show(headers: HeaderMap) -> String {
        let cookies = headers.get(header::COOKIE).map(|cookies| cookies.to_str().unwrap());
        cookies.unwrap_or_default().to_owned()
    }

    let client =
        Client::new(Router::new().route("/", get(set)).route("/show", get(show).post(show)));
    client.get("/").await;
    client.plant("planted", "1");
    let all = "lax=1; no=1; open=1; planted=1; strict=1";
    assert_eq!(client.get("/show").await.text(), all);
    assert_eq!(client.post("/show", "").await.text(), all);
    let site = |site| client.clone().with_header(HeaderName::from_static("sec-fetch-site"), site);
    assert_eq!(site("same-site").post("/show", "").await.text(), all);
    let other = site("cross-site");
    assert_eq!(other.get("/show").await.text(), "lax=1; no=1; open=1; planted=1");
    assert_eq!(other.post("/show", "").await.text(), "no=1; open=1; planted=1");
}

#[tokio::test]
async fn cookies_of_a_client_expire() {
    let reply = |attributes: &'static str| async move {
        [(header::SET_COOKIE, format!("name=value{attributes}"))]
    };
    let year_9999 = "; Expires=Fri, 31 Dec 9999 23:59:59 GMT";
    let year_2000 = "; Expires=Sat, 01 Jan 2000 00:00:00 GMT";
    for (attributes, at_once, in_an_hour, closed) in [
        ("", true, true, false),
        ("; Max-Age=3600", true, false, true),
        ("; Max-Age=3601", true, true, true),
        ("; Max-Age=0", false, false, false),
        ("; Max-Age=-1", false, false, false),
        ("; Max-Age=99999999999999", true, true, true),
        (year_9999, true, true, true),
        (year_2000, false, false, false),
        ("; Max-Age=3601; Expires=Sat, 01 Jan 2000 00:00:00 GMT", true, true, true),
    ] {
        let clock = ManualClock::new();
        let app = Router::new().route("/", get(move || reply(attributes)));
        let client = Client::new(app).with_clock(&clock);
        client.get("/").await;
        let is_kept = |client: &Client| client.cookie("name").is_some();
        assert_eq!(is_kept(&client), at_once, "{attributes}");
        let browser = client.steal();
        browser.close();
        assert_eq!(is_kept(&browser), closed, "{attributes}");
        clock.advance(HOUR);
        assert_eq!(is_kept(&client), in_an_hour, "{attributes}");
    }
}
