#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! Instances of several releases serve the same carts, through a deploy, a rollback and another deploy.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    http::{StatusCode, header},
};
use ruts::{store::memory::MemoryStore, testing::Client};
use schema_migration::{after, before, bridge};
use tokio::task::JoinSet;

const USERS: usize = 6;
const REQUESTS: usize = 20;

/// Builds an instance of a release.
type Release = fn(MemoryStore) -> Router;

const BEFORE: Release = before::app;
const BRIDGE: Release = bridge::app;
const AFTER: Release = after::app;

/// A shop with users who keep their carts through all deploys.
struct Shop {
    store: MemoryStore,
    users: Vec<Client>,
    /// Number of items that each user has put into the cart.
    pieces: [usize; USERS],
}

/// Puts an item into the cart. Returns `false` for status 503.
async fn add_to_cart(user: &Client) -> bool {
    let reply = user.post("/cart/tea", "").await;
    match reply.status {
        StatusCode::OK => true,
        StatusCode::SERVICE_UNAVAILABLE => {
            assert_eq!(reply.headers[header::RETRY_AFTER], "1");
            false
        }
        status => panic!("{status}"),
    }
}

impl Shop {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let first = Client::new(BEFORE(store.clone()));
        let users: Vec<_> = (0..USERS).map(|_| first.stranger()).collect();
        for user in &users {
            // Starts the session, so that the parallel requests below share it.
            assert!(add_to_cart(user).await);
        }
        Self { store, users, pieces: [1; USERS] }
    }

    /// Serves all users at the same time with instances of these releases. Each request goes to the
    /// next instance, and each user sends two requests at a time. Returns the number of responses
    /// with status 503.
    async fn serve(&mut self, releases: &[Release]) -> usize {
        let instances: Vec<_> =
            releases.iter().map(|release| Client::new(release(self.store.clone()))).collect();
        let next = Arc::new(AtomicUsize::new(0));
        let mut users = JoinSet::new();
        for (number, user) in self.users.iter().cloned().enumerate() {
            let (instances, next) = (instances.clone(), Arc::clone(&next));
            users.spawn(async move {
                let add = async || {
                    let instance =
                        &instances[next.fetch_add(1, Ordering::Relaxed) % instances.len()];
                    add_to_cart(&user.clone().after_a_restart(instance)).await
                };
                let mut added = 0;
                for _ in 0..REQUESTS / 2 {
                    let (one, other) = tokio::join!(add(), add());
                    added += usize::from(one) + usize::from(other);
                }
                (number, added)
            });
        }
        let mut unavailable = 0;
        for (number, added) in users.join_all().await {
            self.pieces[number] += added;
            unavailable += REQUESTS - added;
        }
        unavailable
    }

    /// Asserts that an instance of a release shows, for each user, the number of items in the cart.
    async fn check(&self, release: Release) {
        let instance = Client::new(release(self.store.clone()));
        for (user, pieces) in self.users.iter().zip(&self.pieces) {
            let reply = user.clone().after_a_restart(&instance).get("/cart").await;
            assert_eq!(reply.text(), pieces.to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_bridge_release_nothing_fails_and_nothing_is_lost() {
    let mut shop = Shop::new().await;
    let forward: [&[Release]; 5] = [
        &[BEFORE, BEFORE],
        &[BEFORE, BRIDGE],
        &[BRIDGE, BRIDGE],
        &[BRIDGE, AFTER],
        &[AFTER, AFTER],
    ];
    let back = forward.iter().rev().skip(1);
    for releases in forward.iter().chain(back).chain(&forward[1..]) {
        assert_eq!(shop.serve(releases).await, 0);
        for release in *releases {
            shop.check(*release).await;
        }
    }
}

/// Instances of the first release respond with 503 if they read a newer cart, and lose no item.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_bridge_release_nothing_is_lost() {
    let mut shop = Shop::new().await;
    assert_eq!(shop.serve(&[BEFORE, BEFORE]).await, 0);
    assert!(shop.serve(&[BEFORE, AFTER]).await > 0);
    shop.check(AFTER).await;
    assert_eq!(shop.serve(&[AFTER, AFTER]).await, 0);
    assert!(shop.serve(&[AFTER, BEFORE]).await > 0);
    assert_eq!(shop.serve(&[BEFORE]).await, USERS * REQUESTS, "each cart has version 2");
    shop.check(AFTER).await;
    assert_eq!(shop.serve(&[AFTER]).await, 0);
    shop.check(AFTER).await;
}
