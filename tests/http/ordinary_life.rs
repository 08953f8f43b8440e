//! Double clicks, lost answers, the next user of a browser, and other ordinary events. Each gets
//! the right answer, and none causes an error of the server.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, StatusCode, header},
    routing::get,
};
use futures_util::stream;
use ruts::{
    CookieOptions, Error, Session, SessionLayer,
    client::{ClientChangeAction, ClientFingerprint},
    cookie::SameSite,
    guard::{Aal, Fresh},
    layer::{ClearSiteData, TokenSource},
    session,
    session::LayerName,
    store::memory::{ManualClock, MemoryStore},
    testing::Client,
};
use ruts_tests_support::{ClientExt, InstrumentedStore, Log, TokioClock, new_client};

/// Longer than the five seconds in which a request counts as late.
const LONG_AGO: Duration = Duration::from_secs(6);

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default)]
    cart: Vec<String>,
    #[field(default)]
    visits: u64,
    #[field(once)]
    flash: String,
    #[field(rotate)]
    currency: String,
}

/// A second schema of the same session, with a different principal field.
#[session]
struct Office {
    #[field(principal)]
    admin: u64,
}

struct Fixture {
    clock: ManualClock,
    store: InstrumentedStore<MemoryStore>,
    client: Client,
}

fn routes() -> Router {
    Router::new()
        .route(
            "/add",
            get(|shop: Shop| async move { shop.set_cart(&vec!["tea".to_owned()]).await }),
        )
        .route(
            "/cart",
            get(|shop: Shop| async move { Ok::<_, Error>(shop.cart().await?.join(",")) }),
        )
        .route("/choose", get(|shop: Shop| async move { shop.set_currency("EUR").await }))
        .route("/sign-in", get(|shop: Shop| async move { shop.set_user(&7).await }))
        .route("/sign-in-as-8", get(|shop: Shop| async move { shop.set_user(&8).await }))
        .route("/admin", get(|office: Office| async move { office.set_admin(&1).await }))
        .route("/sign-out", get(|session: Session| async move { session.delete().await }))
        .route(
            "/page",
            get(|shop: Shop| async move {
                let visits = shop.visits().update(|visits| *visits += 1);
                visits.await?;
                Ok::<_, Error>(format!("{:?}", shop.user().await?))
            }),
        )
        .route(
            "/who",
            get(|shop: Shop, office: Office| async move {
                let (user, admin) = (shop.user().await?, office.admin().await?);
                Ok::<_, Error>(format!("{user:?} {admin:?}"))
            }),
        )
        .route("/fresh", get(|_: Fresh<Shop, 5>| async { "fresh" }))
        .route("/aal1", get(|_: Aal<Shop, 1>| async { "aal1" }))
        .route(
            "/read",
            get(|shop: Shop| async move { Ok::<_, Error>(shop.visits().await?.to_string()) }),
        )
        .route("/unrelated", get(|| async { "no session is used" }))
        .route("/extracted", get(|_: Shop| async { "no session is used" }))
        .route(
            "/stream",
            get(|shop: Shop| async move {
                let cart = async move {
                    let cart = shop.cart().await.map_err(std::io::Error::other)?;
                    Ok::<_, std::io::Error>(cart.join(","))
                };
                Body::from_stream(stream::once(cart))
            }),
        )
}

fn fixture() -> Fixture {
    let clock = ManualClock::new();
    let store = InstrumentedStore::new(MemoryStore::builder().clock(clock.clone()).build());
    let layer = SessionLayer::new(store.clone()).renew_every(Duration::from_secs(3600));
    Fixture { clock, store, client: new_client(routes().layer(layer)) }
}

/// Returns a client that has a cart, and that lost the answer to its request for `path`.
async fn unheard(fixture: &Fixture, path: &str) -> Client {
    let client = fixture.client.stranger();
    client.text("/add").await;
    let lost = client.steal();
    assert_eq!(lost.get(path).await.status, StatusCode::OK);
    client
}

#[tokio::test]
async fn a_sign_in_whose_answer_was_lost_works_again_at_once() {
    let fixture = fixture();
    for wait in [Duration::ZERO, LONG_AGO, Duration::from_secs(30), Duration::from_secs(120)] {
        let client = unheard(&fixture, "/sign-in").await;
        fixture.clock.advance(wait);
        assert_eq!(client.get("/sign-in").await.status, StatusCode::OK, "{wait:?}");
        assert_eq!(client.text("/page").await, "Some(7)");
        assert_eq!(client.text("/cart").await, "tea", "the sign-in should keep the cart");
    }
}

/// The user clicks again before there is an answer, so the browser cancels the first request.
#[tokio::test]
async fn a_cancelled_sign_in_costs_no_cart() {
    let (send, mut signed_in) = tokio::sync::mpsc::unbounded_channel();
    let slow = move |shop: Shop| async move {
        shop.set_user(&7).await.unwrap();
        send.send(()).unwrap();
        std::future::pending::<()>().await;
    };
    let store = MemoryStore::new();
    let client = new_client(routes().route("/slow", get(slow)).layer(SessionLayer::new(store)));
    client.text("/add").await;
    // A guest signs in. Later the user signs in again.
    for _ in 0..2 {
        let tab = client.clone();
        let request = tokio::spawn(async move { tab.get("/slow").await });
        signed_in.recv().await.unwrap();
        request.abort();
        assert!(request.await.is_err());
        assert_eq!(client.get("/sign-in").await.status, StatusCode::OK);
        assert_eq!(client.text("/page").await, "Some(7)");
        assert_eq!(client.text("/cart").await, "tea");
    }
}

#[tokio::test]
async fn another_user_does_not_get_the_cart_of_an_unheard_sign_in() {
    let fixture = fixture();
    let client = unheard(&fixture, "/sign-in").await;
    client.text("/sign-in-as-8").await;
    assert_eq!(
        (client.text("/page").await, client.text("/cart").await),
        ("Some(8)".into(), "".into())
    );
}

#[tokio::test]
async fn a_guest_keeps_the_cart_of_a_rotation_whose_answer_was_lost() {
    let fixture = fixture();
    for wait in [Duration::ZERO, LONG_AGO, Duration::from_secs(120)] {
        for (user, path) in [("7", "/sign-in"), ("8", "/sign-in-as-8")] {
            let client = unheard(&fixture, "/choose").await;
            fixture.clock.advance(wait);
            client.text(path).await;
            assert_eq!(client.text("/page").await, format!("Some({user})"), "{wait:?}");
            assert_eq!(client.text("/cart").await, "tea", "{wait:?}");
        }
    }
}

/// If a client never gets the new secret of a rotation, that secret is never used. After the new
/// secret is used, the former one counts as stolen.
#[tokio::test]
async fn a_former_secret_gets_no_cart_of_a_guest_who_goes_on() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let (idle, hour) = (Duration::from_secs(8 * 3600), Duration::from_secs(3600));
    let fixture = |layer: SessionLayer| new_client(routes().layer(layer.idle_timeout(idle)));

    let rotates = fixture(SessionLayer::new(store.clone()));
    rotates.text("/add").await;
    let thief = rotates.steal();
    rotates.text("/choose").await;
    clock.advance(hour * 2);
    assert_eq!(rotates.text("/cart").await, "tea");
    thief.text("/sign-in-as-8").await;
    assert_eq!(
        (thief.text("/who").await, thief.text("/cart").await),
        ("Some(8) None".into(), "".into())
    );

    let grace = Duration::from_secs(10);
    let renews = fixture(SessionLayer::new(store).renew_every(hour).renewal_grace(grace));
    renews.text("/add").await;
    let thief = renews.steal();
    clock.advance(hour);
    renews.text("/cart").await;
    renews.text("/cart").await;
    clock.advance(grace);
    thief.text("/sign-in-as-8").await;
    assert_eq!(
        (thief.text("/who").await, thief.text("/cart").await),
        ("Some(8) None".into(), "".into())
    );
    assert_eq!(renews.text("/cart").await, "tea");
}

#[tokio::test]
async fn a_page_works_again_once_no_request_can_be_late() {
    let fixture = fixture();
    for path in ["/sign-in", "/sign-out"] {
        let client = unheard(&fixture, path).await;
        let late = client.get("/page").await;
        assert_eq!(late.status, StatusCode::CONFLICT, "a late write should be refused");
        assert!(late.set_cookies().is_empty());
        assert_eq!(
            client.get("/read").await.status,
            StatusCode::OK,
            "a late read should not be an error"
        );
        fixture.clock.advance(LONG_AGO);
        assert_eq!(client.text("/page").await, "None", "{path}");
        assert_eq!(client.text("/read").await, "1");
    }
}

/// The state of the secret that a request presents.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Presented {
    Valid,
    Replaced,
    ReplacedTwice,
    Deleted,
    Revoked,
    /// Replaced. Then the session was revoked.
    ReplacedAndRevoked,
    Unknown,
    Nothing,
}

/// The expected `Set-Cookie`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cookie {
    Nothing,
    Set,
    Removed,
}

/// Every cell of the table in `docs/late-requests.md`.
#[tokio::test]
async fn every_old_secret_gets_the_answer_of_the_table() {
    use Cookie::{Removed, Set};
    use Presented::{
        Deleted, Replaced, ReplacedAndRevoked, ReplacedTwice, Revoked, Unknown, Valid,
    };
    const PATHS: [&str; 4] = ["/read", "/add", "/sign-in", "/sign-out"];
    let keep = Cookie::Nothing;
    let table = [
        (Valid, false, [(200, keep), (200, keep), (200, Set), (200, Removed)], None),
        (Replaced, true, [(200, keep), (409, keep), (200, Set), (409, keep)], Some("reuse")),
        (Replaced, false, [(200, keep), (200, Set), (200, Set), (200, Removed)], Some("reuse")),
        (ReplacedTwice, true, [(200, keep), (409, keep), (200, Set), (409, keep)], Some("unknown")),
        (
            ReplacedTwice,
            false,
            [(200, keep), (200, Set), (200, Set), (200, Removed)],
            Some("unknown"),
        ),
        (Deleted, true, [(200, keep), (409, keep), (200, Set), (200, keep)], None),
        (Deleted, false, [(200, keep), (200, Set), (200, Set), (200, Removed)], Some("reuse")),
        (Revoked, false, [(200, keep), (200, Set), (200, Set), (200, Removed)], Some("unknown")),
        (
            ReplacedAndRevoked,
            false,
            [(200, keep), (200, Set), (200, Set), (200, Removed)],
            Some("unknown"),
        ),
        (Unknown, false, [(200, keep), (200, Set), (200, Set), (200, Removed)], Some("unknown")),
        (Presented::Nothing, false, [(200, keep), (200, Set), (200, Set), (200, keep)], None),
    ];
    for (presented, is_late, row, event) in table {
        for (path, (status, cookie)) in PATHS.into_iter().zip(row) {
            let fixture = fixture();
            let client = match presented {
                Presented::Nothing => fixture.client.stranger(),
                Replaced => unheard(&fixture, "/sign-in-as-8").await,
                ReplacedTwice => {
                    let client = fixture.client.stranger();
                    client.text("/add").await;
                    let other_tab = client.steal();
                    other_tab.text("/sign-in").await;
                    other_tab.text("/sign-in-as-8").await;
                    client
                }
                Deleted => unheard(&fixture, "/sign-out").await,
                Revoked => {
                    let client = fixture.client.stranger();
                    client.text("/sign-in").await;
                    client
                }
                ReplacedAndRevoked => unheard(&fixture, "/sign-in").await,
                Valid | Unknown => {
                    let client = fixture.client.stranger();
                    client.text("/add").await;
                    client
                }
            };
            match presented {
                Revoked | ReplacedAndRevoked => {
                    let sessions = Shop::sessions(fixture.store.clone()).by_user(&7);
                    assert_eq!(sessions.revoke_all().await.unwrap(), 1);
                }
                Unknown => fixture.clock.advance(Duration::from_secs(8 * 24 * 3600)),
                Replaced | ReplacedTwice | Deleted if !is_late => fixture.clock.advance(LONG_AGO),
                _ => {}
            }
            let (log, guard) = Log::start();
            let reply = client.get(path).await;
            let cell = format!("{presented:?}, late: {is_late}, {path}");
            let got = match &reply.set_cookies()[..] {
                [] => keep,
                [cookie] if cookie.value().is_empty() => Removed,
                [_] => Set,
                _ => panic!("{cell}: the response should set at most one cookie"),
            };
            assert_eq!((reply.status.as_u16(), got), (status, cookie), "{cell}");
            if path == "/read" {
                assert_eq!(reply.text(), "0", "{cell}");
            }
            if let Some(event) = event {
                assert!(log.text().contains(event), "{cell}: {}", log.text());
            }
            assert!(!log.text().contains("ERROR"), "{cell}: {}", log.text());
            drop(guard);
        }
    }
}

#[tokio::test]
async fn a_late_write_is_no_error_of_the_server() {
    let fixture = fixture();
    let client = unheard(&fixture, "/sign-out").await;
    let (log, _guard) = Log::start();
    assert_eq!(client.get("/page").await.status, StatusCode::CONFLICT);
    assert!(!log.text().contains("ERROR"), "{}", log.text());
}

/// If a slow response removed the cookie, it would remove the cookie of a newer sign-in.
#[tokio::test]
async fn a_slow_answer_takes_no_cookie_away() {
    let Fixture { clock, store, client } = fixture();
    client.text("/add").await;
    clock.advance(Duration::from_secs(8 * 24 * 3600));
    let mut pause = store.pause_after("load");
    let slow = client.steal();
    let slow = tokio::spawn(async move { slow.get("/read").await });
    pause.reached().await;
    client.text("/sign-in").await;
    pause.resume();
    assert!(slow.await.unwrap().set_cookies().is_empty());
}

/// A slow response with a renewed secret would overwrite the cookie of a newer sign-in.
#[tokio::test]
async fn a_renewal_gives_way_to_a_sign_in() {
    let Fixture { clock, store, client } = fixture();
    client.text("/add").await;
    clock.advance(Duration::from_secs(2 * 3600));
    let mut pause = store.pause_after("load");
    let slow = client.steal();
    let slow = tokio::spawn(async move { slow.get("/read").await });
    pause.reached().await;
    client.text("/sign-in").await;
    pause.resume();
    assert!(slow.await.unwrap().set_cookies().is_empty());
    assert_eq!(client.text("/page").await, "Some(7)");
}

/// A handler ends its own session in another task, which has no access to the request.
#[tokio::test]
async fn a_handler_whose_task_ends_its_own_session_goes_on_as_a_guest() {
    let end = |shop: Shop| async move {
        let sessions = shop.session().sessions().await?.expect("a user should be signed in");
        let task = tokio::spawn(async move { sessions.revoke_all().await });
        assert_eq!(task.await.unwrap()?, 1);
        shop.set_flash("Signed out everywhere").await
    };
    let client =
        new_client(routes().route("/end", get(end)).layer(SessionLayer::new(MemoryStore::new())));
    client.text("/sign-in").await;
    client.text("/end").await;
    assert_eq!(client.text("/who").await, "None None");
}

#[tokio::test]
async fn a_handler_that_ends_its_own_session_goes_on_as_a_guest() {
    let store = Arc::new(MemoryStore::new());
    let index = Shop::sessions(&store);
    let everyone = index.clone();
    let app = routes()
        .route(
            "/close-account",
            get(move |shop: Shop| async move {
                index.by_user(&7).revoke_all().await?;
                let user = shop.user().await?;
                shop.set_flash("Goodbye").await?;
                Ok::<_, Error>(format!("{user:?} {:?}", shop.flash().take().await?))
            }),
        )
        .route(
            "/end-all",
            get(move |shop: Shop| async move {
                shop.user().await?;
                everyone.revoke_everyone().await?;
                shop.set_flash("Goodbye").await
            }),
        )
        .layer(SessionLayer::new(Arc::clone(&store)));
    let client = new_client(app);
    for path in ["/close-account", "/end-all"] {
        client.text("/sign-in").await;
        client.text("/add").await;
        let reply = client.get(path).await;
        assert_eq!((reply.status, reply.set_cookies().len()), (StatusCode::OK, 1), "{path}");
        assert_eq!(client.text("/page").await, "None");
        assert_eq!(client.text("/cart").await, "");
    }
}

#[tokio::test]
async fn another_principal_starts_clean_and_a_guest_keeps_the_cart() {
    let Fixture { client, .. } = fixture();
    client.text("/add").await;
    client.text("/sign-in").await;
    assert_eq!(client.text("/cart").await, "tea", "the sign-in should keep the cart of the guest");
    client.text("/sign-in").await;
    assert_eq!(
        client.text("/cart").await,
        "tea",
        "a second sign-in by the same user should keep the cart"
    );
    client.text("/sign-in-as-8").await;
    assert_eq!(client.text("/cart").await, "");
    assert_eq!(client.text("/page").await, "Some(8)");
}

#[tokio::test]
async fn of_two_principal_schemas_the_last_sign_in_counts() {
    let Fixture { client, .. } = fixture();
    client.text("/admin").await;
    assert_eq!(client.text("/who").await, "None Some(1)");
    assert_eq!(
        client.get("/fresh").await.status,
        StatusCode::UNAUTHORIZED,
        "the sign-in of one schema should not count for the other"
    );
    assert_eq!(client.get("/aal1").await.status, StatusCode::UNAUTHORIZED);
    client.text("/sign-in").await;
    assert_eq!(client.text("/who").await, "Some(7) None");
    assert_eq!(client.text("/fresh").await, "fresh");
    client.text("/admin").await;
    assert_eq!(client.get("/aal1").await.status, StatusCode::UNAUTHORIZED);
}

/// `get_all` leaves out the reserved field that holds the seed of the CSRF tokens.
#[tokio::test]
async fn a_list_of_all_fields_has_no_reserved_field() {
    let names = |session: Session| async move {
        session.csrf_token().await?;
        let all = session.get_all().await?.expect("the session should be live");
        Ok::<_, Error>(all.names().collect::<Vec<_>>().join(" "))
    };
    let layer = SessionLayer::new(MemoryStore::new());
    let client = new_client(routes().route("/names", get(names)).layer(layer));
    client.text("/add").await;
    assert_eq!(client.text("/names").await, "cart");
}

#[tokio::test]
async fn a_guard_may_allow_any_time_since_the_sign_in() {
    let page = |_: Fresh<Shop, { u64::MAX }>| async {};
    let layer = SessionLayer::new(MemoryStore::new());
    let client = new_client(routes().route("/ever", get(page)).layer(layer));
    client.text("/sign-in").await;
    assert_eq!(client.get("/ever").await.status, StatusCode::OK);
}

/// After a restart, the layer knows the schema only through `SessionLayer::schema`.
#[tokio::test]
async fn a_sign_out_by_name_needs_no_earlier_use_of_the_schema() {
    let store = MemoryStore::new();
    let app = |layer: SessionLayer| {
        let remove = |session: Session| async move { session.remove("user").await.map(drop) };
        new_client(routes().route("/remove", get(remove)).layer(layer.schema::<Shop>()))
    };
    let before = app(SessionLayer::new(store.clone()));
    let after = app(SessionLayer::new(store.clone()));
    before.text("/sign-in").await;
    let client = before.after_a_restart(&after);
    client.text("/remove").await;
    assert_eq!(client.text("/page").await, "None");
    let listed = Shop::sessions(store).by_user(&7).list((), None, 10).await.unwrap();
    assert!(listed.sessions.is_empty(), "a sign-out should remove the session from the list");
}

#[tokio::test]
async fn a_lifetime_of_zero_removes_a_principal_by_name() {
    let set = |shop: Shop| async move { shop.session().set("user", &7_u64, Some(0), None).await };
    let layer = SessionLayer::new(MemoryStore::new());
    let client = new_client(routes().route("/set", get(set)).layer(layer));
    client.text("/sign-in").await;
    client.text("/set").await;
    assert_eq!(client.text("/page").await, "None");
    assert_eq!(client.text("/who").await, "None None");
}

#[tokio::test]
async fn a_principal_is_not_written_by_name() {
    let app = Router::new()
        .route(
            "/forge",
            get(|shop: Shop| async move {
                let forged = shop.session().set("user", &7_u64, None, None).await;
                forged.unwrap_err().to_string()
            }),
        )
        .route(
            "/expire",
            get(|shop: Shop| async move {
                shop.session().expire_field("user", 60).await.unwrap_err().to_string()
            }),
        )
        .route(
            "/remove",
            get(|shop: Shop| async move {
                let was_there = shop.session().remove("user").await?;
                let signed_in = shop.session().signed_in().await?.is_some();
                Ok::<_, Error>(format!("{was_there} {signed_in}"))
            }),
        )
        .merge(routes())
        .layer(SessionLayer::new(MemoryStore::new()));
    let client = new_client(app);
    let refused = Error::PrincipalField("user".to_owned()).to_string();
    assert_eq!(client.text("/forge").await, refused);
    client.text("/sign-in").await;
    for path in ["/forge", "/expire"] {
        assert_eq!(client.text(path).await, refused);
    }
    assert_eq!(client.text("/page").await, "Some(7)");
    let tab = client.steal();
    assert_eq!(client.text("/remove").await, "true false");
    assert_eq!(tab.text("/who").await, "None None", "the replaced secret should be refused");
}

/// The TTL of a principal field limits the sign-in, not only the value.
#[tokio::test]
async fn the_value_of_a_principal_and_the_sign_in_end_together() {
    #[session]
    struct Brief {
        #[field(ttl = "1h", principal)]
        user: u64,
    }
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let app = Router::new()
        .route("/in", get(|brief: Brief| async move { brief.set_user(&7).await }))
        .route(
            "/who",
            get(|brief: Brief| async move {
                let signed_in = brief.session().signed_in().await?.is_some();
                Ok::<_, Error>(format!("{:?} {signed_in}", brief.user().await?))
            }),
        )
        .route("/aal1", get(|_: Aal<Brief, 1>| async { "aal1" }))
        .layer(SessionLayer::new(store));
    let client = new_client(app);
    client.text("/in").await;
    clock.advance(Duration::from_secs(3599));
    assert_eq!(client.text("/who").await, "Some(7) true");
    clock.advance(Duration::from_secs(1));
    assert_eq!(client.text("/who").await, "None false");
    assert_eq!(client.get("/aal1").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_same_layer_twice_is_one() {
    let layer = SessionLayer::new(MemoryStore::new());
    let client = new_client(routes().layer(layer.clone()).layer(layer));
    let reply = client.get("/sign-in").await;
    assert_eq!(reply.set_cookies().len(), 1);
    assert_eq!(client.text("/page").await, "Some(7)");
}

#[tokio::test]
async fn two_layers_of_one_name_are_reported_and_the_outer_one_serves() {
    let (log, _guard) = Log::start();
    let reports = || log.text().matches("two different session layers of one name").count();
    let [inner, outer] = [(); 2].map(|()| SessionLayer::new(MemoryStore::new()));
    let client = new_client(routes().layer(inner).layer(outer));
    assert_eq!(client.get("/sign-in").await.set_cookies().len(), 1);
    assert_eq!(client.text("/page").await, "Some(7)");
    assert_eq!(reports(), 1, "{}", log.text());

    // A clone with different settings is a different layer.
    let settings: [fn(SessionLayer) -> SessionLayer; 6] = [
        SessionLayer::aal3,
        |layer| layer.idle_timeout(Duration::from_secs(60)),
        |layer| layer.with_cookie_options(CookieOptions::build().same_site(SameSite::Strict)),
        |layer| layer.token_source(TokenSource::Header),
        |layer| layer.clear_site_data(&[ClearSiteData::Storage]),
        |layer| layer.watch_clients(|_, _| ClientFingerprint::new(), |_| ClientChangeAction::End),
    ];
    for (before, change) in settings.into_iter().enumerate() {
        let layer = SessionLayer::new(MemoryStore::new());
        let client = new_client(routes().layer(change(layer.clone())).layer(layer));
        client.get("/sign-in").await;
        assert_eq!(reports(), before + 2, "{}", log.text());
    }
}

struct Staff;

impl LayerName for Staff {
    const NAME: &str = "staff";
}

#[tokio::test]
async fn layers_of_different_names_stay_apart() {
    let [inner, outer] = [(); 2].map(|()| SessionLayer::new(MemoryStore::new()));
    let client = new_client(routes().layer(inner).layer(outer.named::<Staff>()));
    assert_eq!(client.get("/sign-in").await.set_cookies().len(), 1);
    assert_eq!(client.text("/page").await, "Some(7)");
}

/// When the upload ends, the store no longer recognises the secret of the deleted session, and the
/// browser has a newer session.
#[tokio::test(start_paused = true)]
async fn a_long_upload_does_not_replace_a_newer_sign_in() {
    for seconds in [30, 180] {
        let store = MemoryStore::builder().clock(TokioClock::start()).build();
        let upload = move |shop: Shop| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            shop.set_flash("Uploaded.").await
        };
        let app = routes().route("/upload", get(upload)).layer(SessionLayer::new(store));
        let client = new_client(app);
        client.text("/sign-in").await;
        let upload = tokio::spawn({
            let client = client.clone();
            async move { client.get("/upload").await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.text("/sign-out").await;
        client.text("/sign-in").await;
        assert_eq!(upload.await.unwrap().status, StatusCode::CONFLICT);
        assert_eq!(client.text("/page").await, "Some(7)");
    }
}

/// A future that is polled once and then held does not block other uses of the session for ever.
#[tokio::test(start_paused = true)]
async fn a_future_that_is_held_is_reported() {
    let app = Router::new()
        .route(
            "/",
            get(|shop: Shop| async move {
                let held = shop.visits().update(|visits| *visits += 1);
                tokio::pin!(held);
                let first = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(Future::poll(held.as_mut(), cx).is_pending())
                });
                assert!(first.await);
                assert!(matches!(shop.cart().await, Err(Error::Busy)));
                held.await
            }),
        )
        .layer(SessionLayer::new(slow()));
    assert_eq!(new_client(app).get("/").await.status, StatusCode::OK);
}

/// Returns a store whose next creation takes 60 seconds.
fn slow() -> InstrumentedStore<MemoryStore> {
    let store = InstrumentedStore::new(MemoryStore::new());
    let mut pause = store.pause_before("create");
    tokio::spawn(async move {
        pause.reached().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        pause.resume();
    });
    store
}

#[tokio::test]
async fn a_write_after_the_response_is_logged() {
    let (log, _guard) = Log::start();
    let (send, written) = tokio::sync::oneshot::channel();
    let send = Arc::new(std::sync::Mutex::new(Some(send)));
    let app = Router::new()
        .route(
            "/",
            get(move |shop: Shop| async move {
                let send = send.lock().unwrap().take().unwrap();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let _ = send.send(shop.set_user(&7).await);
                });
            }),
        )
        .layer(SessionLayer::new(MemoryStore::new()));
    new_client(app).get("/").await;
    assert!(matches!(written.await.unwrap(), Err(Error::ResponseSent)));
    assert!(
        log.text().contains("a write needs a new token, but the response was already sent"),
        "{}",
        log.text()
    );
}

/// Cookies that a sibling domain has planted do not hide a valid second or third cookie.
#[tokio::test]
async fn a_good_cookie_behind_several_planted_ones_opens_the_session() {
    let Fixture { client, store, .. } = fixture();
    client.text("/sign-in").await;
    let good = client.token().unwrap();
    let [one, other] = [fixture(), fixture()];
    for planted in [&one.client, &other.client] {
        planted.text("/add").await;
    }
    let planted = [&one.client, &other.client].map(|client| client.token().unwrap());
    let cookie = format!("__Host-id={}; __Host-id={}; __Host-id={good}", planted[0], planted[1]);
    let app = routes().layer(SessionLayer::new(store));
    let client = new_client(app).with_header(header::COOKIE, &cookie);
    assert_eq!(client.text("/who").await, "Some(7) None");
}

#[tokio::test]
async fn pages_that_use_the_session_vary_by_the_cookie() {
    let Fixture { client, .. } = fixture();
    let vary = |path: &'static str| {
        let client = client.clone();
        async move { client.get(path).await.headers.get(header::VARY).cloned() }
    };
    assert_eq!(vary("/read").await, Some(HeaderValue::from_static("cookie")));
    assert_eq!(vary("/unrelated").await, None);
    assert_eq!(vary("/extracted").await, None);
    // Only the body reads the session, after the headers.
    assert_eq!(vary("/stream").await, Some(HeaderValue::from_static("cookie")));
    // The answer depends on both headers, even if the request has only one of them.
    let layer = SessionLayer::new(MemoryStore::new()).token_source(ruts::layer::TokenSource::Both);
    let client = new_client(routes().layer(layer));
    let both = client.get("/page").await.headers.get(header::VARY).cloned();
    assert_eq!(both, Some(HeaderValue::from_static("authorization, cookie")));
}

#[tokio::test]
async fn names_of_the_library_are_reserved() {
    let app = Router::new()
        .route(
            "/",
            get(|session: Session| async move {
                let refused = session.set("ruts.csrf", "seed", None, None).await;
                assert!(matches!(refused, Err(Error::FieldName(_))));
            }),
        )
        .layer(SessionLayer::new(MemoryStore::new()));
    assert_eq!(new_client(app).get("/").await.status, StatusCode::OK);
}

#[test]
fn the_order_of_settings_does_not_matter() {
    let layer = || SessionLayer::new(MemoryStore::new());
    let [minutes, month] = [5 * 60, 30 * 24 * 3600].map(Duration::from_secs);
    assert_eq!(
        layer().idle_timeout(minutes).aal2().describe(),
        layer().aal2().idle_timeout(minutes).describe()
    );
    assert!(layer().idle_timeout(minutes).aal2().describe().contains("after 5 minutes"));
    let longer = layer().aal2().absolute_timeout(month).describe();
    assert!(longer.contains("within AAL2"), "{longer}");
    assert_eq!(
        layer().renewal_grace(minutes).renew_every(month).describe(),
        layer().renew_every(month).renewal_grace(minutes).describe()
    );
}

#[tokio::test]
async fn development_mode_serves_named_hosts_and_says_why_it_does_not() {
    let (log, _guard) = Log::start();
    let layer = SessionLayer::new(MemoryStore::new()).development_on(["web"]);
    let app = routes().layer(layer);
    let status = |host: &'static str| {
        let client = new_client(app.clone());
        async move {
            let request = Request::builder().uri("/add").header(header::HOST, host);
            client.send(request.body(String::new()).unwrap()).await.status
        }
    };
    assert_eq!(status("LOCALHOST:3000").await, StatusCode::OK);
    assert_eq!(status("web:3000").await, StatusCode::OK);
    assert_eq!(status("shop.example").await, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(log.text().contains("development_on"), "{}", log.text());
}

/// A browser refuses a cookie of a domain that its host does not belong to.
#[tokio::test]
async fn a_development_cookie_has_the_domain_only_on_its_hosts() {
    let options = CookieOptions::build().domain("example.com");
    let layer = SessionLayer::new(MemoryStore::new()).with_cookie_options(options);
    let app = routes().layer(layer.development_on(["shop.example.com", "web"]));
    for (host, domain) in [
        ("localhost:3000", None),
        ("[::1]:3000", None),
        ("web", None),
        ("shop.example.com:3000", Some("example.com")),
    ] {
        let client = Client::new(app.clone()).with_header(header::HOST, host);
        for path in ["/sign-in", "/sign-out"] {
            let reply = client.get(path).await;
            assert_eq!(reply.set_cookies()[0].domain(), domain, "{host} {path}");
        }
    }
}
