//! Who a request is: tokens, rotation, sign-out, late requests and lost answers, over HTTP, with
//! forced interleavings.

use std::{sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use ruts::{
    Error, Session, SessionId, SessionLayer, session,
    store::memory::{ManualClock, MemoryStore},
};
use ruts_tests::{Browser, Fault, Log, Probe};
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
    store: Probe<MemoryStore>,
    browser: Browser,
}

fn fixture() -> Fixture {
    let clock = ManualClock::new();
    let store = Probe::new(MemoryStore::builder().clock(clock.clone()).build());
    let app = Router::new()
        .route("/look", get(|| async { "nothing to do with sessions" }))
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
                Ok::<_, Error>(session.open().await?.map(|id| id.to_string()).unwrap_or_default())
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
    Fixture { clock, store, browser: Browser::new(app) }
}

const ERROR: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
const DOWN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

// proves: ASVS-7.6.2
#[tokio::test]
async fn an_untouched_session_makes_no_call_and_no_cookie() {
    let Fixture { store, browser, .. } = fixture();
    let page = browser.get("/look").await;
    assert!(page.set_cookies().is_empty());
    assert!(browser.get("/user").await.set_cookies().is_empty(), "a read starts no session");
    assert!(store.calls().is_empty(), "an anonymous read needs no store");
    browser.text("/add").await;
    store.calls();
    browser.text("/look").await;
    assert!(store.calls().is_empty(), "a cookie alone is no reason to ask the store");
}

// proves: CS-6 ASVS-7.2.2
#[tokio::test]
async fn a_planted_token_is_never_adopted() {
    let Fixture { browser, .. } = fixture();
    let planted = format!("{}.{}", "A".repeat(22), "A".repeat(43));
    browser.plant("__Host-id", &planted);
    assert_eq!(browser.text("/user").await, "None");
    browser.text("/sign-in").await;
    let token = browser.token().unwrap();
    assert_ne!(token, planted);
    assert_ne!(token[..22], planted[..22], "not even the handle is taken over");
    browser.plant("__Host-id", &planted);
    assert_eq!(browser.text("/user").await, "None");
}

// proves: ASVS-7.2.1 CS-10
#[tokio::test]
async fn a_handle_with_another_secret_opens_nothing_and_ends_nothing() {
    let Fixture { browser, .. } = fixture();
    browser.text("/sign-in").await;
    let token = browser.token().unwrap();
    let thief = browser.stranger();
    thief.plant("__Host-id", &format!("{}.{}", &token[..22], "B".repeat(42) + "A"));
    assert_eq!(thief.text("/user").await, "None");
    thief.text("/sign-out").await;
    thief.plant("__Host-id", &format!("{}.{}", &token[..22], "B".repeat(42) + "A"));
    thief.text("/add").await;
    assert_ne!(thief.token().unwrap()[..22], token[..22]);
    assert_eq!(browser.text("/user").await, r#"Some("ada")"#);
    assert_eq!(browser.text("/cart").await, "");
}

// proves: ASVS-7.2.1 CS-7
#[tokio::test]
async fn what_is_no_token_reads_as_anonymous() {
    let Fixture { store, browser, .. } = fixture();
    let five_kilobytes = "x".repeat(5 * 1024);
    for value in ["", "admin", "....", "../../etc", "\u{fffd}", &five_kilobytes] {
        browser.plant("__Host-id", value);
        assert_eq!(browser.text("/user").await, "None");
        assert!(store.calls().is_empty(), "`{value}` reached the store");
    }
    browser.text("/add").await;
    assert_eq!(browser.text("/cart").await, "tea");
}

// proves: ASVS-7.2.4 NIST-5.1.1 CS-8
#[tokio::test]
async fn signing_in_rotates_and_keeps_the_rest() {
    let Fixture { store, browser, .. } = fixture();
    browser.text("/add").await;
    let (guest, id) = (browser.steal(), browser.text("/id").await);
    store.calls();
    browser.text("/sign-in").await;
    assert_eq!(store.calls(), ["update"], "rotation rides along with the write");
    assert_ne!(browser.token(), guest.token());
    assert_eq!(browser.text("/id").await, id, "the handle stays");
    assert_eq!(browser.text("/cart").await, "tea");
    assert_eq!(guest.text("/user").await, "None", "the cookie from before is refused");
    assert_eq!(guest.text("/cart").await, "");
}

// proves: ASVS-7.2.4
#[tokio::test]
async fn a_late_request_neither_writes_nor_clobbers() {
    let Fixture { browser, .. } = fixture();
    browser.text("/add").await;
    let late = browser.steal();
    browser.text("/sign-in").await;
    for path in ["/add", "/sign-in", "/sign-out", "/regenerate", "/out-and-in"] {
        let page = late.get(path).await;
        assert_eq!(page.status, ERROR, "{path}");
        assert!(page.set_cookies().is_empty(), "{path} would overwrite the new cookie");
        assert!(page.body.is_empty(), "{path} tells the client something");
    }
    assert_eq!(browser.text("/user").await, r#"Some("ada")"#);
}

#[tokio::test]
async fn a_replaced_secret_is_no_longer_late_after_a_minute() {
    let Fixture { browser, clock, .. } = fixture();
    let (log, _guard) = Log::start();
    browser.text("/add").await;
    let stale = browser.steal();
    browser.text("/sign-in").await;
    clock.advance(Duration::from_secs(60));
    stale.text("/sign-in").await;
    assert!(log.text().contains("reuse of a former session secret"), "{}", log.text());
    assert_ne!(
        stale.token().unwrap()[..22],
        browser.token().unwrap()[..22],
        "a session of its own"
    );
    assert_eq!(browser.text("/user").await, r#"Some("ada")"#);
}

// proves: ASVS-7.4.1 NIST-5.1.3
#[tokio::test]
async fn signing_out_removes_the_cookie_and_refuses_copies_of_it() {
    let Fixture { browser, store, clock } = fixture();
    browser.text("/sign-in").await;
    let thief = browser.steal();
    store.calls();
    let page = browser.get("/sign-out").await;
    assert_eq!(store.calls(), ["delete"]);
    assert_eq!(page.set_cookies().len(), 1);
    assert_eq!(browser.token(), None);
    assert!(store.inner().is_empty());
    assert_eq!(thief.text("/user").await, "None");
    assert_eq!(thief.get("/regenerate").await.status, ERROR);
    clock.advance(Duration::from_secs(60));
    assert_eq!(thief.text("/user").await, "None");
    thief.text("/regenerate").await;
    assert!(store.inner().is_empty(), "rotating an unknown session makes none");
}

#[tokio::test]
async fn a_write_after_sign_out_starts_another_session() {
    let Fixture { browser, .. } = fixture();
    browser.text("/add").await;
    let before = browser.steal();
    browser.text("/out-and-in").await;
    assert_ne!(browser.token().unwrap()[..22], before.token().unwrap()[..22]);
    assert_eq!(browser.text("/user").await, r#"Some("bob")"#);
    assert_eq!(browser.text("/cart").await, "", "nothing of the old session is left");
    assert_eq!(before.text("/cart").await, "");
}

#[tokio::test]
async fn all_extractions_of_a_request_share_one_session() {
    let store = Probe::new(MemoryStore::new());
    async fn handler(first: Shop, second: Shop, untyped: Session) -> Result<String, Error> {
        first.set_user("ada").await?;
        let user = second.user().await?;
        second.set_visits(&7).await?;
        let visits: Option<u64> = untyped.get("visits").await?;
        Ok(format!("{user:?} {visits:?} {}", first.session().id() == untyped.id()))
    }
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(store.clone()));
    let browser = Browser::new(app);
    let page = browser.get("/").await;
    assert_eq!(page.body, r#"Some("ada") Some(7) true"#);
    assert_eq!(page.set_cookies().len(), 1);
    assert_eq!(store.calls(), ["create", "update"], "what was written need not be read");
    assert_eq!(store.inner().len(), 1);
}

// proves: ASVS-7.4.1
#[tokio::test]
async fn a_slow_write_creates_nothing_after_a_sign_out() {
    for slow in ["/add", "/sign-in", "/regenerate"] {
        let Fixture { browser, store, .. } = fixture();
        browser.text("/sign-in").await;
        // The slow request has not asked the store for anything before its write.
        let mut pause = store.pause_before("update");
        let tab = browser.clone();
        let writing = tokio::spawn(async move { tab.get(slow).await });
        pause.reached().await;
        browser.text("/sign-out").await;
        pause.go_on();
        let page = writing.await.unwrap();
        assert_eq!(page.status, ERROR, "{slow}");
        assert!(page.set_cookies().is_empty(), "{slow} signs the user in again");
        assert!(store.inner().is_empty(), "{slow} created a session");
    }
}

#[tokio::test]
async fn a_request_from_before_a_sign_out_does_not_clobber_the_next_sign_in() {
    let Fixture { browser, .. } = fixture();
    browser.text("/sign-in").await;
    let late = browser.steal();
    browser.text("/sign-out").await;
    browser.text("/sign-in").await;
    for path in ["/add", "/sign-in", "/regenerate"] {
        let page = late.get(path).await;
        assert_eq!(page.status, ERROR, "{path}");
        assert!(page.set_cookies().is_empty(), "{path}");
    }
    let page = late.get("/sign-out").await;
    assert_eq!(page.status, StatusCode::OK, "signing out twice is no error");
    assert!(page.set_cookies().is_empty(), "it would clear the new cookie");
    assert_eq!(browser.text("/user").await, r#"Some("ada")"#);
}

#[tokio::test]
async fn a_write_to_a_session_that_was_signed_out_meanwhile_fails() {
    let store = Probe::new(MemoryStore::new());
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
    let browser = Browser::new(app);
    browser.text("/sign-in").await;
    let mut pause = store.pause_before("update");
    let tab = browser.clone();
    let slow = tokio::spawn(async move { tab.get("/slow").await });
    pause.reached().await;
    browser.text("/sign-out").await;
    pause.go_on();
    let page = slow.await.unwrap();
    assert_eq!(page.body, r#"Some("ada") true None"#);
    assert!(page.set_cookies().is_empty());
    assert!(store.inner().is_empty(), "the write created something");
}

// proves: ASVS-7.2.4
#[tokio::test]
async fn of_parallel_sign_ins_one_wins() {
    for _ in 0..50 {
        let Fixture { browser, store, .. } = fixture();
        browser.text("/add").await;
        let tabs: Vec<_> = (0..8)
            .map(|_| {
                let tab = browser.steal();
                tokio::spawn(async move { (tab.get("/sign-in").await, tab) })
            })
            .collect();
        let mut winners = 0;
        for tab in tabs {
            let (page, tab) = tab.await.unwrap();
            assert_eq!(page.status == StatusCode::OK, !page.set_cookies().is_empty());
            let user = tab.text("/user").await;
            assert_eq!(user, if page.status == StatusCode::OK { r#"Some("ada")"# } else { "None" });
            winners += usize::from(page.status == StatusCode::OK);
        }
        assert_eq!((winners, store.inner().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_failed_rotation_is_made_up_for_by_the_next_write() {
    let Fixture { browser, store, .. } = fixture();
    browser.text("/add").await;
    let before = browser.steal();
    for fault in [Fault::Unreachable, Fault::AnswerLost] {
        store.fail_next(fault);
        let page = browser.get("/sign-in-twice").await;
        assert_eq!(page.body, "false true");
        assert_eq!(page.set_cookies().len(), 1, "{fault:?}: the second write had to rotate");
        assert_eq!(browser.text("/id").await, before.token().unwrap()[..22]);
        assert_ne!(browser.token(), before.token());
        assert_eq!(before.text("/cart").await, "", "{fault:?}: the old cookie still works");
    }
}

#[tokio::test]
async fn a_rotation_that_was_cancelled_after_it_took_place_is_found_again() {
    let store = Probe::new(MemoryStore::new());
    let app = Router::new()
        .route("/add", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/impatient",
            get(|shop: Shop| async move {
                let cancelled =
                    tokio::time::timeout(Duration::from_millis(20), shop.set_user("ada")).await;
                assert!(cancelled.is_err());
                shop.user().await.map(|user| format!("{user:?}"))
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let browser = Browser::new(app);
    browser.text("/add").await;
    let _pause = store.pause_after("update");
    assert_eq!(browser.text("/impatient").await, r#"Some("ada")"#);
    assert_eq!(browser.text("/add").await, "", "the client got the new secret");
}

#[tokio::test]
async fn two_rotations_of_a_request_replace_the_secret_once() {
    let Fixture { browser, store, .. } = fixture();
    browser.text("/add").await;
    let late = browser.steal();
    browser.text("/sign-in-and-rise").await;
    let page = late.get("/add").await;
    assert_eq!(page.status, ERROR, "the client's own secret has to be recognised as replaced");
    assert!(page.set_cookies().is_empty());
    assert_eq!(
        (store.inner().len(), browser.text("/user").await),
        (1, r#"Some("ada")"#.to_owned())
    );
}

#[tokio::test]
async fn a_repeated_rotation_does_not_forget_the_clients_secret() {
    let Fixture { browser, store, .. } = fixture();
    browser.text("/add").await;
    let late = browser.steal();
    store.fail_next(Fault::AnswerLost);
    browser.text("/sign-in-twice").await;
    let page = late.get("/add").await;
    assert_eq!(page.status, ERROR);
    assert!(page.set_cookies().is_empty(), "{page:?}");
}

#[tokio::test]
async fn a_rotation_that_failed_does_not_hide_one_of_another_request() {
    let Fixture { browser, store, .. } = fixture();
    browser.text("/add").await;
    // The first write fails on its way to the server, while another tab signs in.
    store.fail_next(Fault::Unreachable);
    let mut pause = store.pause_before("update");
    let tab = browser.steal();
    let slow = tokio::spawn(async move { tab.get("/sign-in-twice").await });
    pause.reached().await;
    browser.text("/sign-in").await;
    pause.go_on();
    let page = slow.await.unwrap();
    assert_eq!(page.body, "false false");
    assert!(page.set_cookies().is_empty(), "it would overwrite the cookie of the other tab");
}

#[tokio::test]
async fn signing_out_twice_is_no_error_and_clears_nothing_twice() {
    let Fixture { browser, .. } = fixture();
    browser.text("/sign-in").await;
    let tab = browser.steal();
    browser.text("/read-and-sign-out").await;
    for path in ["/sign-out", "/read-and-sign-out"] {
        let page = tab.get(path).await;
        assert_eq!((page.status, page.set_cookies().len()), (StatusCode::OK, 0), "{path}");
    }
}

#[tokio::test]
async fn a_sign_out_whose_answer_was_lost_still_takes_the_cookie_away() {
    for (path, status) in [("/sign-out", DOWN), ("/sign-out-twice", StatusCode::OK)] {
        let Fixture { browser, store, .. } = fixture();
        browser.text("/sign-in").await;
        store.fail_next(Fault::AnswerLost);
        assert_eq!(browser.get(path).await.status, status);
        assert_eq!(browser.token(), None, "{path}");
        browser.text("/sign-in").await;
    }
}

/// In the store of record it is done: the browser has to go along.
#[tokio::test]
async fn a_cache_that_was_not_told_is_an_error_and_keeps_nobody_signed_in_or_out() {
    let Fixture { browser, store, .. } = fixture();
    browser.text("/add").await;
    let before = browser.token();
    store.fail_next(Fault::CacheNotTold);
    let page = browser.get("/sign-in").await;
    assert_eq!((page.status, page.set_cookies().len()), (ERROR, 1), "the secret was replaced");
    assert_ne!(browser.token(), before);
    assert_eq!(browser.text("/user").await, r#"Some("ada")"#);

    store.fail_next(Fault::CacheNotTold);
    let page = browser.get("/sign-out").await;
    assert_eq!((page.status, browser.token()), (ERROR, None), "the session is gone");
    assert!(store.inner().is_empty());
    assert_eq!(browser.text("/user").await, "None");
}

#[tokio::test]
async fn a_sign_out_that_two_rotations_overtook_is_an_error() {
    let Fixture { browser, store, .. } = fixture();
    browser.text("/sign-in").await;
    let tab = browser.steal();
    let mut pause = store.pause_before("delete");
    let slow = tokio::spawn(async move { tab.get("/read-and-sign-out").await });
    pause.reached().await;
    browser.text("/sign-in").await;
    browser.text("/sign-in").await;
    pause.go_on();
    let page = slow.await.unwrap();
    assert_eq!((page.status, page.set_cookies().len()), (ERROR, 0), "the session lives on");
    assert_eq!(browser.text("/user").await, r#"Some("ada")"#);
}

#[tokio::test]
async fn an_update_that_gave_up_owes_no_rotation() {
    let store = Probe::new(MemoryStore::new());
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
    let browser = Browser::new(app);
    browser.text("/add").await;
    let token = browser.token();
    store.rival(60);
    browser.text("/rise").await;
    assert_eq!(browser.token(), token, "nothing was changed, so nothing has to rotate");
}

#[tokio::test]
async fn a_rotation_that_the_response_overtakes_ends_the_session() {
    let store = Probe::new(MemoryStore::new());
    let (told, tell) = tokio::sync::oneshot::channel();
    let told = Arc::new(Mutex::new(Some(told)));
    let app = Router::new()
        .route("/add", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route(
            "/",
            get(move |shop: Shop| async move {
                drop(tokio::spawn(async move {
                    let result = shop.set_user("ada").await;
                    let _ = told.lock().await.take().unwrap().send(result);
                }));
                // The task comes as far as the store before the response leaves.
                tokio::task::yield_now().await;
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let browser = Browser::new(app);
    browser.text("/add").await;
    let mut pause = store.pause_after("update");
    let tab = browser.clone();
    let asking = tokio::spawn(async move { tab.get("/").await });
    pause.reached().await;
    assert!(asking.await.unwrap().set_cookies().is_empty());
    pause.go_on();
    assert!(matches!(tell.await.unwrap(), Err(Error::ResponseSent)));
    assert!(store.inner().is_empty(), "nobody knows its secret");
}

#[tokio::test]
async fn nothing_rotates_for_a_client_that_has_gone_away() {
    let store = Probe::new(MemoryStore::new());
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
    let browser = Browser::new(app);
    browser.text("/add").await;
    let tab = browser.clone();
    let hanging = tokio::spawn(async move { tab.get("/hang").await });
    while kept.lock().await.is_none() {
        tokio::task::yield_now().await;
    }
    hanging.abort();
    assert!(hanging.await.is_err());
    let shop = kept.lock().await.take().unwrap();
    assert!(matches!(shop.set_user("ada").await, Err(Error::ResponseSent)));
    assert_eq!(browser.text("/add").await, "", "the cookie still works");
}

// proves: ASVS-16.5.1
#[tokio::test]
async fn a_dead_store_is_unavailable_and_loses_nothing() {
    let Fixture { browser, store, .. } = fixture();
    browser.text("/add").await;
    for path in ["/cart", "/add", "/sign-in", "/sign-out", "/id"] {
        store.fail_next(Fault::Unreachable);
        let page = browser.get(path).await;
        assert_eq!((page.status, page.body.as_str()), (DOWN, ""), "{path}");
        assert!(page.set_cookies().is_empty());
        assert_eq!(browser.text("/cart").await, "tea", "{path}");
    }
    let stranger = browser.stranger();
    store.fail_next(Fault::Unreachable);
    assert_eq!(stranger.get("/add").await.status, DOWN);
    assert_eq!(stranger.token(), None);
}

#[tokio::test]
async fn nothing_begins_or_rotates_once_the_response_is_out() {
    let store = Probe::new(MemoryStore::new());
    let late = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&late);
    let app = Router::new()
        .route("/", get(move |shop: Shop| async move { *keep.lock().await = Some(shop) }))
        .route("/add", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .layer(SessionLayer::new(store.clone()));
    let browser = Browser::new(app);

    browser.text("/").await;
    let shop = late.lock().await.take().unwrap();
    assert!(matches!(shop.set_visits(&1).await, Err(Error::ResponseSent)));
    assert!(store.inner().is_empty());

    browser.text("/add").await;
    browser.text("/").await;
    let shop = late.lock().await.take().unwrap();
    assert!(matches!(shop.set_user("ada").await, Err(Error::ResponseSent)));
    shop.set_visits(&5).await.unwrap();
    assert_eq!(shop.session().read(Shop::VISITS).await.unwrap(), 5);
    assert_eq!(browser.text("/add").await, "", "the cookie still works");
}

#[tokio::test]
async fn a_session_that_is_created_while_the_response_leaves_is_taken_back() {
    let store = Probe::new(MemoryStore::new());
    let app = Router::new()
        .route(
            "/",
            get(|shop: Shop| async move {
                drop(tokio::spawn(async move { shop.set_visits(&1).await }));
                tokio::task::yield_now().await;
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let browser = Browser::new(app);
    let mut pause = store.pause_after("create");
    let asking = tokio::spawn(async move { browser.get("/").await });
    pause.reached().await;
    assert!(asking.await.unwrap().set_cookies().is_empty());
    pause.go_on();
    while !store.inner().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.calls(), ["create", "delete"]);
}

#[tokio::test]
async fn a_once_field_can_rotate_as_it_is_taken() {
    let store = Probe::new(MemoryStore::new());
    let app = Router::new()
        .route("/give", get(|shop: Shop| async move { shop.set_ticket("t").await }))
        .route(
            "/use",
            get(|shop: Shop| async move {
                shop.ticket().take().await.map(|ticket| format!("{ticket:?}"))
            }),
        )
        .layer(SessionLayer::new(store.clone()));
    let browser = Browser::new(app);
    browser.text("/give").await;
    let before = browser.steal();
    store.calls();
    assert_eq!(browser.text("/use").await, r#"Some("t")"#);
    assert_eq!(store.calls(), ["take"]);
    assert_ne!(browser.token(), before.token());
    assert_eq!(before.text("/use").await, "None");
}

// proves: ASVS-16.2.5
#[tokio::test]
async fn no_secret_reaches_the_log() {
    let (log, _guard) = Log::start();
    let Fixture { browser, store, .. } = fixture();
    let mut secrets = Vec::new();
    for path in ["/add", "/sign-in", "/user", "/regenerate", "/out-and-in", "/sign-in-twice", "/id"]
    {
        browser.text(path).await;
        secrets.push(browser.token().unwrap());
    }
    let thief = browser.steal();
    browser.text("/sign-in").await;
    thief.get("/add").await;
    store.fail_next(Fault::AnswerLost);
    browser.get("/add").await;
    browser.text("/sign-out").await;
    let text = log.text();
    for event in
        ["session created", "session rotated", "session ended", "session_store", "session error"]
    {
        assert!(text.contains(event), "`{event}` is not logged");
    }
    for token in secrets {
        let (id, secret) = token.split_once('.').unwrap();
        assert!(id.parse::<SessionId>().is_ok() && text.contains(id));
        assert!(!text.contains(secret), "a secret was logged");
    }
    assert!(!text.contains("tea") && !text.contains("\"ada\""), "a value was logged");
}
