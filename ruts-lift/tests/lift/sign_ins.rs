//! Tests of old cookies that an attacker knows, and of sign-ins in ruts while an old session is
//! live.
//!
//! An attacker can plant the old cookie, because it does not have the prefix `__Host-`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    http::{Extensions, HeaderMap, StatusCode},
};
use ruts::{
    SessionLayer,
    client::{ClientChangeAction, ClientFingerprint},
    store::memory::MemoryStore,
    testing::Client,
};
use ruts_lift::{BoxError, LiftLayer, OldCookie, OldSession, OldSessions};
use ruts_tests_support::{ClientExt, wait_until};
use serde_json::json;
use tower_sessions::{SessionStore, session::Id};

use super::{
    COOKIE, Setup, add, plant_old_cookie_of,
    scenarios::{Shop, expect, lift, post_to, shop},
    setup, setup_with, with_old_cookie_of,
};

const RUTS_COOKIE: &str = "__Host-id";

/// Returns a client with a guest's old session that has an item in its cart.
async fn guest(setup: &Setup, item: &str) -> Client {
    let client = setup.client();
    post_to(&client, "/old/add", &format!("item={item}")).await;
    client
}

#[tokio::test]
async fn a_sign_in_ends_the_old_session_of_a_guest() {
    for program in ["both", "last"] {
        let setup = setup();
        let attacker = guest(&setup, "a").await;
        let victim = with_old_cookie_of(&attacker);
        expect(&victim, &format!("/{program}/show"), "guest: a").await;
        post_to(&victim, &format!("/{program}/sign-in"), "name=ada").await;
        assert_eq!(victim.cookie(COOKIE), None);

        for path in ["/both/show", "/last/show", "/old/show"] {
            expect(&with_old_cookie_of(&attacker), path, "guest: ").await;
        }
        expect(&victim, "/both/show", "ada: a").await;
        expect(&victim, "/last/show", "ada: a").await;
        expect(&with_old_cookie_of(&attacker), "/both/show", "guest: ").await;
    }
}

#[tokio::test]
async fn a_sign_in_ends_the_old_session_of_a_different_user() {
    let setup = setup();
    let attacker = setup.client();
    post_to(&attacker, "/old/sign-in", "name=eve").await;
    let victim = with_old_cookie_of(&attacker);
    expect(&victim, "/both/show", "eve: ").await;
    post_to(&victim, "/both/sign-in", "name=ada").await;
    assert_eq!(victim.cookie(COOKIE), None);
    expect(&with_old_cookie_of(&attacker), "/both/show", "guest: ").await;
    expect(&attacker, "/old/show", "guest: ").await;
    expect(&victim, "/both/show", "ada: ").await;
}

#[tokio::test]
async fn a_further_sign_in_or_a_step_up_ends_the_old_session() {
    for act in ["/both/sign-in", "/both/step-up"] {
        let setup = setup();
        let client = setup.ada().await;
        expect(&client, "/both/show", "ada: a").await;
        let thief = with_old_cookie_of(&client);
        expect(&thief, "/both/show", "ada: a").await;
        thief.forget(RUTS_COOKIE);

        setup.clock.advance(Duration::from_secs(1));
        post_to(&client, act, "name=ada").await;
        assert_eq!(client.cookie(COOKIE), None, "{act}");
        expect(&thief, "/both/show", "guest: ").await;
        expect(&thief, "/old/show", "guest: ").await;
        expect(&client, "/both/show", "ada: a").await;
        assert_eq!(setup.lifts(), 1);
    }
}

/// The process stops between the handler and the lift layer.
#[tokio::test]
async fn a_sign_in_that_missed_the_lift_layer_ends_the_old_session_at_the_next_request() {
    let setup = setup();
    let attacker = guest(&setup, "a").await;
    let victim = with_old_cookie_of(&attacker);
    expect(&victim, "/both/show", "guest: a").await;
    // This program has no lift layer.
    post_to(&victim, "/plain/sign-in", "name=ada").await;
    expect(&with_old_cookie_of(&attacker), "/both/show", "guest: a").await;
    expect(&victim, "/both/show", "ada: a").await;
    assert_eq!(victim.cookie(COOKIE), None);
    expect(&with_old_cookie_of(&attacker), "/both/show", "guest: ").await;

    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    post_to(&client, "/plain/step-up", "name=ada").await;
    expect(&client, "/both/show", "ada: a").await;
    assert_eq!(client.cookie(COOKIE), None);
}

/// The old session ends, but its link stays, because the store of ruts fails.
#[tokio::test]
async fn a_failure_while_an_old_session_ends_is_no_sign_out() {
    let setup = setup();
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    setup.clock.advance(Duration::from_secs(1));
    post_to(&client, "/plain/sign-in", "name=ada").await;
    let id: Id = client.cookie(COOKIE).unwrap().parse().unwrap();
    setup.old.delete(&id).await.unwrap();
    expect(&client, "/both/show", "ada: a").await;
    expect(&client, "/both/show", "ada: a").await;
}

/// The secret of the victim's session is renewed while the planted cookie is there.
#[tokio::test]
async fn an_old_session_of_a_guest_beside_a_user_is_ignored() {
    let hour = Duration::from_secs(3600);
    let setup = setup_with(|layer| layer.renew_every(hour));
    let attacker = guest(&setup, "planted").await;
    let victim = setup.client();
    post_to(&victim, "/both/sign-in", "name=ada").await;
    post_to(&victim, "/both/add", "item=own").await;
    plant_old_cookie_of(&attacker, &victim);
    expect(&victim, "/both/show", "ada: own").await;
    let secret = victim.cookie(RUTS_COOKIE);
    setup.clock.advance(hour * 2);
    expect(&victim, "/both/show", "ada: own").await;
    assert_ne!(victim.cookie(RUTS_COOKIE), secret);
    expect(&with_old_cookie_of(&attacker), "/both/show", "guest: planted").await;

    // The values are not lost: a guest gets them.
    post_to(&victim, "/both/sign-out", "").await;
    expect(&victim, "/both/show", "guest: planted").await;

    // After the rollout, no old instance needs the old session.
    let other = guest(&setup, "planted").await;
    post_to(&victim, "/both/sign-in", "name=ada").await;
    plant_old_cookie_of(&other, &victim);
    expect(&victim, "/last/show", "ada: planted").await;
    assert_eq!(victim.cookie(COOKIE), None);
    expect(&other, "/old/show", "guest: ").await;
}

#[tokio::test]
async fn an_old_session_of_a_guest_does_not_open_the_session_that_got_its_values() {
    let hour = Duration::from_secs(3600);
    let setup = setup_with(|layer| layer.renew_every(hour));
    let attacker = guest(&setup, "planted").await;
    let victim = setup.client();
    post_to(&victim, "/both/add", "item=own").await;
    plant_old_cookie_of(&attacker, &victim);
    expect(&victim, "/both/show", "guest: own,planted").await;
    let secret = victim.cookie(RUTS_COOKIE);
    setup.clock.advance(hour * 2);
    expect(&victim, "/both/show", "guest: own,planted").await;
    assert_ne!(victim.cookie(RUTS_COOKIE), secret);
    expect(&with_old_cookie_of(&attacker), "/both/show", "guest: planted").await;
    post_to(&victim, "/both/sign-in", "name=ada").await;
    expect(&attacker, "/both/show", "guest: ").await;
    expect(&victim, "/both/show", "ada: own,planted").await;
}

#[tokio::test]
async fn first_requests_of_a_guest_who_has_signed_in_at_an_old_instance_lift_once() {
    let setup = setup();
    let client = setup.client();
    post_to(&client, "/both/add", "item=own").await;
    post_to(&client, "/old/sign-in", "name=ada").await;
    let other = client.steal();
    let mut stopped = setup.lifting.stop_next();
    let one = add(&client, "/both/add", "item=b");
    (&mut stopped.reached).await.unwrap();
    setup.store.take_calls();
    let second = add(&other, "/both/add", "item=c");
    wait_until("the other request should wait", async || {
        setup.store.take_calls().contains(&"update")
    })
    .await;
    stopped.resume.send(()).unwrap();
    one.await.unwrap();
    second.await.unwrap();
    assert_eq!((setup.lifts(), setup.live_sessions().await), (1, 1));
    let text = client.get("/both/show").await.text();
    assert!(text == "ada: own,b,c" || text == "ada: own,c,b", "{text}");
    expect(&other, "/both/show", &text).await;
}

#[tokio::test]
async fn a_first_request_that_signs_in_leaves_nothing_to_open() {
    for program in ["both", "last"] {
        let setup = setup();
        let attacker = guest(&setup, "a").await;
        let victim = with_old_cookie_of(&attacker);
        post_to(&victim, &format!("/{program}/sign-in"), "name=ada").await;
        expect(&with_old_cookie_of(&attacker), &format!("/{program}/show"), "guest: ").await;
        expect(&victim, &format!("/{program}/show"), "ada: a").await;
    }
}

/// The user signs in between two steps of a request that has only the old cookie.
#[tokio::test]
async fn a_sign_in_during_a_request_with_the_old_cookie_opens_nothing() {
    for loads in [1, 2] {
        let setup = setup();
        let attacker = guest(&setup, "a").await;
        let victim = with_old_cookie_of(&attacker);
        expect(&victim, "/both/show", "guest: a").await;

        let mut stopped = setup.load.stop_next();
        let thief = with_old_cookie_of(&attacker);
        let late = tokio::spawn(async move { thief.get("/both/show").await.text() });
        (&mut stopped.reached).await.unwrap();
        for _ in 1..loads {
            // The second load comes after the request has got the lease and the claim.
            let next = setup.load.stop_next();
            stopped.resume.send(()).unwrap();
            stopped = next;
            (&mut stopped.reached).await.unwrap();
        }
        post_to(&victim, "/both/sign-in", "name=ada").await;
        stopped.resume.send(()).unwrap();
        assert!(late.await.unwrap().starts_with("guest: "));
        expect(&victim, "/both/show", "ada: a").await;
        assert_eq!(setup.live_sessions().await, 1);
        expect(&with_old_cookie_of(&attacker), "/old/show", "guest: ").await;
    }
}

/// The old session of a guest gets a value while a request to a new instance signs the guest in.
#[tokio::test]
async fn a_write_of_an_old_instance_during_a_sign_in_is_lifted() {
    let setup = setup();
    let client = guest(&setup, "a").await;
    expect(&client, "/both/show", "guest: a").await;
    let at_old_instance = client.steal();
    let mut pause = setup.store.pause_before("update");
    let signing_in = add(&client, "/both/sign-in", "name=ada");
    pause.reached().await;
    post_to(&at_old_instance, "/old/add", "item=b").await;
    pause.resume();
    signing_in.await.unwrap();
    expect(&client, "/both/show", "ada: a,b").await;
    assert_eq!(client.cookie(COOKIE), None);
    expect(&with_old_cookie_of(&at_old_instance), "/both/show", "guest: ").await;
}

/// An old library that does not change the id at a sign-in.
#[tokio::test]
async fn a_sign_in_at_an_old_instance_does_not_replace_one_in_ruts() {
    let setup = setup();
    let attacker = guest(&setup, "a").await;
    let victim = with_old_cookie_of(&attacker);
    expect(&victim, "/both/show", "guest: a").await;
    post_to(&victim, "/plain/sign-in", "name=ada").await;
    let id: Id = attacker.cookie(COOKIE).unwrap().parse().unwrap();
    let mut record = setup.old.load(&id).await.unwrap().unwrap();
    record.data.insert("user".to_owned(), "eve".into());
    setup.old.save(&record).await.unwrap();
    expect(&victim, "/both/show", "ada: a").await;
    assert_eq!(victim.cookie(COOKIE), None);
    expect(&attacker, "/old/show", "guest: ").await;
}

/// A sign-out at an old instance, after which a guest's old session begins before the next request
/// to a new instance.
#[tokio::test]
async fn a_new_guest_after_a_sign_out_is_not_the_user() {
    let setup = setup();
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    post_to(&client, "/old/sign-out", "").await;
    post_to(&client, "/old/add", "item=z").await;
    expect(&client, "/both/show", "guest: z").await;
    assert_eq!(setup.live_sessions().await, 0);
}

#[tokio::test]
async fn a_new_id_of_the_same_user_stays_signed_in() {
    let setup = setup();
    let client = setup.ada().await;
    post_to(&client, "/both/add", "item=b").await;
    // The old library gives the session a different id.
    post_to(&client, "/old/sign-in", "name=ada").await;
    expect(&client, "/both/show", "ada: a,b").await;
    assert_eq!(setup.live_sessions().await, 1);
}

/// Old instances do not extend the session of ruts.
#[tokio::test]
async fn a_user_of_old_instances_outlives_the_idle_timeout() {
    let minute = Duration::from_secs(60);
    let setup = setup_with(|layer| layer.idle_timeout(minute * 30));
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    post_to(&client, "/old/add", "item=b").await;
    setup.clock.advance(minute * 31);
    expect(&client, "/both/show", "ada: a,b").await;
    expect(&client, "/old/show", "ada: a,b").await;

    // A revoked session is not revived when its deadline has passed.
    Shop::sessions(&setup.store).by_user("ada").revoke_all().await.unwrap();
    setup.clock.advance(minute * 31);
    expect(&client, "/both/show", "guest: ").await;
    expect(&client, "/old/show", "guest: ").await;

    // After the rollout, nothing extends the old session.
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    setup.clock.advance(minute * 31);
    expect(&client, "/last/show", "guest: ").await;
}

/// An old store with one session, which has already expired when the store forgets it.
#[derive(Clone)]
struct Expiring(Arc<AtomicBool>);

impl OldSessions for Expiring {
    async fn load(&self, _: &str) -> Result<Option<OldSession>, BoxError> {
        let session = OldSession::new([("user".to_owned(), json!("ada"))]);
        let is_there = self.0.load(Ordering::Relaxed);
        Ok(is_there.then(|| session.ends(SystemTime::now() - Duration::from_secs(1))))
    }

    async fn delete(&self, _: &str) -> Result<(), BoxError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_expired_old_cookie_opens_nothing() {
    let (store, is_there) = (Arc::new(MemoryStore::new()), Arc::new(AtomicBool::new(true)));
    let sessions = SessionLayer::new(&store);
    let (cookie, old) = (OldCookie::new(COOKIE), Expiring(Arc::clone(&is_there)));
    let both = LiftLayer::during_rollout(&sessions, &store, cookie, old, lift);
    let client = Client::new(Router::new().nest("/both", shop(sessions).layer(both)));
    client.plant(COOKIE, "x");
    let thief = client.steal();
    expect(&client, "/both/show", "ada: ").await;
    is_there.store(false, Ordering::Relaxed);
    expect(&thief, "/both/show", "guest: ").await;
    expect(&client, "/both/show", "ada: ").await;
}

/// After the rollout, the old cookie opens the session for some minutes.
#[tokio::test]
async fn a_handover_ends() {
    let setup = setup();
    let client = setup.ada().await;
    let (tab, late) = (client.steal(), client.steal());
    expect(&client, "/last/show", "ada: a").await;
    expect(&tab, "/last/show", "ada: a").await;
    setup.clock.advance(Duration::from_secs(601));
    expect(&late, "/last/show", "guest: ").await;
    expect(&client, "/last/show", "ada: a").await;
}

/// The old library writes an old session that has ended, as tower-sessions does for a slow request.
#[tokio::test]
async fn an_old_session_that_comes_back_after_a_sign_in_ends_again() {
    let setup = setup();
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    let thief = with_old_cookie_of(&client);
    let id: Id = client.cookie(COOKIE).unwrap().parse().unwrap();
    let record = setup.old.load(&id).await.unwrap().unwrap();
    setup.clock.advance(Duration::from_secs(1));
    post_to(&client, "/both/step-up", "name=ada").await;
    setup.old.save(&record).await.unwrap();
    expect(&thief, "/both/show", "guest: ").await;
    expect(&thief, "/old/show", "guest: ").await;
    assert_eq!(setup.lifts(), 1);
}

/// Steps a client up when its user agent changes.
fn watched(layer: SessionLayer) -> SessionLayer {
    let agent = |headers: &HeaderMap, _: &Extensions| {
        let agent = headers.get("user-agent").map_or(&b""[..], |value| value.as_bytes());
        ClientFingerprint::new().with("agent", agent)
    };
    layer.watch_clients(agent, |_| ClientChangeAction::StepUp)
}

/// The layer lowers the assurance of a client that has changed.
#[tokio::test]
async fn a_sign_out_at_an_old_instance_reaches_a_client_that_has_changed() {
    let setup = setup_with(watched);
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    post_to(&client, "/old/sign-out", "").await;
    client.get_with("/both/show", &[("user-agent", "new")]).await;
    assert_eq!(setup.live_sessions().await, 0);
}

#[tokio::test]
async fn a_write_of_a_client_that_has_changed_is_no_sign_in() {
    let setup = setup_with(watched);
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    post_to(&client, "/old/add", "item=b").await;
    for _ in 0..2 {
        client.get_with("/both/show", &[("user-agent", "new")]).await;
        expect(&client, "/both/show", "ada: a,b").await;
    }
    expect(&client, "/old/show", "ada: a,b").await;

    // The lift signs the user in while the client is a different one.
    let client = setup.client();
    post_to(&client, "/both/add", "item=own").await;
    post_to(&client, "/old/sign-in", "name=ada").await;
    for _ in 0..2 {
        let page = client.get_with("/both/show", &[("user-agent", "new")]).await;
        assert_eq!(page.text(), "ada: own");
    }
    expect(&client, "/old/show", "ada: ").await;
}

/// The user has signed in in ruts before an old session of the same user appears.
#[tokio::test]
async fn an_old_cookie_of_the_same_user_does_not_open_a_sign_in_of_ruts() {
    let setup = setup();
    let client = setup.client();
    post_to(&client, "/both/step-up", "name=ada").await;
    post_to(&client, "/both/add", "item=own").await;
    setup.clock.advance(Duration::from_secs(1));
    post_to(&client, "/old/sign-in", "name=ada").await;
    post_to(&client, "/old/add", "item=a").await;
    expect(&client, "/both/show", "ada: own,a").await;
    expect(&with_old_cookie_of(&client), "/both/show", "ada: a").await;
}

/// A thief's request lifts a guest's old session a second time while the guest signs in.
#[tokio::test]
async fn a_lift_during_a_sign_in_opens_nothing() {
    let hour = Duration::from_secs(3600);
    for program in ["both", "last"] {
        let setup = setup_with(|layer| layer.renew_every(hour));
        let attacker = guest(&setup, "a").await;
        let victim = with_old_cookie_of(&attacker);
        expect(&victim, "/both/show", "guest: a").await;
        // The claim does not get the new secret, because this program has no lift layer.
        setup.clock.advance(hour * 2);
        for _ in 0..2 {
            post_to(&victim, "/plain/add", "item=own").await;
            setup.clock.advance(Duration::from_secs(60));
        }

        let thief = with_old_cookie_of(&attacker);
        let path = format!("/{program}/show");
        let mut stopped = setup.lifting.stop_next();
        let late = tokio::spawn({
            let (thief, path) = (thief.clone(), path.clone());
            async move { thief.get(&path).await.text() }
        });
        (&mut stopped.reached).await.unwrap();
        post_to(&victim, "/both/sign-in", "name=ada").await;
        stopped.resume.send(()).unwrap();
        assert_eq!(late.await.unwrap(), "guest: ");
        expect(&thief, &path, "guest: ").await;
        expect(&victim, "/both/show", "ada: a,own,own").await;
    }
}

/// The session that got the values of an old session is signed out by a request that does not reach
/// the old session.
#[tokio::test]
async fn an_old_session_does_not_undo_a_sign_out() {
    let setup = setup();
    let client = setup.client();
    post_to(&client, "/both/sign-in", "name=ada").await;
    setup.clock.advance(Duration::from_secs(1));
    post_to(&client, "/old/sign-in", "name=ada").await;
    post_to(&client, "/old/add", "item=a").await;
    expect(&client, "/both/show", "ada: a").await;
    post_to(&client, "/plain/sign-out", "").await;
    expect(&client, "/both/show", "guest: ").await;
    expect(&client, "/old/show", "guest: ").await;
}

/// The client has lost the cookie of the lifted session, and a page without the lift layer has
/// started a session.
#[tokio::test]
async fn a_guest_session_beside_a_lifted_session_signs_out_no_user() {
    let setup = setup();
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    client.forget(RUTS_COOKIE);
    post_to(&client, "/plain/add", "item=own").await;
    expect(&client, "/both/show", "ada: own,a").await;
    expect(&client, "/old/show", "ada: a").await;
    // The end of the lifted session ends the old session, too.
    let other = setup.ada().await;
    expect(&other, "/both/show", "ada: a").await;
    other.forget(RUTS_COOKIE);
    Shop::sessions(&setup.store).by_user("ada").revoke_all().await.unwrap();
    post_to(&other, "/plain/add", "item=own").await;
    expect(&other, "/both/show", "guest: own").await;
    expect(&with_old_cookie_of(&setup.ada().await), "/both/show", "ada: a").await;
}

/// An old store with a guest's session, which changes after every second read.
#[derive(Clone, Default)]
struct Changing {
    reads: Arc<AtomicUsize>,
    has_ended: Arc<AtomicBool>,
}

impl OldSessions for Changing {
    async fn load(&self, _: &str) -> Result<Option<OldSession>, BoxError> {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        let cart = json!([(reads / 2).to_string()]);
        let session = OldSession::new([("cart".to_owned(), cart)]);
        Ok((!self.has_ended.load(Ordering::Relaxed)).then_some(session))
    }

    async fn delete(&self, _: &str) -> Result<(), BoxError> {
        self.has_ended.store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn an_old_session_that_changes_all_the_time_delays_no_page() {
    let (store, old) = (Arc::new(MemoryStore::new()), Changing::default());
    let sessions = SessionLayer::new(&store);
    let both =
        LiftLayer::during_rollout(&sessions, &store, OldCookie::new(COOKIE), old.clone(), lift);
    let client = Client::new(Router::new().nest("/both", shop(sessions).layer(both)));
    client.plant(COOKIE, "x");
    expect(&client, "/both/show", "guest: 0,1,2").await;
    post_to(&client, "/both/sign-in", "name=ada").await;
    assert_eq!(client.get("/both/show").await.status, StatusCode::OK);
    assert!(old.has_ended.load(Ordering::Relaxed));
    assert_eq!(client.cookie(COOKIE), None);
    assert!(client.get("/both/show").await.text().starts_with("ada: "));
}

/// The request that signs the user in again stops before it ends the old session.
#[tokio::test]
async fn a_further_sign_in_that_missed_the_lift_layer_ends_the_old_session() {
    let setup = setup();
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    let thief = with_old_cookie_of(&client);
    setup.clock.advance(Duration::from_secs(1));
    post_to(&client, "/plain/sign-in", "name=ada").await;
    expect(&client, "/both/show", "ada: a").await;
    assert_eq!(client.cookie(COOKIE), None);
    expect(&thief, "/both/show", "guest: ").await;
    expect(&thief, "/old/show", "guest: ").await;
}

/// The session was lifted from one old session, and the cookie names another one, which cannot be
/// lifted.
#[tokio::test]
async fn a_sign_out_ends_both_old_sessions() {
    let setup = setup();
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    let one = with_old_cookie_of(&client);
    client.forget(COOKIE);
    post_to(&client, "/old/set-count", "").await;
    let other = with_old_cookie_of(&client);
    // The lift function refuses the cart of the other old session.
    expect(&client, "/both/show", "ada: a").await;
    post_to(&client, "/both/sign-out", "").await;
    for old in [one, other] {
        expect(&old, "/old/show", "guest: ").await;
    }
}
