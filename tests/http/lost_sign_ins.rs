//! Tests of sign-ins whose responses are lost, and of sign-ins with replaced tokens: no cart is
//! lost, and no user exceeds the session limit.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{Router, extract::Path, http::StatusCode, routing::get};
use ruts::{
    Error, Session, SessionLayer,
    auth::Assurance,
    crypto::KeyRing,
    session,
    store::{
        OnLimit,
        memory::{ManualClock, MemoryStore},
    },
    testing::Client,
};
use ruts_tests_support::{
    ClientExt, Fault, InstrumentedStore, Pace, PacedStore, Random, new_client,
};
use tokio::task::JoinSet;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The time after which a request with a replaced secret is no longer late.
pub(super) const LATER: Duration = Duration::from_secs(6);

#[session]
pub(super) struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default)]
    cart: Vec<String>,
    #[field(rotate)]
    role: String,
    #[field(default)]
    views: u64,
}

pub(super) struct Fixture {
    pub(super) clock: ManualClock,
    pub(super) store: InstrumentedStore<MemoryStore>,
    pub(super) client: Client,
}

pub(super) fn routes() -> Router {
    Router::new()
        .route(
            "/add/{item}",
            get(|shop: Shop, Path(item): Path<String>| async move {
                shop.cart().update(|cart| cart.push(item.clone())).await
            }),
        )
        .route(
            "/in/{user}",
            get(|shop: Shop, Path(user): Path<u64>| async move { shop.set_user(&user).await }),
        )
        .route(
            "/remember",
            get(|shop: Shop| async move {
                shop.user().sign_in(&7, Assurance::Aal1).remember(30 * DAY).await
            }),
        )
        .route(
            "/view",
            get(|shop: Shop| async move { shop.views().update(|views| *views += 1).await }),
        )
        .route(
            "/view-in/{user}",
            get(|shop: Shop, Path(user): Path<u64>| async move {
                shop.views().update(|views| *views += 1).await?;
                shop.set_user(&user).await
            }),
        )
        .route(
            "/in-without-cart",
            get(|shop: Shop| async move {
                let edit = shop.session().edit().set(Shop::USER, &7);
                edit.remove(Shop::CART).remove(Shop::ROLE).commit().await
            }),
        )
        .route(
            "/role-in/{user}",
            get(|shop: Shop, Path(user): Path<u64>| async move {
                // Reads the deadline, too.
                shop.cart().await?;
                shop.set_role("seller").await?;
                shop.set_user(&user).await
            }),
        )
        .route("/role", get(|shop: Shop| async move { shop.set_role("seller").await }))
        .route("/out", get(|shop: Shop| async move { shop.user().remove().await.map(drop) }))
        .route(
            "/ago",
            get(|shop: Shop| async move {
                let signed_in = shop.session().signed_in().await?;
                Ok::<_, Error>(format!("{:?}", signed_in.map(|signed_in| signed_in.ago.as_secs())))
            }),
        )
        .route(
            "/who",
            get(|shop: Shop| async move {
                Ok::<_, Error>(format!("{:?} {:?}", shop.user().await?, shop.cart().await?))
            }),
        )
}

pub(super) fn fixture(configure: impl FnOnce(SessionLayer) -> SessionLayer) -> Fixture {
    let clock = ManualClock::new();
    let store = InstrumentedStore::new(MemoryStore::builder().clock(clock.clone()).build());
    let layer = configure(SessionLayer::new(store.clone()));
    Fixture { client: new_client(routes().layer(layer)), store, clock }
}

/// Returns the number of sessions of user 7.
pub(super) async fn sessions(fixture: &Fixture) -> usize {
    let sessions = Shop::sessions(fixture.store.clone()).by_user(&7);
    sessions.list(Shop::CART, None, 100).await.unwrap().sessions.len()
}

pub(super) const LIMITS: [Option<OnLimit>; 3] =
    [None, Some(OnLimit::EndOldest), Some(OnLimit::Reject)];

pub(super) fn limited(layer: SessionLayer, limit: Option<OnLimit>) -> SessionLayer {
    match limit {
        Some(on_limit) => layer.max_sessions(1, on_limit),
        None => layer,
    }
}

#[tokio::test]
async fn any_number_of_lost_responses_costs_no_cart() {
    for limit in LIMITS {
        for lost in 1..=4 {
            for wait in [Duration::ZERO, Duration::from_secs(60)] {
                let fixture = fixture(|layer| limited(layer, limit));
                fixture.client.text("/add/tea").await;
                for _ in 0..lost {
                    let tab = fixture.client.steal();
                    assert_eq!(tab.get("/in/7").await.status, StatusCode::OK, "{limit:?} {lost}");
                    fixture.clock.advance(wait);
                }
                fixture.client.text("/in/7").await;
                let found = fixture.client.text("/who").await;
                assert_eq!(found, r#"Some(7) ["tea"]"#, "{limit:?} {lost}");
                assert_eq!(sessions(&fixture).await == 1, limit.is_some() || lost == 0);
                let other = fixture.client.stranger();
                other.get("/in/8").await;
                assert_eq!(other.text("/who").await, "Some(8) []");
            }
        }
    }
}

/// The sessions of the lost attempts belong to user 7.
#[tokio::test]
async fn another_user_finds_nothing_of_the_lost_attempts() {
    for limit in LIMITS {
        let fixture = fixture(|layer| limited(layer, limit));
        fixture.client.text("/add/tea").await;
        for _ in 0..3 {
            fixture.client.steal().text("/in/7").await;
        }
        fixture.client.text("/in/8").await;
        assert_eq!(fixture.client.text("/who").await, "Some(8) []", "{limit:?}");
    }
}

/// Each store call that a second or third attempt makes fails once, before or after the store has
/// carried it out.
#[tokio::test]
async fn a_failure_at_any_call_costs_no_cart() {
    for limit in LIMITS {
        for fault in [Fault::Unreachable, Fault::AnswerLost] {
            for lost in 1..=2 {
                for calls in 0.. {
                    let fixture = fixture(|layer| limited(layer, limit));
                    fixture.client.text("/add/tea").await;
                    for _ in 0..lost {
                        fixture.client.steal().text("/in/7").await;
                    }
                    fixture.store.fail_after(calls, fault);
                    let failed = fixture.client.steal().get("/in/7").await;
                    if failed.status == StatusCode::OK {
                        assert!(calls > 3, "the attempt should make more than three calls");
                        break;
                    }
                    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
                    // A session whose creation has an unknown outcome is deleted in the background.
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                    }
                    fixture.client.text("/in/7").await;
                    let found = fixture.client.text("/who").await;
                    assert_eq!(found, r#"Some(7) ["tea"]"#, "{limit:?} {fault:?} {lost} {calls}");
                    assert!(limit.is_none() || sessions(&fixture).await == 1);
                }
            }
        }
    }
}

/// A lost attempt does not end the session of another device.
#[tokio::test]
async fn another_device_stays_signed_in() {
    let fixture = fixture(|layer| layer.max_sessions(2, OnLimit::EndOldest));
    let phone = fixture.client.stranger();
    phone.text("/in/7").await;
    fixture.clock.advance(DAY / 2);
    fixture.client.text("/add/tea").await;
    for _ in 0..3 {
        fixture.client.steal().text("/in/7").await;
    }
    fixture.client.text("/in/7").await;
    assert_eq!(phone.text("/who").await, "Some(7) []");
    assert_eq!(fixture.client.text("/who").await, r#"Some(7) ["tea"]"#);
    assert_eq!(sessions(&fixture).await, 2);
}

/// A client has used the session of an attempt: it has signed out, or written the field `role`,
/// which rotates the secret. A thief with the former token and the password does not get the
/// fields.
#[tokio::test]
async fn a_session_that_was_used_is_not_taken_over() {
    for path in ["/out", "/role"] {
        let fixture = fixture(|layer| layer.max_sessions(2, OnLimit::EndOldest));
        let (client, late) = (&fixture.client, fixture.client.steal());
        // The token of the late client belongs to a revoked session.
        client.text("/add/tea").await;
        late.plant("__Host-id", &client.token().unwrap());
        client.steal().text("/in/7").await;
        Shop::sessions(fixture.store.clone()).by_user(&7).revoke_all().await.unwrap();
        client.text("/in/7").await;
        fixture.clock.advance(Duration::from_secs(1));
        client.text(path).await;
        client.text("/add/milk").await;
        late.text("/in/7").await;
        assert_eq!(late.text("/who").await, "Some(7) []", "{path}");
    }
}

/// Several requests with one refused token sign in at the same time. For example, a page behind a
/// proxy that names the user sends such requests.
#[tokio::test]
async fn parallel_attempts_all_succeed() {
    for limit in [None, Some(OnLimit::EndOldest)] {
        for seed in 0..20 {
            let store = PacedStore::new(Arc::new(MemoryStore::new()));
            let client = new_client(routes().layer(limited(SessionLayer::new(store), limit)));
            client.text("/add/tea").await;
            let tabs: Vec<Client> = (0..8).map(|_| client.steal()).collect();
            client.steal().text("/in/7").await;
            let mut requests = JoinSet::new();
            for (number, tab) in tabs.into_iter().enumerate() {
                let pace = Pace::new(Random::new(seed * 100 + number as u64));
                requests.spawn(pace.run(async move {
                    assert_eq!(tab.get("/in/7").await.status, StatusCode::OK);
                    tab.text("/who").await
                }));
            }
            let mut found = BTreeSet::new();
            while let Some(page) = requests.join_next().await {
                found.insert(page.unwrap());
            }
            let all = [r#"Some(7) ["tea"]"#.to_owned()];
            // With a limit of one, a later attempt may have ended an earlier one.
            let rest = if limit.is_some() { vec!["None []".to_owned()] } else { Vec::new() };
            let right: BTreeSet<_> = all.into_iter().chain(rest).collect();
            assert!(found.is_subset(&right), "{limit:?} {seed}: {found:?}");
            client.text("/in/7").await;
            assert_eq!(client.text("/who").await, r#"Some(7) ["tea"]"#, "{limit:?} {seed}");
        }
    }
}

/// The client disconnects while the handler is still running, so the new token never reaches the
/// client.
#[tokio::test]
async fn attempts_that_are_cancelled_cost_no_cart() {
    for limit in LIMITS {
        let (send, mut signed_in) = tokio::sync::mpsc::unbounded_channel();
        let slow = move |shop: Shop| async move {
            shop.set_user(&7).await.unwrap();
            send.send(()).unwrap();
            std::future::pending::<()>().await;
        };
        let layer = limited(SessionLayer::new(MemoryStore::new()), limit);
        let client = new_client(routes().route("/slow", get(slow)).layer(layer));
        client.text("/add/tea").await;
        for _ in 0..3 {
            let tab = client.clone();
            let request = tokio::spawn(async move { tab.get("/slow").await });
            signed_in.recv().await.unwrap();
            request.abort();
            let _ = request.await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        client.text("/in/7").await;
        assert_eq!(client.text("/who").await, r#"Some(7) ["tea"]"#, "{limit:?}");
    }
}

/// An attacker has planted the cookie of a guest with a cart, whose secret was replaced.
#[tokio::test]
async fn a_planted_cart_hides_no_lost_attempt() {
    let fixture = fixture(|layer| layer);
    let attacker = fixture.client.stranger();
    attacker.text("/add/poison").await;
    let planted = format!("__Host-id={}", attacker.token().unwrap());
    attacker.steal().text("/role").await;
    fixture.client.text("/add/tea").await;
    fixture.client.steal().text("/in/7").await;
    fixture.client.get_with("/in/7", &[("cookie", &planted)]).await;
    assert_eq!(fixture.client.text("/who").await, r#"Some(7) ["tea"]"#);
}

/// The form of a sign-in was sent before another tab renewed the secret, and arrives in the grace
/// period of the former secret.
#[tokio::test]
async fn a_sign_in_in_the_grace_of_a_renewal_keeps_the_cart() {
    for limit in LIMITS {
        for is_signed_in in [false, true] {
            let every = Duration::from_secs(60);
            let fixture = fixture(|layer| limited(layer, limit).renew_every(every));
            let client = &fixture.client;
            if is_signed_in {
                client.text("/in/7").await;
            }
            client.text("/add/tea").await;
            fixture.clock.advance(Duration::from_secs(61));
            let slow = client.steal();
            for _ in 0..2 {
                client.text("/who").await;
                fixture.clock.advance(Duration::from_millis(200));
            }
            let status = slow.get("/in/7").await.status;
            assert_eq!(status, StatusCode::OK, "{limit:?} {is_signed_in}");
            assert_eq!(slow.text("/who").await, r#"Some(7) ["tea"]"#, "{limit:?} {is_signed_in}");
            assert!(limit.is_none() || sessions(&fixture).await == 1, "{limit:?} {is_signed_in}");
            if is_signed_in {
                // The response was lost, and the form is sent again with the renewed secret.
                client.text("/in/7").await;
                assert_eq!(client.text("/who").await, r#"Some(7) ["tea"]"#, "{limit:?}");
            }
        }
    }
}

/// The client also has a cookie of the same name whose session has ended, and sends that cookie
/// first.
#[tokio::test]
async fn a_dead_cookie_in_front_hides_no_lost_attempt() {
    let fixture = fixture(|layer| layer);
    let other = fixture.client.stranger();
    other.text("/in/9").await;
    let dead = format!("__Host-id={}", other.token().unwrap());
    other.text("/out").await;
    fixture.clock.advance(Duration::from_secs(6));
    fixture.client.text("/add/tea").await;
    fixture.client.steal().text("/in/7").await;
    fixture.clock.advance(Duration::from_secs(6));
    fixture.client.get_with("/in/7", &[("cookie", &dead)]).await;
    assert_eq!(fixture.client.text("/who").await, r#"Some(7) ["tea"]"#);
}

/// The limit ends the session with the oldest sign-in. A lapse of its authentication is not a
/// sign-in.
#[tokio::test]
async fn a_lapse_keeps_the_order_of_the_sign_ins() {
    let fixture = fixture(|layer| layer.aal2().max_sessions(2, OnLimit::EndOldest));
    let (old, clock) = (&fixture.client, &fixture.clock);
    old.text("/remember").await;
    clock.advance(10 * DAY);
    let recent = old.stranger();
    recent.text("/in/7").await;
    clock.advance(Duration::from_secs(60));
    old.text("/who").await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(old.text("/ago").await, "Some(864120)");
    fixture.store.take_calls();
    old.text("/who").await;
    assert_eq!(fixture.store.take_calls(), ["load"], "the lapse should be recorded only once");
    old.stranger().text("/in/7").await;
    assert_eq!(recent.text("/who").await, "Some(7) []");
    assert_eq!(old.text("/who").await, "None []");
}

#[session]
struct Account {
    #[field(principal)]
    user: u64,
    #[field(encrypt)]
    address: String,
    #[field(index)]
    sid: String,
}

/// A sign-in re-encrypts the fields that it copies to its session. The session is also found by the
/// value of a copied field with an index.
#[tokio::test]
async fn encrypted_and_indexed_fields_come_along() {
    for (limit, views) in LIMITS.into_iter().flat_map(|limit| [(limit, false), (limit, true)]) {
        let clock = ManualClock::new();
        let store = Arc::new(MemoryStore::builder().clock(clock.clone()).build());
        let app = Router::new()
            .route(
                "/in",
                get(|account: Account| async move {
                    let is_new = account.address().await?.is_none();
                    account.set_user(&7).await?;
                    if is_new {
                        account.set_address("Main Street").await?;
                        account.set_sid("provider-1").await?;
                    }
                    Ok::<_, Error>(())
                }),
            )
            .route(
                "/view",
                get(|session: Session| async move { session.set("views", &1, None, None).await }),
            )
            .route("/again", get(|account: Account| async move { account.set_user(&7).await }))
            .route(
                "/who",
                get(|account: Account| async move {
                    let (user, address) = (account.user().await?, account.address().await?);
                    Ok::<_, Error>(format!("{user:?} {address:?}"))
                }),
            );
        let layer = SessionLayer::new(&store)
            .encryption_keys(KeyRing::new([b"a key of at least 32 bytes, for tests"]).unwrap());
        let client = new_client(app.layer(limited(layer, limit)));
        client.text("/in").await;
        for _ in 0..3 {
            client.steal().text("/again").await;
            if views {
                clock.advance(LATER);
                client.text("/view").await;
            }
        }
        client.text("/again").await;
        assert_eq!(client.text("/who").await, r#"Some(7) Some("Main Street")"#, "{limit:?}");
        let found = Account::sessions(&store).by_sid("provider-1").list((), None, 10).await;
        let id = client.token().unwrap()[..22].to_owned();
        let ids = found.unwrap().sessions.into_iter().map(|session| session.id.to_string());
        assert!(ids.collect::<Vec<_>>().contains(&id), "{limit:?}");
        assert!(Account::sessions(&store).by_sid("provider-1").revoke_all().await.unwrap() > 0);
        assert_eq!(client.text("/who").await, "None None", "{limit:?}");
    }
}
