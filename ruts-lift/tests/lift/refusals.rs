//! Tests of old sessions that cannot be lifted, and of lifts that fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode};
use ruts::{
    SessionLayer,
    store::{OnLimit, memory::MemoryStore},
    testing::Client,
};
use ruts_lift::{BoxError, LiftLayer, Malformed, OldCookie, OldSession, OldSessions};
use ruts_tests_support::{Log, wait_until};
use serde_json::{Value, json};

use super::{
    COOKIE, add,
    scenarios::{expect, lift, post_to, shop},
    setup, setup_with, with_old_cookie_of,
};

const MARK: &str = "an old session cannot be lifted";

/// A cart of a wrong type. The lift function signs the user in before it reads the cart.
#[tokio::test]
async fn a_bad_value_locks_nobody_out() {
    let setup = setup();
    let client = setup.ada().await;
    post_to(&client, "/old/set-count", "").await;
    let (log, _guard) = Log::start();
    for _ in 0..3 {
        expect(&client, "/both/show", "guest: ").await;
    }
    assert_eq!(setup.lifts(), 1);
    assert_eq!(log.text().matches(MARK).count(), 1, "{}", log.text());
    assert_eq!(setup.live_sessions().await, 0);
    // A later release may have a lift function that accepts the value.
    setup.clock.advance(Duration::from_secs(601));
    expect(&client, "/both/show", "guest: ").await;
    assert_eq!(setup.lifts(), 2);

    // A guest keeps the old session. A user who signs in does not need it.
    post_to(&client, "/both/add", "item=b").await;
    assert!(client.cookie(COOKIE).is_some());
    let thief = with_old_cookie_of(&client);
    post_to(&client, "/both/sign-in", "name=ada").await;
    assert_eq!(client.cookie(COOKIE), None);
    expect(&client, "/both/show", "ada: b").await;
    expect(&thief, "/old/show", "guest: ").await;
    expect(&thief, "/both/show", "guest: ").await;
}

#[tokio::test]
async fn a_value_that_was_mended_is_lifted_at_once() {
    let setup = setup();
    let client = setup.client();
    post_to(&client, "/old/set-count", "").await;
    expect(&client, "/both/show", "guest: ").await;
    // The old library gives the session a new state, not a new id.
    let id = client.cookie(COOKIE).unwrap().parse().unwrap();
    let mut record = tower_sessions::SessionStore::load(&setup.old, &id).await.unwrap().unwrap();
    record.data.insert("cart".to_owned(), json!(["tea"]));
    tower_sessions::SessionStore::save(&setup.old, &record).await.unwrap();
    expect(&client, "/both/show", "guest: tea").await;
}

/// The lift signs a guest of the new program in, and then fails.
#[tokio::test]
async fn a_lift_that_fails_halfway_keeps_the_sessions_together() {
    let setup = setup();
    for path in ["/both/sign-out", "/old/sign-out"] {
        let client = setup.client();
        post_to(&client, "/both/add", "item=own").await;
        post_to(&client, "/old/sign-in", "name=ada").await;
        post_to(&client, "/old/set-count", "").await;
        let before = setup.lifts();
        expect(&client, "/both/show", "ada: own").await;
        expect(&client, "/both/show", "ada: own").await;
        assert_eq!(setup.lifts(), before + 1);
        // The next lift tries all values again.
        setup.clock.advance(Duration::from_secs(601));
        expect(&client, "/both/show", "ada: own").await;
        assert_eq!(setup.lifts(), before + 2);
        let thief = client.steal();
        post_to(&client, path, "").await;
        expect(&thief, "/both/show", "guest: ").await;
        expect(&thief, "/old/show", "guest: ").await;
        assert_eq!(setup.live_sessions().await, 0);
    }
}

#[tokio::test]
async fn a_user_at_the_session_limit_gets_pages() {
    let setup = setup_with(|layer| layer.max_sessions(1, OnLimit::Reject));
    let (desk, phone) = (setup.ada().await, setup.ada().await);
    expect(&desk, "/both/show", "ada: a").await;
    for _ in 0..3 {
        expect(&phone, "/both/show", "guest: ").await;
    }
    assert_eq!(setup.lifts(), 2);
    expect(&phone, "/old/show", "ada: a").await;
    post_to(&desk, "/both/sign-out", "").await;
    setup.clock.advance(Duration::from_secs(601));
    expect(&phone, "/both/show", "ada: a").await;
}

/// The lift function runs as a trial, because a user is signed in already.
#[tokio::test]
async fn a_trial_ends_no_session() {
    for on_limit in [OnLimit::EndOldest, OnLimit::Reject] {
        let setup = setup_with(|layer| layer.max_sessions(1, on_limit));
        let client = setup.client();
        post_to(&client, "/both/sign-in", "name=ada").await;
        post_to(&client, "/both/add", "item=own").await;
        post_to(&client, "/old/sign-in", "name=ada").await;
        post_to(&client, "/old/add", "item=old").await;
        expect(&client, "/both/show", "ada: own,old").await;
        expect(&client, "/both/show", "ada: own,old").await;
        assert_eq!(setup.live_sessions().await, 1);
    }
}

/// The clock of the store stands still, so a lease that was kept would never expire.
#[tokio::test]
async fn a_trial_that_fails_keeps_no_lease() {
    let setup = setup();
    let client = setup.client();
    post_to(&client, "/both/sign-in", "name=ada").await;
    post_to(&client, "/old/sign-in", "name=ada").await;
    post_to(&client, "/old/set-count", "").await;
    expect(&client, "/both/show", "ada: ").await;
    let fresh = with_old_cookie_of(&client);
    setup.store.take_calls();
    let next = add(&fresh, "/both/add", "item=b");
    wait_until("the request should not wait for a lease", async || next.is_finished()).await;
    next.await.unwrap();
}

/// A failure of a read under the lease.
#[tokio::test]
async fn an_outage_under_the_lease_keeps_no_lease() {
    let setup = setup();
    let client = setup.ada().await;
    // The first load goes through, and the store is down for the second one.
    let mut stopped = setup.load.stop_next();
    let request = client.clone();
    let request = tokio::spawn(async move { request.get("/both/show").await.status });
    (&mut stopped.reached).await.unwrap();
    *setup.is_down.lock().unwrap() = true;
    stopped.resume.send(()).unwrap();
    assert_eq!(request.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    *setup.is_down.lock().unwrap() = false;
    expect(&client, "/both/show", "ada: a").await;
}

#[tokio::test]
async fn a_link_of_an_unknown_form_locks_nobody_out() {
    for path in ["/plain/spoil-link", "/plain/later-link"] {
        let setup = setup();
        let client = setup.ada().await;
        expect(&client, "/both/show", "ada: a").await;
        assert_eq!(client.post(path, "").await.status, StatusCode::OK);
        expect(&client, "/both/show", "ada: a").await;
        expect(&client, "/both/show", "ada: a").await;
        assert_eq!(setup.live_sessions().await, 1);
    }
}

/// An old store whose record, of a session with one value, is damaged.
#[derive(Clone)]
struct Damaged(Arc<AtomicBool>, (&'static str, Value));

impl OldSessions for Damaged {
    async fn load(&self, _: &str) -> Result<Option<OldSession>, BoxError> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Malformed.into()),
            false => Ok(Some(OldSession::new([(self.1.0.to_owned(), self.1.1.clone())]))),
        }
    }

    async fn delete(&self, _: &str) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Returns a client of this old store.
fn client_of(old: impl OldSessions) -> Client {
    let store = Arc::new(MemoryStore::new());
    let sessions = SessionLayer::new(&store);
    let both = LiftLayer::during_rollout(&sessions, &store, OldCookie::new(COOKIE), old, lift);
    let client = Client::new(Router::new().nest("/both", shop(sessions).layer(both)));
    client.plant(COOKIE, "x");
    client
}

#[tokio::test]
async fn a_sign_in_beside_a_damaged_record_succeeds() {
    let is_damaged = Arc::new(AtomicBool::new(false));
    let client = client_of(Damaged(Arc::clone(&is_damaged), ("cart", json!(["a"]))));
    expect(&client, "/both/show", "guest: a").await;
    is_damaged.store(true, Ordering::Relaxed);
    post_to(&client, "/both/sign-in", "name=ada").await;
    assert_eq!(client.cookie(COOKIE), None);
    expect(&client, "/both/show", "ada: a").await;
}

#[tokio::test]
async fn a_damaged_record_locks_nobody_out() {
    let is_damaged = Arc::new(AtomicBool::new(true));
    let client = client_of(Damaged(Arc::clone(&is_damaged), ("user", json!("ada"))));
    let (log, _guard) = Log::start();
    expect(&client, "/both/show", "guest: ").await;
    expect(&client, "/both/show", "guest: ").await;
    assert_eq!(log.text().matches(MARK).count(), 1, "{}", log.text());
    is_damaged.store(false, Ordering::Relaxed);
    expect(&client, "/both/show", "ada: ").await;
    // A damaged old session is not a sign-out.
    is_damaged.store(true, Ordering::Relaxed);
    expect(&client, "/both/show", "ada: ").await;
}
