//! Many concurrent updates of one field do not conflict within a process. Neither do sign-ins of
//! one principal, in one process or in several.

use std::sync::Arc;

use axum::{Router, routing::get};
use ruts::{
    Error, SessionLayer, Ttl,
    auth::{Assurance, PrincipalKey},
    session,
    store::{NewSignIn, OnLimit, PageRequest, Projection, SessionLimit, Store},
};
use ruts_tests_stores::{
    backends::{fred_client, redis_store},
    servers::{Flavour, Prefix, Redis},
    tiers::Tiers,
};
use ruts_tests_support::{ClientExt, TestSession, new_client, random};
use tokio::task::JoinSet;

#[session]
struct Shop {
    #[field(default)]
    visits: u64,
}

const UPDATES: u64 = 256;

/// In one process, each update takes one read and one write, even if many run concurrently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_updates_all_succeed_in_two_commands_each() {
    let (server, prefix) = (Redis::start(Flavour::Redis, &[]), Prefix::unique());
    let store = redis_store(fred_client(server.url()).await, &prefix);
    let visit = |shop: Shop| async move { shop.visits().update(|visits| *visits += 1).await };
    let visits = |shop: Shop| async move { Ok::<_, Error>(shop.visits().await?.to_string()) };
    let app = Router::new()
        .route("/begin", get(|shop: Shop| async move { shop.set_visits(&0).await }))
        .route("/visit", get(visit))
        .route("/visits", get(visits))
        .layer(SessionLayer::new(store));
    let client = new_client(app);
    client.text("/begin").await;
    client.text("/visit").await;
    let before = server.calls("evalsha");
    let mut updates = JoinSet::new();
    for _ in 0..UPDATES {
        let client = client.clone();
        updates.spawn(async move { client.text("/visit").await });
    }
    updates.join_all().await;
    let sent = server.calls("evalsha") - before;
    assert!(
        sent <= 2 * UPDATES + 10,
        "each update should take at most two commands, but {sent} were sent"
    );
    assert_eq!(client.text("/visits").await, (UPDATES + 1).to_string());
}

/// Signs one principal in at the same time, `each` times through each store, which is a process of
/// its own. At the limit, each sign-in ends an earlier one, and none is refused.
async fn sign_in_through_each<S: Store>(stores: &[Arc<S>], each: usize) {
    let hour = Ttl::from_secs(3600);
    for most in [1, 3] {
        let principal = PrincipalKey::from_bytes(random());
        let mut sign_ins = JoinSet::new();
        for store in stores.iter().flat_map(|store| std::iter::repeat_n(store, each)) {
            let session = TestSession::new(store);
            sign_ins.spawn(async move {
                let limit = SessionLimit::new(most, OnLimit::EndOldest);
                let who = NewSignIn::new(&principal, Assurance::Aal1).limit(limit);
                session.store.create(session.creation().idle(hour).sign_in(who)).await.map(drop)
            });
        }
        for answer in sign_ins.join_all().await {
            answer.expect("no sign-in should be refused");
        }
        let (page, fields) = (PageRequest::new(None, 100), Projection::Named(&[]));
        let found = stores[0].list_by_principal(&principal, page, fields).await.unwrap();
        assert_eq!(found.sessions.len(), most as usize, "the latest sessions should be live");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_of_a_principal_are_not_refused_on_redis() {
    for server in [Redis::start(Flavour::Redis, &[]), Redis::start_with_slots(Flavour::Valkey)] {
        let (prefix, mut stores) = (Prefix::unique(), Vec::new());
        for _ in 0..12 {
            stores.push(Arc::new(redis_store(fred_client(server.url()).await, &prefix)));
        }
        sign_in_through_each(&stores[..1], 40).await;
        sign_in_through_each(&stores, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_of_a_principal_are_not_refused_behind_a_cache() {
    let tiers = Tiers::start(Flavour::Redis);
    let mut stores = Vec::new();
    for _ in 0..12 {
        stores.push(tiers.store().await);
    }
    sign_in_through_each(&stores[..1], 40).await;
    sign_in_through_each(&stores, 2).await;
}
