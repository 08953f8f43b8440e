//! Many concurrent updates of one field do not conflict within a process.

use axum::{Router, routing::get};
use ruts::{Error, SessionLayer, session};
use ruts_tests_stores::{
    backends::{fred_client, redis_store},
    servers::{Flavour, Prefix, Redis},
};
use ruts_tests_support::{ClientExt, new_client};
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
