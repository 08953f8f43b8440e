//! Who is signed in, how surely and since when, and all the sessions of somebody: over HTTP, and the
//! whole story on every store.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::Path,
    http::{StatusCode, header},
    routing::get,
};
use ruts::{
    Aal, Assurance, Error, Fresh, Session, SessionId, SessionLayer, SessionName, session,
    store::{
        OnLimit, Store,
        memory::{ManualClock, MemoryStore},
    },
};
use ruts_tests::{Browser, Fault, Probe, backends};

const MINUTE: Duration = Duration::from_secs(60);

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    cart: u32,
    #[field(default)]
    device: String,
}

struct Staff;

impl SessionName for Staff {
    const NAME: &str = "staff";
}

#[session(layer = Staff)]
struct Desk {
    #[field(principal)]
    user: String,
}

async fn sign_in(shop: Shop, Path((user, level)): Path<(String, u8)>) -> Result<(), Error> {
    let assurance = Assurance::from_level(level).expect("the tests name levels that there are");
    shop.user().sign_in(&user, assurance).await
}

async fn who(shop: Shop) -> Result<String, Error> {
    let signed_in = shop.session().signed_in().await?;
    let level = signed_in.map(|signed_in| (signed_in.assurance.level(), signed_in.ago.as_secs()));
    Ok(format!("{:?} {level:?}", shop.user().await?))
}

/// The devices of whoever is signed in, this one first.
async fn devices(shop: Shop) -> Result<String, Error> {
    let Some(sessions) = shop.session().sessions().await? else { return Ok(String::new()) };
    let page = sessions.list(Shop::DEVICE, None, 10).await?;
    let own = shop.session().id();
    let mut devices = Vec::new();
    for session in page.sessions {
        let device = session.fields.read(Shop::DEVICE)?;
        devices.push((Some(session.id) != own, device));
    }
    devices.sort();
    Ok(devices.into_iter().map(|(_, device)| device).collect::<Vec<_>>().join(","))
}

async fn end(shop: Shop, Path(id): Path<SessionId>) -> Result<String, Error> {
    let sessions = shop.session().sessions().await?.ok_or(Error::SignInRequired)?;
    Ok(sessions.revoke(&id).await?.to_string())
}

async fn end_others(shop: Shop) -> Result<String, Error> {
    let sessions = shop.session().sessions().await?.ok_or(Error::SignInRequired)?;
    Ok(sessions.revoke_others(shop.session()).await?.to_string())
}

fn routes() -> Router {
    Router::new()
        .route("/sign-in/{user}/{level}", get(sign_in))
        .route("/who", get(who))
        .route("/cart", get(|shop: Shop| async move { shop.set_cart(&1).await }))
        .route("/look", get(|shop: Shop| async move { shop.cart().await.map(|n| n.to_string()) }))
        .route(
            "/device/{name}",
            get(|shop: Shop, Path(name): Path<String>| async move { shop.set_device(&name).await }),
        )
        .route("/devices", get(devices))
        .route("/end/{id}", get(end))
        .route("/end-others", get(end_others))
        .route("/forget", get(|shop: Shop| async move { shop.user().remove().await.map(|_| ()) }))
        .route("/out", get(|session: Session| async move { session.delete().await }))
        .route("/expire", get(|session: Session| async move { session.expire(3600).await }))
        .route("/fresh", get(|Fresh(shop): Fresh<Shop, 5>| async move { who(shop).await }))
        .route("/aal1", get(|Aal(shop): Aal<Shop, 1>| async move { who(shop).await }))
        .route("/aal2", get(|Aal(shop): Aal<Shop, 2>| async move { who(shop).await }))
        .route("/both", get(|_: Aal<Shop, 2>, Fresh(shop): Fresh<Shop, 5>| who(shop)))
}

struct Fixture {
    clock: ManualClock,
    store: Probe<MemoryStore>,
    browser: Browser,
}

fn fixture(layer: impl FnOnce(SessionLayer) -> SessionLayer) -> Fixture {
    let clock = ManualClock::new();
    let store = Probe::new(MemoryStore::builder().clock(clock.clone()).build());
    let app = routes().layer(layer(SessionLayer::new(store.clone())));
    Fixture { clock, store, browser: Browser::new(app) }
}

async fn signed_in(browser: &Browser, user: &str, device: &str) -> Browser {
    let browser = browser.stranger();
    browser.text(&format!("/sign-in/{user}/1")).await;
    browser.text(&format!("/device/{device}")).await;
    browser
}

async fn status(browser: &Browser, path: &str) -> StatusCode {
    browser.get(path).await.status
}

// proves: NIST-5.1-d ASVS-6.8.4 CS-8
#[tokio::test]
async fn the_assurance_is_that_of_the_last_sign_in() {
    let Fixture { clock, browser, .. } = fixture(|layer| layer);
    browser.text("/cart").await;
    assert_eq!(browser.text("/who").await, "None None");
    for (user, level) in [("ada", 1), ("ada", 3), ("bob", 2), ("ada", 0)] {
        let thief = browser.steal();
        browser.text(&format!("/sign-in/{user}/{level}")).await;
        clock.advance(Duration::from_secs(10));
        let expected = format!("Some({user:?}) Some(({level}, 10))");
        assert_eq!(browser.text("/who").await, expected);
        assert_eq!(thief.text("/who").await, "None None", "the secret was replaced");
        browser.text("/cart").await;
        assert_eq!(browser.text("/who").await, expected, "nothing else changes it");
    }
    let thief = browser.steal();
    browser.text("/forget").await;
    assert_eq!(browser.text("/who").await, "None None");
    assert_eq!(browser.text("/look").await, "1", "the session stays");
    assert_eq!(thief.text("/look").await, "0");
}

// proves: NIST-5.2-b ASVS-7.3.2 NIST-5.2-e
#[tokio::test]
async fn authenticating_again_begins_the_session_anew() {
    let Fixture { clock, browser, .. } = fixture(SessionLayer::aal2);
    browser.text("/sign-in/ada/1").await;
    for _ in 0..3 {
        for _ in 0..46 {
            clock.advance(30 * MINUTE);
            browser.text("/who").await;
        }
        browser.text("/sign-in/ada/1").await;
    }
    browser.text("/expire").await;
    clock.advance(59 * MINUTE);
    assert!(
        browser.text("/who").await.starts_with("Some"),
        "an hour from now, days after it began"
    );
    clock.advance(MINUTE);
    assert_eq!(browser.text("/who").await, "None None");
}

// proves: ASVS-7.5.1 ASVS-7.5.3 NIST-5.1-c CS-13 AAL2
#[tokio::test]
async fn a_guard_lets_in_who_has_authenticated_well_and_lately() {
    let Fixture { clock, browser, store } = fixture(|layer| layer);
    let yes = StatusCode::OK;
    let no = StatusCode::UNAUTHORIZED;
    for path in ["/fresh", "/aal1", "/aal2", "/both"] {
        assert_eq!(status(&browser, path).await, no);
    }
    for (level, minutes, fresh, aal1, aal2, both) in [
        (0, 0, no, no, no, no),
        (1, 0, yes, yes, no, no),
        (1, 6, no, yes, no, no),
        (2, 0, yes, yes, yes, yes),
        (2, 6, no, yes, yes, no),
        (3, 4, yes, yes, yes, yes),
    ] {
        browser.text(&format!("/sign-in/ada/{level}")).await;
        clock.advance(minutes * MINUTE);
        for (path, expected) in
            [("/fresh", fresh), ("/aal1", aal1), ("/aal2", aal2), ("/both", both)]
        {
            assert_eq!(status(&browser, path).await, expected, "{path} {level} {minutes}");
        }
    }
    store.calls();
    browser.text("/both").await;
    assert_eq!(store.calls(), ["load", "load"], "one for both guards, one for the fields");
    browser.text("/forget").await;
    assert_eq!(status(&browser, "/aal1").await, no);
}

// proves: ASVS-7.5.1 ASVS-16.5.1
#[tokio::test]
async fn a_guard_says_what_is_missing_or_sends_to_the_page_for_it() {
    let Fixture { browser, .. } = fixture(|layer| layer.sign_in_page("/sign-in"));
    let html = [("accept", "text/html,application/xhtml+xml")];
    let challenge = async |browser: &Browser, path: &str| {
        let page = browser.get(path).await;
        assert_eq!((page.status, page.body.as_str()), (StatusCode::UNAUTHORIZED, ""));
        page.headers[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned()
    };
    assert_eq!(challenge(&browser, "/fresh").await, "Session");
    let page = browser.get_with("/fresh", &html).await;
    assert_eq!(
        (page.status, &page.headers[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/sign-in".parse().unwrap())
    );
    let page = browser.post_with("/fresh", &html).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    browser.text("/sign-in/ada/1").await;
    let missing = "Session error=\"insufficient_user_authentication\"";
    assert_eq!(challenge(&browser, "/aal2").await, format!("{missing}, acr_values=\"aal2\""));
    assert_eq!(status(&browser, "/fresh").await, StatusCode::OK);
    let Fixture { clock, browser, .. } = fixture(|layer| layer);
    browser.text("/sign-in/ada/1").await;
    clock.advance(6 * MINUTE);
    assert_eq!(challenge(&browser, "/fresh").await, format!("{missing}, max_age=\"300\""));
    let page = browser.get_with("/fresh", &html).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED, "no page was named");
}

#[test]
fn only_a_path_of_this_site_is_a_page_to_sign_in() {
    for path in ["", "sign-in", "//evil.example", "https://evil.example/", "/\\evil.example", "/\n"]
    {
        let layer = || SessionLayer::new(MemoryStore::new()).sign_in_page(path);
        assert!(std::panic::catch_unwind(layer).is_err(), "{path:?}");
    }
}

// proves: ASVS-7.5.2 ASVS-7.4.3 CS-17
#[tokio::test]
async fn somebody_sees_and_ends_sessions_of_their_own() {
    let Fixture { browser, store, .. } = fixture(|layer| layer);
    let phone = signed_in(&browser, "ada", "phone").await;
    let laptop = signed_in(&browser, "ada", "laptop").await;
    let theirs = signed_in(&browser, "bob", "tablet").await;
    assert_eq!(phone.text("/devices").await, "phone,laptop");
    assert_eq!(laptop.text("/devices").await, "laptop,phone");
    let id = |browser: &Browser| browser.token().unwrap()[..22].to_owned();
    let foreign = phone.text(&format!("/end/{}", id(&theirs))).await;
    assert_eq!(foreign, "false", "a session of somebody else");
    assert!(theirs.text("/who").await.starts_with("Some(\"bob\")"));

    assert_eq!(phone.text(&format!("/end/{}", id(&laptop))).await, "true");
    assert_eq!(laptop.text("/who").await, "None None");
    assert_eq!(phone.text("/devices").await, "phone");
    signed_in(&browser, "ada", "watch").await;
    let old = signed_in(&browser, "ada", "old").await;
    store.calls();
    assert_eq!(phone.text("/end-others").await, "2");
    assert_eq!(store.calls(), ["load", "revoke"]);
    old.text("/cart").await;
    assert_eq!(old.text("/who").await, "None None", "a write starts another session");
    assert_eq!(phone.text("/devices").await, "phone");
    assert_eq!(browser.stranger().text("/devices").await, "");
}

// proves: ASVS-7.5.2
#[tokio::test]
async fn a_list_holds_no_secret_and_no_hash() {
    let Fixture { browser, store, .. } = fixture(|layer| layer);
    let phone = signed_in(&browser, "ada", "phone").await;
    let store = Arc::new(store);
    let page = Shop::sessions(&store).by_user("ada").list((), None, 10).await.unwrap();
    let shown = format!("{page:?}");
    let token = phone.token().unwrap();
    assert!(shown.contains(&token[..22]) && !shown.contains(&token[23..]), "{shown}");
    assert!(!shown.contains("phone") && !shown.contains("ada"), "{shown}");
    let debug = format!("{:?} {:?}", Shop::sessions(&store), Shop::sessions(&store).by_user("ada"));
    assert!(!debug.contains("ada"), "{debug}");
}

// proves: ASVS-7.1.2
#[tokio::test]
async fn a_limit_holds_and_is_told() {
    let Fixture { browser, .. } = fixture(|layer| layer.max_sessions(2, OnLimit::Reject));
    let first = signed_in(&browser, "ada", "1").await;
    signed_in(&browser, "ada", "2").await;
    let third = browser.stranger();
    third.text("/cart").await;
    let before = third.token();
    let page = third.get("/sign-in/ada/1").await;
    assert_eq!((page.status, page.set_cookies().len()), (StatusCode::TOO_MANY_REQUESTS, 0));
    assert_eq!((third.token(), third.text("/look").await), (before, "1".to_owned()));
    assert_eq!(third.text("/who").await, "None None");
    assert_eq!(status(&browser.stranger(), "/sign-in/ada/1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(status(&third, "/sign-in/bob/1").await, StatusCode::OK);
    first.text("/out").await;
    signed_in(&browser, "ada", "3").await;

    let Fixture { clock, browser, .. } = fixture(|layer| layer.max_sessions(2, OnLimit::EndOldest));
    let mut devices = Vec::new();
    for device in ["1", "2", "3"] {
        clock.advance(MINUTE);
        devices.push(signed_in(&browser, "ada", device).await);
    }
    assert_eq!(devices[0].text("/who").await, "None None");
    assert_eq!(devices[2].text("/devices").await, "3,2");
}

/// The store did it, the answer was lost, and before the request goes on all sessions are ended.
// proves: ASVS-7.4.2
#[tokio::test]
async fn a_sign_in_whose_answer_was_lost_does_not_outlive_a_revocation() {
    let store = Arc::new(Probe::new(MemoryStore::new()));
    let index = Shop::sessions(&store);
    let revoked = index.clone();
    let app = Router::new()
        .route("/cart", get(|shop: Shop| async move { shop.set_cart(&1).await }))
        .route(
            "/sign-in/{revoked}",
            get(
                |shop: Shop,
                 Path(is_revoked): Path<bool>,
                 Extension(store): Extension<Arc<Probe<MemoryStore>>>| async move {
                    store.fail_next(Fault::AnswerLost);
                    assert!(shop.set_user("ada").await.is_err());
                    if is_revoked {
                        revoked.by_user("ada").revoke_all().await?;
                    }
                    who(shop).await
                },
            ),
        )
        .layer(Extension(Arc::clone(&store)))
        .layer(SessionLayer::new(Arc::clone(&store)));
    for (is_revoked, expected) in [(false, "Some(\"ada\") Some((1, 0))"), (true, "None None")] {
        let browser = Browser::new(app.clone());
        browser.text("/cart").await;
        assert_eq!(browser.text(&format!("/sign-in/{is_revoked}")).await, expected);
        let listed = index.by_user("ada").list((), None, 10).await.unwrap().sessions.len();
        assert_eq!(listed, usize::from(!is_revoked));
    }
}

#[tokio::test]
async fn layers_and_fields_have_principals_of_their_own() {
    let store = Arc::new(MemoryStore::new());
    let app = Router::new()
        .route("/desk", get(|desk: Desk| async move { desk.set_user("ada").await }))
        .merge(routes())
        .layer(SessionLayer::new(&store))
        .layer(SessionLayer::new(&store).named::<Staff>());
    let browser = Browser::new(app);
    browser.text("/desk").await;
    browser.text("/sign-in/ada/1").await;
    let list = async |sessions: ruts::PrincipalSessions| {
        sessions.list((), None, 10).await.unwrap().sessions
    };
    assert_eq!(list(Shop::sessions(&store).by_user("ada")).await.len(), 1);
    assert_eq!(Desk::sessions(&store).by_user("ada").revoke_all().await.unwrap(), 1);
    assert_eq!(list(Shop::sessions(&store).by_user("ada")).await.len(), 1);
}

/// What a shop needs of its sessions, over HTTP.
async fn story<S: Store>(store: Arc<S>) {
    let app = routes().layer(SessionLayer::new(&store).max_sessions(5, OnLimit::Reject));
    let browser = Browser::new(app);
    let index = Shop::sessions(&store);
    let guest = browser.stranger();
    guest.text("/cart").await;
    let stolen = guest.steal();
    guest.text("/sign-in/ada/2").await;
    assert!(guest.text("/who").await.starts_with("Some(\"ada\") Some((2, "));
    assert_eq!(guest.text("/look").await, "1", "the cart is kept");
    assert_eq!(stolen.text("/who").await, "None None", "the old cookie is worth nothing");
    guest.text("/device/laptop").await;
    let phone = signed_in(&browser, "ada", "phone").await;
    let tablet = signed_in(&browser, "ada", "tablet").await;
    let bob = signed_in(&browser, "bob", "watch").await;
    assert_eq!(guest.text("/devices").await, "laptop,phone,tablet");
    let id = phone.token().unwrap()[..22].to_owned();
    assert_eq!(bob.text(&format!("/end/{id}")).await, "false");
    assert_eq!(guest.text(&format!("/end/{id}")).await, "true");
    assert_eq!(phone.text("/who").await, "None None");
    tablet.text("/out").await;
    let watch = signed_in(&browser, "ada", "watch").await;
    assert_eq!(guest.text("/devices").await, "laptop,watch");
    assert_eq!(guest.text("/end-others").await, "1");
    assert_eq!(watch.text("/who").await, "None None");
    assert_eq!(guest.text("/aal2").await, guest.text("/who").await);

    assert_eq!(index.by_user("ada").revoke_all().await.unwrap(), 1);
    assert_eq!(guest.text("/who").await, "None None");
    assert!(bob.text("/who").await.starts_with("Some(\"bob\")"));
    let ada = signed_in(&browser, "ada", "new").await;
    index.revoke_everyone().await.unwrap();
    for browser in [&ada, &bob] {
        assert_eq!(browser.text("/who").await, "None None");
    }
    let ada = signed_in(&browser, "ada", "newer").await;
    assert_eq!(ada.text("/devices").await, "newer");
}

/// Whoever was signed out elsewhere can sign in at once, in the browser that still has the cookie.
async fn back_again<S: Store>(store: Arc<S>) {
    let index = Shop::sessions(&store);
    let browser = Browser::new(routes().layer(SessionLayer::new(Arc::clone(&store))));
    let browser = signed_in(&browser, "eve", "laptop").await;
    index.by_user("eve").revoke_all().await.unwrap();
    let late = browser.steal();
    assert_eq!(late.text("/who").await, "None None");
    assert_eq!(late.token(), None, "the cookie that opens nothing is taken away");
    let former = browser.token();
    browser.text("/sign-in/eve/1").await;
    assert_ne!(browser.token(), former);
    assert_eq!(browser.text("/who").await, r#"Some("eve") Some((1, 0))"#);
}

/// A password was reset: all sessions are ended, this one too, and who did it signs in.
// proves: ASVS-7.4.3
#[tokio::test]
async fn all_sessions_are_ended_and_one_begins_in_the_same_request() {
    let store = MemoryStore::new();
    let index = Shop::sessions(store.clone());
    let reset = move |shop: Shop| async move {
        shop.user().await?;
        index.by_user("ada").revoke_all().await?;
        shop.set_user("ada").await
    };
    let app = routes().route("/reset", get(reset)).layer(SessionLayer::new(store));
    let browser = Browser::new(app);
    let here = signed_in(&browser, "ada", "here").await;
    let there = signed_in(&browser, "ada", "there").await;
    here.text("/reset").await;
    assert!(here.text("/who").await.contains("ada"));
    assert_eq!(there.text("/who").await, "None None");
}

/// The client has gone before it was told of its session.
#[tokio::test]
async fn a_sign_in_that_nobody_hears_of_leaves_no_session() {
    let store = Probe::new(MemoryStore::new());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let waiting = move |shop: Shop| async move {
        shop.set_user("ada").await.unwrap();
        tell.send(()).unwrap();
        std::future::pending::<()>().await;
    };
    let app = routes().route("/slow", get(waiting)).layer(SessionLayer::new(store.clone()));
    let browser = Browser::new(app);
    let request = tokio::spawn(async move { browser.get("/slow").await });
    told.recv().await.unwrap();
    let sessions = Shop::sessions(store.clone()).by_user("ada");
    assert_eq!(sessions.list((), None, 9).await.unwrap().sessions.len(), 1);
    let mut ended = store.pause_after("delete");
    request.abort();
    ended.reached().await;
    ended.go_on();
    assert!(sessions.list((), None, 9).await.unwrap().sessions.is_empty());
}

/// A session that has just begun, and somebody signs in along with it: nobody gets its cookie as long as it
/// is not known whether a revocation came between.
#[tokio::test]
async fn a_new_session_with_a_sign_in_in_doubt_is_not_handed_out() {
    for fault in [Fault::AnswerLost, Fault::Unreachable] {
        let store = Probe::new(MemoryStore::new());
        let probe = store.clone();
        let both = move |shop: Shop| async move {
            shop.set_cart(&1).await.unwrap();
            probe.fail_next(fault);
            shop.set_user("ada").await.map_err(|error| error.is_unknown()).unwrap_err().to_string()
        };
        let app = routes().route("/together", get(both)).layer(SessionLayer::new(store.clone()));
        let browser = Browser::new(app);
        let mut ended = store.pause_after("delete");
        let is_unknown = browser.text("/together").await;
        let sessions = Shop::sessions(store.clone()).by_user("ada");
        if is_unknown == "true" {
            assert_eq!(browser.token(), None);
            ended.reached().await;
            ended.go_on();
        } else {
            assert!(browser.token().is_some(), "nobody was signed in");
        }
        assert!(sessions.list((), None, 9).await.unwrap().sessions.is_empty());
    }
}

/// A guest's session and an account's, each with a cookie of its own.
// proves: CS-9
#[tokio::test]
async fn before_and_after_signing_in_the_cookie_can_have_another_name() {
    let store = MemoryStore::new();
    let account = |shop: Shop, desk: Desk| async move {
        desk.set_user("ada").await?;
        shop.session().delete().await
    };
    let app = Router::new()
        .route("/cart", get(|shop: Shop| async move { shop.set_cart(&1).await }))
        .route("/in", get(account))
        .route(
            "/who",
            get(|desk: Desk| async move { desk.user().await.map(|user| format!("{user:?}")) }),
        )
        .layer(SessionLayer::new(store.clone()))
        .layer(SessionLayer::new(store).named::<Staff>());
    let browser = Browser::new(app);
    browser.text("/cart").await;
    assert!(browser.token().is_some() && browser.cookie("__Host-id-staff").is_none());
    let guest = browser.steal();
    browser.text("/in").await;
    assert!(browser.token().is_none());
    let signed_in = browser.cookie("__Host-id-staff").expect("the other cookie");
    assert_eq!(browser.text("/who").await, r#"Some("ada")"#);
    // The one is worth nothing under the name of the other.
    guest.plant("__Host-id-staff", &guest.token().unwrap());
    assert_eq!(guest.text("/who").await, "None");
    let swapped = browser.stranger();
    swapped.plant("__Host-id", &signed_in);
    assert_eq!(swapped.text("/who").await, "None");
}

/// Back-channel logout of an identity provider: ended on every instance, the other sessions left alone.
async fn single_sign_on<S: Store>(stores: [Arc<S>; 2]) {
    let [app, other] = stores
        .each_ref()
        .map(|store| Browser::new(routes().layer(SessionLayer::new(Arc::clone(store)))));
    // The provider's session stands in a field.
    let work = signed_in(&app, "ada", "sid-1").await;
    let phone = signed_in(&app, "ada", "sid-2").await;
    let on_the_other = other.stranger();
    on_the_other.plant("__Host-id", &work.token().unwrap());
    assert_eq!(on_the_other.text("/look").await, "0");
    assert!(on_the_other.text("/who").await.contains("ada"));

    let sessions = Shop::sessions(&stores[1]).by_user("ada");
    let ended = sessions.revoke_if(Shop::DEVICE, |session| session == "sid-1").await.unwrap();
    assert_eq!(ended, 1);
    for browser in [&work, &on_the_other] {
        assert_eq!(browser.text("/who").await, "None None");
    }
    assert!(phone.text("/who").await.contains("ada"));
    let again = sessions.revoke_if(Shop::DEVICE, |session| session == "sid-1").await.unwrap();
    assert_eq!(again, 0);
}

macro_rules! stories {
    ($($backend:ident),+ $(,)?) => {
        $(
            // proves: ASVS-7.4.2 ASVS-7.4.5 ASVS-7.4.3 ASVS-7.2.4 ASVS-7.6.1
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $backend() {
                let pair = backends::$backend().await;
                story(pair.next()).await;
                back_again(pair.next()).await;
                single_sign_on([pair.next(), pair.next()]).await;
            }
        )+
    };
}

stories!(
    memory,
    redis_through_fred,
    valkey_through_fred,
    cluster_through_redis_rs,
    postgres,
    redis_over_postgres,
    memory_over_postgres,
);
