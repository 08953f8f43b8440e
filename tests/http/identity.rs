//! Tests of the session of a request: tokens, rotation, sign-out, late requests and lost answers,
//! with forced interleavings.

use std::{sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use ruts::testing::Client;
use ruts::{
    Error, Session, SessionLayer, session,
    store::memory::{ManualClock, MemoryStore},
    token::SessionId,
};
use ruts_tests_support::{ClientExt, Fault, InstrumentedStore, Log, new_client};
use tokio::sync::Mutex;

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    cart: Vec<String>,
    #[field(default)]
    visits: u64,
    #[field(once, rotate)]
    ticket: String,
    #[field(rotate, default)]
    level: u8,
}

struct Fixture {
    clock: ManualClock,
    store: InstrumentedStore<MemoryStore>,
    client: Client,
}

fn fixture() -> Fixture {
    let clock = ManualClock::new();
    let store = InstrumentedStore::new(MemoryStore::builder().clock(clock.clone()).build());
    let app = Router::new()
        .route("/unrelated", get(|| async { "no session is used" }))
        .route(
            "/user",
            get(|shop: Shop| async move { Ok::<_, Error>(format!("{:?}", shop.user().await?)) }),
        )
        .route(
            "/cart",
            get(|shop: Shop| async move { Ok::<_, Error>(shop.cart().await?.join(",")) }),
        )
        .route(
            "/add",
            get(|shop: Shop| async move { shop.set_cart(&vec!["tea".to_owned()]).await }),
        )
        .route("/sign-in", get(|shop: Shop| async move { shop.set_user("ada").await }))
        .route("/sign-out", get(|shop: Shop| async move { shop.session().delete().await }))
        .route(
            "/id",
            get(|session: Session| async move {
                Ok::<_, Error>(session.verify().await?.map(|id| id.to_string()).unwrap_or_default())
            }),
        )
        .route("/regenerate", get(|session: Session| async move { session.regenerate().await }))
        .route(
            "/out-and-in",
            get(|shop: Shop| async move {
                shop.session().delete().await?;
                shop.set_user("bob").await
            }),
        )
        .route(
            "/sign-in-twice",
            get(|shop: Shop| async move {
                let first = shop.set_user("ada").await;
                let second = shop.set_visits(&1).await;
                format!("{} {}", first.is_ok(), second.is_ok())
            }),
        )
        .route(
            "/read-and-sign-out",
            get(|shop: Shop| async move {
                shop.user().await?;
                shop.session().delete().await
            }),
        )
        .route(
            "/sign-out-twice",
            get(|shop: Shop| async move {
                let first = shop.session().delete().await;
                format!("{} {}", first.is_ok(), shop.session().delete().await.is_ok())
            }),
        )
        .route(
            "/sign-in-and-rise",
            get(|shop: Shop| async move {
                shop.set_user("ada").await?;
                shop.set_level(&2).await
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    Fixture { clock, store, client: new_client(app) }
}

/// Status of a write to a session that has ended. It is not a server error.
const ERROR: StatusCode = StatusCode::CONFLICT;
const DOWN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

// proves: ASVS-7.6.2
#[tokio::test]
async fn a_request_without_a_write_makes_no_call_and_no_cookie() {
    let Fixture { store, client, .. } = fixture();
    let reply = client.get("/unrelated").await;
    assert!(reply.set_cookies().is_empty());
    assert!(client.get("/user").await.set_cookies().is_empty(), "a read should create no session");
    assert!(store.take_calls().is_empty(), "a read without a token should not call the store");
    client.text("/add").await;
    store.take_calls();
    client.text("/unrelated").await;
    assert!(
        store.take_calls().is_empty(),
        "a request that does not use its session should not call the store"
    );
}

// proves: CS-6 ASVS-7.2.2
#[tokio::test]
async fn a_planted_token_is_never_adopted() {
    let Fixture { client, .. } = fixture();
    let planted = format!("{}.{}", "A".repeat(22), "A".repeat(43));
    client.plant("__Host-id", &planted);
    assert_eq!(client.text("/user").await, "None");
    client.text("/sign-in").await;
    let token = client.token().unwrap();
    assert_ne!(token, planted);
    assert_ne!(token[..22], planted[..22], "the planted id should not be adopted");
    client.plant("__Host-id", &planted);
    assert_eq!(client.text("/user").await, "None");
}

// proves: ASVS-7.2.1 CS-10
#[tokio::test]
async fn an_id_with_another_secret_opens_nothing_and_ends_nothing() {
    let Fixture { client, clock, .. } = fixture();
    client.text("/sign-in").await;
    let token = client.token().unwrap();
    // For five seconds after the sign-in, the request below would count as late, because its
    // unknown secret may have been replaced twice.
    clock.advance(Duration::from_secs(6));
    let thief = client.stranger();
    thief.plant("__Host-id", &format!("{}.{}", &token[..22], "B".repeat(42) + "A"));
    assert_eq!(thief.text("/user").await, "None");
    thief.text("/sign-out").await;
    thief.plant("__Host-id", &format!("{}.{}", &token[..22], "B".repeat(42) + "A"));
    thief.text("/add").await;
    assert_ne!(thief.token().unwrap()[..22], token[..22]);
    assert_eq!(client.text("/user").await, r#"Some("ada")"#);
    assert_eq!(client.text("/cart").await, "");
}

// proves: ASVS-7.2.1 CS-7
#[tokio::test]
async fn a_malformed_token_counts_as_none() {
    let Fixture { store, client, .. } = fixture();
    let five_kilobytes = "x".repeat(5 * 1024);
    for value in ["", "admin", "....", "../../etc", "\u{fffd}", &five_kilobytes] {
        client.plant("__Host-id", value);
        assert_eq!(client.text("/user").await, "None");
        assert!(store.take_calls().is_empty(), "`{value}` should not reach the store");
    }
    client.text("/add").await;
    assert_eq!(client.text("/cart").await, "tea");
}

// proves: ASVS-7.2.4 NIST-5.1.1 CS-8
#[tokio::test]
async fn a_sign_in_rotates_the_secret_and_keeps_the_session() {
    let Fixture { store, client, .. } = fixture();
    client.text("/add").await;
    let (guest, id) = (client.steal(), client.text("/id").await);
    store.take_calls();
    client.text("/sign-in").await;
    assert_eq!(store.take_calls(), ["update"], "the rotation should be part of the write");
    assert_ne!(client.token(), guest.token());
    assert_eq!(client.text("/id").await, id, "the rotation should keep the id");
    assert_eq!(client.text("/cart").await, "tea");
    assert_eq!(guest.text("/user").await, "None", "the earlier cookie should be refused");
    assert_eq!(guest.text("/cart").await, "");
}

// proves: ASVS-7.2.4
#[tokio::test]
async fn a_request_with_a_replaced_secret_neither_writes_nor_sets_a_cookie() {
    let Fixture { client, .. } = fixture();
    client.text("/add").await;
    let late = client.steal();
    client.text("/sign-in").await;
    // A sign-in succeeds with a replaced secret: see `ordinary_life`.
    for path in ["/add", "/sign-out", "/regenerate", "/out-and-in"] {
        let reply = late.get(path).await;
        assert_eq!(reply.status, ERROR, "{path}");
        assert!(reply.set_cookies().is_empty(), "{path} should not overwrite the new cookie");
        assert!(reply.body.is_empty(), "{path} should have an empty body");
    }
    assert_eq!(client.text("/user").await, r#"Some("ada")"#);
}

#[tokio::test]
async fn a_replaced_secret_counts_as_unknown_after_a_minute() {
    let Fixture { client, clock, .. } = fixture();
    let (log, _guard) = Log::start();
    client.text("/add").await;
    let stale = client.steal();
    client.text("/sign-in").await;
    clock.advance(Duration::from_secs(60));
    stale.text("/sign-in").await;
    assert!(log.text().contains("reuse of a former session secret"), "{}", log.text());
    assert_ne!(
        stale.token().unwrap()[..22],
        client.token().unwrap()[..22],
        "the late client should get a session of its own"
    );
    assert_eq!(client.text("/user").await, r#"Some("ada")"#);
}

// proves: ASVS-7.4.1 NIST-5.1.3 NIST-5.1-e
#[tokio::test]
async fn a_deletion_removes_the_cookie_and_refuses_copies_of_it() {
    let Fixture { client, store, clock } = fixture();
    client.text("/sign-in").await;
    let thief = client.steal();
    store.take_calls();
    let reply = client.get("/sign-out").await;
    assert_eq!(store.take_calls(), ["delete"]);
    assert_eq!(reply.set_cookies().len(), 1);
    assert_eq!(client.token(), None);
    assert!(store.inner().is_empty());
    assert_eq!(thief.text("/user").await, "None");
    assert_eq!(thief.get("/regenerate").await.status, ERROR);
    clock.advance(Duration::from_secs(60));
    assert_eq!(thief.text("/user").await, "None");
    thief.text("/regenerate").await;
    assert!(
        store.inner().is_empty(),
        "the rotation of an unknown session should create no session"
    );
}

#[tokio::test]
async fn a_write_after_a_deletion_creates_another_session() {
    let Fixture { client, .. } = fixture();
    client.text("/add").await;
    let before = client.steal();
    client.text("/out-and-in").await;
    assert_ne!(client.token().unwrap()[..22], before.token().unwrap()[..22]);
    assert_eq!(client.text("/user").await, r#"Some("bob")"#);
    assert_eq!(
        client.text("/cart").await,
        "",
        "the new session should have no field of the old one"
    );
    assert_eq!(before.text("/cart").await, "");
}

#[tokio::test]
async fn all_extractions_of_a_request_share_one_session() {
    let store = InstrumentedStore::new(MemoryStore::new());
    async fn handler(first: Shop, second: Shop, untyped: Session) -> Result<String, Error> {
        first.set_user("ada").await?;
        let user = second.user().await?;
        second.set_visits(&7).await?;
        let visits: Option<u64> = untyped.get("visits").await?;
        Ok(format!("{user:?} {visits:?} {}", first.session().id() == untyped.id()))
    }
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(store.clone()));
    let client = new_client(app);
    let reply = client.get("/").await;
    assert_eq!(reply.body, r#"Some("ada") Some(7) true"#);
    assert_eq!(reply.set_cookies().len(), 1);
    assert_eq!(
        store.take_calls(),
        ["create", "update"],
        "a written field should not be read again"
    );
    assert_eq!(store.inner().len(), 1);
}

// proves: ASVS-7.4.1
#[tokio::test]
async fn a_slow_write_after_a_deletion_creates_no_session() {
    for slow in ["/add", "/regenerate"] {
        let Fixture { client, store, .. } = fixture();
        client.text("/sign-in").await;
        // The slow request makes no call before its write.
        let mut pause = store.pause_before("update");
        let tab = client.clone();
        let writing = tokio::spawn(async move { tab.get(slow).await });
        pause.reached().await;
        client.text("/sign-out").await;
        pause.resume();
        let reply = writing.await.unwrap();
        assert_eq!(reply.status, ERROR, "{slow}");
        assert!(
            reply.set_cookies().is_empty(),
            "{slow} should not set a cookie after the sign-out"
        );
        assert!(store.inner().is_empty(), "{slow} should not create a session");
    }
}

#[tokio::test]
async fn a_request_from_before_a_deletion_does_not_change_the_next_session() {
    let Fixture { client, .. } = fixture();
    client.text("/sign-in").await;
    let late = client.steal();
    client.text("/sign-out").await;
    client.text("/sign-in").await;
    // A sign-in succeeds with a replaced secret: see `ordinary_life`.
    for path in ["/add", "/regenerate"] {
        let reply = late.get(path).await;
        assert_eq!(reply.status, ERROR, "{path}");
        assert!(reply.set_cookies().is_empty(), "{path}");
    }
    let reply = late.get("/sign-out").await;
    assert_eq!(reply.status, StatusCode::OK, "a second deletion should succeed");
    assert!(reply.set_cookies().is_empty(), "the late response should not clear the new cookie");
    assert_eq!(client.text("/user").await, r#"Some("ada")"#);
}

#[tokio::test]
async fn a_write_to_a_session_that_another_request_deleted_fails() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let app = Router::new()
        .route("/sign-in", get(|shop: Shop| async move { shop.set_user("ada").await }))
        .route("/sign-out", get(|shop: Shop| async move { shop.session().delete().await }))
        .route(
            "/slow",
            get(|shop: Shop| async move {
                let user = shop.user().await?;
                let first = shop.set_visits(&1).await;
                let second = shop.visits().update(|visits| *visits += 1).await;
                let third = shop.session().regenerate().await;
                let all = [first, second, third];
                let ended = all.iter().all(|result| matches!(result, Err(Error::Ended)));
                Ok::<_, Error>(format!("{user:?} {ended} {:?}", shop.user().await?))
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let client = new_client(app);
    client.text("/sign-in").await;
    let mut pause = store.pause_before("update");
    let tab = client.clone();
    let slow = tokio::spawn(async move { tab.get("/slow").await });
    pause.reached().await;
    client.text("/sign-out").await;
    pause.resume();
    let reply = slow.await.unwrap();
    assert_eq!(reply.body, r#"Some("ada") true None"#);
    assert!(reply.set_cookies().is_empty());
    assert!(store.inner().is_empty(), "the write should not create a session");
}

/// A valid sign-in always succeeds. A secret that was issued before a sign-in gives no access to
/// the session of that sign-in.
// proves: ASVS-7.2.4
#[tokio::test]
async fn parallel_sign_ins_all_work_and_keep_the_cart() {
    for _ in 0..20 {
        let Fixture { client, .. } = fixture();
        client.text("/add").await;
        let guest = client.steal();
        let tabs: Vec<_> = (0..8)
            .map(|_| {
                let tab = client.steal();
                tokio::spawn(async move { (tab.get("/sign-in").await, tab) })
            })
            .collect();
        for tab in tabs {
            let (reply, tab) = tab.await.unwrap();
            assert_eq!((reply.status, reply.set_cookies().len()), (StatusCode::OK, 1));
            assert_eq!(tab.text("/user").await, r#"Some("ada")"#);
            assert_eq!(tab.text("/cart").await, "tea");
        }
        assert_eq!(guest.text("/user").await, "None");
    }
}

#[tokio::test]
async fn the_write_after_a_failed_rotation_rotates() {
    let Fixture { client, store, .. } = fixture();
    client.text("/add").await;
    let before = client.steal();
    for fault in [Fault::Unreachable, Fault::AnswerLost] {
        store.fail_next(fault);
        let reply = client.get("/sign-in-twice").await;
        assert_eq!(reply.body, "false true");
        assert_eq!(
            reply.set_cookies().len(),
            1,
            "{fault:?}: the second write should rotate the secret"
        );
        assert_eq!(client.text("/id").await, before.token().unwrap()[..22]);
        assert_ne!(client.token(), before.token());
        assert_eq!(before.text("/cart").await, "", "{fault:?}: the old cookie should be refused");
    }
}

#[tokio::test]
async fn a_request_finds_the_rotation_whose_future_it_dropped() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let app = Router::new()
        .route("/add", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/drop-the-sign-in",
            get(|shop: Shop| async move {
                let sign_in = shop.set_user("ada");
                let dropped = tokio::time::timeout(Duration::from_millis(20), sign_in).await;
                assert!(dropped.is_err());
                shop.user().await.map(|user| format!("{user:?}"))
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let client = new_client(app);
    client.text("/add").await;
    let _pause = store.pause_after("update");
    assert_eq!(client.text("/drop-the-sign-in").await, r#"Some("ada")"#);
    assert_eq!(client.text("/add").await, "", "the client should have the new secret");
}

#[tokio::test]
async fn two_rotations_of_a_request_replace_the_secret_once() {
    let Fixture { client, store, .. } = fixture();
    client.text("/add").await;
    let late = client.steal();
    client.text("/sign-in-and-rise").await;
    let reply = late.get("/add").await;
    assert_eq!(reply.status, ERROR, "the secret of the client should count as replaced");
    assert!(reply.set_cookies().is_empty());
    assert_eq!((store.inner().len(), client.text("/user").await), (1, r#"Some("ada")"#.to_owned()));
}

#[tokio::test]
async fn after_a_repeated_rotation_the_clients_secret_counts_as_replaced() {
    let Fixture { client, store, .. } = fixture();
    client.text("/add").await;
    let late = client.steal();
    store.fail_next(Fault::AnswerLost);
    client.text("/sign-in-twice").await;
    let reply = late.get("/add").await;
    assert_eq!(reply.status, ERROR);
    assert!(reply.set_cookies().is_empty(), "{reply:?}");
}

#[tokio::test]
async fn a_failed_rotation_does_not_hide_that_of_another_request() {
    let Fixture { client, store, .. } = fixture();
    client.text("/add").await;
    // The first write fails before it reaches the server. Meanwhile another tab signs in.
    store.fail_next(Fault::Unreachable);
    let mut pause = store.pause_before("update");
    let tab = client.steal();
    let slow = tokio::spawn(async move { tab.get("/sign-in-twice").await });
    pause.reached().await;
    client.text("/sign-in").await;
    pause.resume();
    let reply = slow.await.unwrap();
    assert_eq!(reply.body, "false false");
    assert!(
        reply.set_cookies().is_empty(),
        "the late response should not overwrite the cookie of the other tab"
    );
}

#[tokio::test]
async fn a_second_deletion_succeeds_and_removes_no_cookie() {
    let Fixture { client, .. } = fixture();
    client.text("/sign-in").await;
    let tab = client.steal();
    client.text("/read-and-sign-out").await;
    for path in ["/sign-out", "/read-and-sign-out"] {
        let reply = tab.get(path).await;
        assert_eq!((reply.status, reply.set_cookies().len()), (StatusCode::OK, 0), "{path}");
    }
}

#[tokio::test]
async fn a_deletion_whose_answer_is_lost_removes_the_cookie() {
    for (path, status) in [("/sign-out", DOWN), ("/sign-out-twice", StatusCode::OK)] {
        let Fixture { client, store, .. } = fixture();
        client.text("/sign-in").await;
        store.fail_next(Fault::AnswerLost);
        assert_eq!(client.get(path).await.status, status);
        assert_eq!(client.token(), None, "{path}");
        client.text("/sign-in").await;
    }
}

/// The origin has carried out the write, so the response has to change the cookie.
#[tokio::test]
async fn a_write_behind_a_stale_cache_is_an_error_and_changes_the_cookie() {
    let Fixture { client, store, .. } = fixture();
    client.text("/add").await;
    let before = client.token();
    store.fail_next(Fault::StaleCache);
    let reply = client.get("/sign-in").await;
    let fault = StatusCode::INTERNAL_SERVER_ERROR;
    assert_eq!(
        (reply.status, reply.set_cookies().len()),
        (fault, 1),
        "the response should set the cookie, because the secret was replaced"
    );
    assert_ne!(client.token(), before);
    assert_eq!(client.text("/user").await, r#"Some("ada")"#);

    store.fail_next(Fault::StaleCache);
    let reply = client.get("/sign-out").await;
    assert_eq!(
        (reply.status, client.token()),
        (fault, None),
        "the response should remove the cookie, because the session has ended"
    );
    assert!(store.inner().is_empty());
    assert_eq!(client.text("/user").await, "None");
}

#[tokio::test]
async fn a_deletion_that_two_rotations_overtake_is_an_error() {
    let Fixture { client, store, .. } = fixture();
    client.text("/sign-in").await;
    let tab = client.steal();
    let mut pause = store.pause_before("delete");
    let slow = tokio::spawn(async move { tab.get("/read-and-sign-out").await });
    pause.reached().await;
    client.text("/sign-in").await;
    client.text("/sign-in").await;
    pause.resume();
    let reply = slow.await.unwrap();
    assert_eq!(
        (reply.status, reply.set_cookies().len()),
        (ERROR, 0),
        "the response should leave the cookie, because the session is live"
    );
    assert_eq!(client.text("/user").await, r#"Some("ada")"#);
}

#[tokio::test]
async fn an_update_that_gives_up_after_conflicts_does_not_rotate() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let app = Router::new()
        .route("/add", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/rise",
            get(|shop: Shop| async move {
                let risen = shop.level().update(|level| *level += 1).await;
                assert!(matches!(risen, Err(Error::Conflict { .. })));
                shop.set_visits(&3).await
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let client = new_client(app);
    client.text("/add").await;
    let token = client.token();
    store.compete_with(60);
    client.text("/rise").await;
    assert_eq!(
        client.token(),
        token,
        "an update that changes nothing should not rotate the secret"
    );
}

#[tokio::test]
async fn a_rotation_that_ends_after_the_response_costs_no_field() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let (send, result) = tokio::sync::oneshot::channel();
    let send = Arc::new(Mutex::new(Some(send)));
    let app = Router::new()
        .route("/add", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/",
            get(move |shop: Shop| async move {
                drop(tokio::spawn(async move {
                    let result = shop.set_user("ada").await;
                    let _ = send.lock().await.take().unwrap().send(result);
                }));
                // The task reaches the store before the response is sent.
                tokio::task::yield_now().await;
            }),
        )
        .route(
            "/sign-in",
            get(|shop: Shop| async move {
                shop.set_user("ada").await?;
                Ok::<_, Error>(shop.visits().await?.to_string())
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let client = new_client(app);
    client.text("/add").await;
    let mut pause = store.pause_after("update");
    let tab = client.clone();
    let request = tokio::spawn(async move { tab.get("/").await });
    pause.reached().await;
    assert!(request.await.unwrap().set_cookies().is_empty());
    pause.resume();
    assert!(matches!(result.await.unwrap(), Err(Error::ResponseSent)));
    assert_eq!(client.text("/sign-in").await, "1", "the new session should have the guest's field");
}

#[tokio::test]
async fn a_write_after_the_client_disconnected_does_not_rotate() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let app = Router::new()
        .route("/add", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/hang",
            get(move |shop: Shop| async move {
                *keep.lock().await = Some(shop);
                std::future::pending::<()>().await;
            }),
        )
        .layer(SessionLayer::new(store));
    let client = new_client(app);
    client.text("/add").await;
    let tab = client.clone();
    let hanging = tokio::spawn(async move { tab.get("/hang").await });
    while kept.lock().await.is_none() {
        tokio::task::yield_now().await;
    }
    hanging.abort();
    assert!(hanging.await.is_err());
    let shop = kept.lock().await.take().unwrap();
    assert!(matches!(shop.set_user("ada").await, Err(Error::ResponseSent)));
    assert_eq!(client.text("/add").await, "", "the cookie should still work");
}

// proves: ASVS-16.5.1
#[tokio::test]
async fn an_unreachable_store_is_a_503_and_keeps_the_cookie() {
    let Fixture { client, store, .. } = fixture();
    client.text("/add").await;
    for path in ["/cart", "/add", "/sign-in", "/sign-out", "/id"] {
        store.fail_next(Fault::Unreachable);
        let reply = client.get(path).await;
        assert_eq!((reply.status, &*reply.text()), (DOWN, ""), "{path}");
        assert!(reply.set_cookies().is_empty());
        assert_eq!(client.text("/cart").await, "tea", "{path}");
    }
    let stranger = client.stranger();
    store.fail_next(Fault::Unreachable);
    assert_eq!(stranger.get("/add").await.status, DOWN);
    assert_eq!(stranger.token(), None);
}

#[tokio::test]
async fn no_session_is_created_or_rotated_after_the_response() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let late = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&late);
    let app = Router::new()
        .route("/", get(move |shop: Shop| async move { *keep.lock().await = Some(shop) }))
        .route("/add", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .layer(SessionLayer::new(store.clone()));
    let client = new_client(app);

    client.text("/").await;
    let shop = late.lock().await.take().unwrap();
    assert!(matches!(shop.set_visits(&1).await, Err(Error::ResponseSent)));
    assert!(store.inner().is_empty());

    client.text("/add").await;
    client.text("/").await;
    let shop = late.lock().await.take().unwrap();
    assert!(matches!(shop.set_user("ada").await, Err(Error::ResponseSent)));
    shop.set_visits(&5).await.unwrap();
    assert_eq!(shop.session().read(Shop::VISITS).await.unwrap(), 5);
    assert_eq!(client.text("/add").await, "", "the cookie should still work");
}

#[tokio::test]
async fn a_session_created_after_the_response_is_deleted() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let app = Router::new()
        .route(
            "/",
            get(|shop: Shop| async move {
                drop(tokio::spawn(async move { shop.set_visits(&1).await }));
                tokio::task::yield_now().await;
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let client = new_client(app);
    let mut pause = store.pause_after("create");
    let request = tokio::spawn(async move { client.get("/").await });
    pause.reached().await;
    assert!(request.await.unwrap().set_cookies().is_empty());
    pause.resume();
    while !store.inner().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.take_calls(), ["create", "delete"]);
}

#[tokio::test]
async fn taking_a_once_field_can_rotate() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let app = Router::new()
        .route("/give", get(|shop: Shop| async move { shop.set_ticket("t").await }))
        .route(
            "/use",
            get(|shop: Shop| async move {
                shop.ticket().take().await.map(|ticket| format!("{ticket:?}"))
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let client = new_client(app);
    client.text("/give").await;
    let before = client.steal();
    store.take_calls();
    assert_eq!(client.text("/use").await, r#"Some("t")"#);
    assert_eq!(store.take_calls(), ["take"]);
    assert_ne!(client.token(), before.token());
    assert_eq!(before.text("/use").await, "None");
}

// proves: ASVS-16.2.5
#[tokio::test]
async fn no_secret_and_no_value_is_logged() {
    let (log, _guard) = Log::start();
    let Fixture { client, store, .. } = fixture();
    let mut secrets = Vec::new();
    for path in ["/add", "/sign-in", "/user", "/regenerate", "/out-and-in", "/sign-in-twice", "/id"]
    {
        client.text(path).await;
        secrets.push(client.token().unwrap());
    }
    let thief = client.steal();
    client.text("/sign-in").await;
    thief.get("/add").await;
    store.fail_next(Fault::AnswerLost);
    client.get("/add").await;
    client.text("/sign-out").await;
    let text = log.text();
    for event in [
        "session created",
        "session secret replaced",
        "session ended",
        "session_store",
        "session error",
    ] {
        assert!(text.contains(event), "the log should contain `{event}`");
    }
    for token in secrets {
        let (id, secret) = token.split_once('.').unwrap();
        assert!(id.parse::<SessionId>().is_ok() && text.contains(id));
        assert!(!text.contains(secret), "the log should contain no secret");
    }
    assert!(!text.contains("tea") && !text.contains("\"ada\""), "the log should contain no value");
}
