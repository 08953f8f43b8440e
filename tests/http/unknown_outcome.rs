//! Tests of requests that continue after a sign-in or sign-out of unknown outcome.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::Path, http::StatusCode, routing::get};
use ruts::{
    Error, SessionLayer, session,
    session::LayerName,
    store::{
        OnLimit,
        memory::{ManualClock, MemoryStore},
    },
    testing::Client,
};
use ruts_tests_support::{ClientExt, Fault, InstrumentedStore, new_client, wait_until};

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default)]
    cart: Vec<String>,
    #[field(rotate)]
    role: String,
}

type Instrumented = InstrumentedStore<MemoryStore>;

async fn show(shop: &Shop) -> Result<String, Error> {
    Ok(format!("{:?} {:?}", shop.user().await?, shop.cart().await?))
}

fn routes() -> Router {
    let add =
        async |shop: &Shop, item: &str| shop.cart().update(|cart| cart.push(item.to_owned())).await;
    Router::new()
        .route(
            "/add/{item}",
            get(move |shop: Shop, Path(item): Path<String>| async move { add(&shop, &item).await }),
        )
        .route(
            "/in/{user}",
            get(|shop: Shop, Path(user): Path<u64>| async move { shop.set_user(&user).await }),
        )
        .route("/who", get(|shop: Shop| async move { show(&shop).await }))
        .route("/role", get(|shop: Shop| async move { shop.set_role("admin").await }))
        .route("/out", get(|shop: Shop| async move { shop.user().take().await.map(drop) }))
}

/// Signs user 8 in, on the session of user 7. The answer is lost, or the future is dropped.
async fn switch(shop: &Shop, store: &Instrumented, is_dropped: bool) -> Result<(), Error> {
    shop.cart().await?;
    shop.session().signed_in().await?;
    if is_dropped {
        let mut pause = store.pause_after("update");
        tokio::select! {
            _ = async { shop.set_user(&8).await } => unreachable!("the store should be paused"),
            () = pause.reached() => {}
        }
    } else {
        store.fail_next(Fault::AnswerLost);
        shop.set_user(&8).await.unwrap_err();
    }
    Ok(())
}

/// The request cannot read the fields or list the devices of the former user.
#[tokio::test]
async fn the_request_knows_nothing_of_the_former_user() {
    for is_dropped in [false, true] {
        let store = InstrumentedStore::new(MemoryStore::new());
        let [reading, revoking] = [store.clone(), store.clone()];
        let app = routes()
            .route(
                "/switch-and-read",
                get(async move |shop: Shop| {
                    switch(&shop, &reading, is_dropped).await?;
                    show(&shop).await
                }),
            )
            .route(
                "/switch-and-revoke",
                get(async move |shop: Shop| {
                    switch(&shop, &revoking, is_dropped).await?;
                    shop.cart().set(&vec!["milk".to_owned()]).await?;
                    shop.session().revoke_others().await?;
                    show(&shop).await
                }),
            );
        let client = new_client(app.layer(SessionLayer::new(store)));
        client.text("/in/7").await;
        client.text("/add/tea").await;
        assert_eq!(client.text("/switch-and-read").await, "Some(8) []");

        let [seven, eight] = [(); 2].map(|()| client.stranger());
        client.text("/in/7").await;
        seven.text("/in/7").await;
        eight.text("/in/8").await;
        assert_eq!(client.text("/switch-and-revoke").await, r#"Some(8) ["milk"]"#);
        assert_eq!(seven.text("/who").await, "Some(7) []");
        assert_eq!(eight.text("/who").await, "None []");
    }
}

/// A request begins a session, signs in without getting an answer, and continues in the same
/// session.
#[tokio::test]
async fn a_write_after_a_sign_in_of_unknown_outcome_stays() {
    let store = InstrumentedStore::new(MemoryStore::new());
    let inner = store.clone();
    let checkout = async move |shop: Shop| {
        shop.cart().set(&vec!["tea".to_owned()]).await?;
        inner.fail_next(Fault::AnswerLost);
        shop.set_user(&7).await.unwrap_err();
        shop.cart().update(|cart| cart.push("milk".to_owned())).await?;
        show(&shop).await
    };
    let app = routes().route("/checkout", get(checkout));
    let client = new_client(app.layer(SessionLayer::new(store)));
    assert_eq!(client.text("/checkout").await, r#"Some(7) ["tea", "milk"]"#);
    assert_eq!(client.text("/who").await, r#"Some(7) ["tea", "milk"]"#);
}

/// A sign-out by `take` with a replaced secret is refused, as a sign-out by `remove` is.
#[tokio::test]
async fn a_late_sign_out_is_not_reported_as_done() {
    let client = new_client(routes().layer(SessionLayer::new(MemoryStore::new())));
    client.text("/in/7").await;
    let late = client.steal();
    client.text("/role").await;
    assert_eq!(late.get("/out").await.status, StatusCode::CONFLICT);
    assert_eq!(client.text("/who").await, "Some(7) []");
    client.text("/out").await;
    assert_eq!(client.text("/who").await, "None []");
    assert_eq!(
        client.get("/out").await.status,
        StatusCode::OK,
        "a guest should be able to sign out"
    );
}

/// If the store answers a renewal late, the response does not set the new token. A sign-in may have
/// set a newer cookie in the meantime.
#[tokio::test]
async fn a_slow_renewal_overwrites_no_newer_cookie() {
    let clock = ManualClock::new();
    let store = InstrumentedStore::new(MemoryStore::builder().clock(clock.clone()).build());
    let layer = SessionLayer::new(store.clone()).renew_every(Duration::from_secs(60));
    let client = new_client(routes().layer(layer));
    client.text("/add/tea").await;
    clock.advance(Duration::from_secs(61));
    let mut pause = store.pause_after("update");
    let tab = client.clone();
    let page = tokio::spawn(async move { tab.get("/who").await });
    pause.reached().await;
    client.text("/in/7").await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    pause.resume();
    assert!(page.await.unwrap().set_cookies().is_empty());
    assert_eq!(client.text("/who").await, r#"Some(7) ["tea"]"#);
}

/// An administrator whose own session is in another store stays signed in.
#[tokio::test]
async fn an_end_of_all_sessions_in_one_store_ends_none_in_another() {
    struct Admins;
    impl LayerName for Admins {
        const NAME: &'static str = "admins";
    }
    #[session(layer = Admins)]
    struct Admin {
        #[field(principal)]
        admin: u64,
    }
    let [users, admins] = [(); 2].map(|()| Arc::new(MemoryStore::new()));
    let store = Arc::clone(&admins);
    let own = get(async move |admin: Admin| {
        admin.admin().await?;
        Admin::sessions(&store).revoke_everyone().await
    });
    let others = get(async move |admin: Admin| {
        admin.admin().await?;
        Shop::sessions(&users).revoke_everyone().await
    });
    let app = Router::new()
        .route("/in", get(|admin: Admin| async move { admin.set_admin(&1).await }))
        .route(
            "/who",
            get(
                |admin: Admin| async move { Ok::<_, Error>(format!("{:?}", admin.admin().await?)) },
            ),
        )
        .route("/users", others)
        .route("/admins", own)
        .layer(SessionLayer::new(&admins).named::<Admins>());
    let client = Client::new(app);
    client.get("/in").await;
    assert!(client.get("/users").await.set_cookies().is_empty());
    assert_eq!(client.get("/who").await.text(), "Some(1)");
    client.get("/admins").await;
    assert_eq!(client.get("/who").await.text(), "None");
}

/// The first request of a visitor is cancelled while the store creates the session, or its answer
/// is lost. The store does not keep the session.
#[tokio::test]
async fn a_cancelled_creation_leaves_no_session() {
    for is_cancelled in [true, false] {
        let store = InstrumentedStore::new(MemoryStore::new());
        let layer = SessionLayer::new(store.clone()).max_sessions(1, OnLimit::Reject);
        let client = new_client(routes().layer(layer));
        if is_cancelled {
            let (tab, mut pause) = (client.clone(), store.pause_after("create"));
            let first = tokio::spawn(async move { tab.get("/in/7").await });
            pause.reached().await;
            first.abort();
            assert!(first.await.unwrap_err().is_cancelled());
        } else {
            store.fail_next(Fault::AnswerLost);
            assert_eq!(client.get("/in/7").await.status, StatusCode::SERVICE_UNAVAILABLE);
        }
        wait_until("the session is deleted", async || store.inner().is_empty()).await;
        client.text("/in/7").await;
        assert_eq!(client.text("/who").await, "Some(7) []");
    }
}
