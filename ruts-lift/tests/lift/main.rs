#![allow(clippy::unwrap_used, reason = "a test that fails panics")]
#![allow(missing_docs, reason = "tests")]

//! Tests of lifts from the tower-sessions memory store, and of requests that a gate stops halfway.

mod everyday;
mod old_program;
mod refusals;
mod scenarios;
mod sign_ins;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::post};
use ruts::{
    Session, SessionLayer,
    field::{Field, FieldSpec},
    store::memory::{ManualClock, MemoryStore},
    testing::Client,
};
use ruts_lift::{BoxError, Error, LiftLayer, OldCookie, OldSession, OldSessions, TowerSessions};
use ruts_tests_support::{Fault, InstrumentedStore, wait_until};
use tokio::sync::oneshot;
use tower_sessions::{MemoryStore as OldStore, SessionStore, session::Id};

use self::scenarios::{Programs, Shop, expect, lift, post_to, shop};

const COOKIE: &str = "id";

#[tokio::test]
async fn users_go_to_and_fro() {
    let old = OldStore::default();
    let program = old_program::program(old.clone());
    let programs = Programs::new(MemoryStore::new(), program, COOKIE, TowerSessions::new(old));
    programs.check().await;
}

/// A point at which the next request stops.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Option<Stop>>>);

/// Reports that a request has reached the gate, and waits until the request may continue.
type Stop = (oneshot::Sender<()>, oneshot::Receiver<()>);

/// A request that has to stop at a gate.
struct Stopped {
    reached: oneshot::Receiver<()>,
    resume: oneshot::Sender<()>,
}

impl Gate {
    fn stop_next(&self) -> Stopped {
        let ((reach, reached), (resume, resumed)) = (oneshot::channel(), oneshot::channel());
        *self.0.lock().unwrap() = Some((reach, resumed));
        Stopped { reached, resume }
    }

    async fn pass(&self) {
        let stop = self.0.lock().unwrap().take();
        if let Some((reach, resumed)) = stop {
            reach.send(()).unwrap();
            resumed.await.unwrap();
        }
    }
}

/// An old store whose next load stops at a gate, after it has read the session.
#[derive(Clone)]
struct Gated {
    inner: TowerSessions<OldStore>,
    gate: Gate,
    is_down: Arc<Mutex<bool>>,
}

impl OldSessions for Gated {
    async fn load(&self, id: &str) -> Result<Option<OldSession>, BoxError> {
        if *self.is_down.lock().unwrap() {
            return Err("the old store is down".into());
        }
        let loaded = self.inner.load(id).await;
        self.gate.pass().await;
        loaded
    }

    async fn delete(&self, id: &str) -> Result<(), BoxError> {
        self.inner.delete(id).await
    }
}

/// The programs of a test with gates.
struct Setup {
    app: Router,
    old: OldStore,
    clock: ManualClock,
    store: Arc<InstrumentedStore<MemoryStore>>,
    load: Gate,
    lifting: Gate,
    lifts: Arc<Mutex<usize>>,
    is_down: Arc<Mutex<bool>>,
}

fn setup() -> Setup {
    setup_with(|layer| layer)
}

fn setup_with(configure: impl FnOnce(SessionLayer) -> SessionLayer) -> Setup {
    let (old, clock) = (OldStore::default(), ManualClock::new());
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    let store = Arc::new(InstrumentedStore::new(memory));
    let (load, lifting, lifts) = (Gate::default(), Gate::default(), Arc::new(Mutex::new(0)));
    let is_down = Arc::default();
    let gated = Gated {
        inner: TowerSessions::new(old.clone()),
        gate: load.clone(),
        is_down: Arc::clone(&is_down),
    };
    let lift = {
        let (lifting, lifts) = (lifting.clone(), Arc::clone(&lifts));
        move |old: OldSession, session: Session| {
            let (lifting, lifts) = (lifting.clone(), Arc::clone(&lifts));
            async move {
                *lifts.lock().unwrap() += 1;
                lift(old, session).await?;
                lifting.pass().await;
                Ok(())
            }
        }
    };
    let sessions = configure(SessionLayer::new(&store));
    let cookie = OldCookie::new(COOKIE);
    let both =
        LiftLayer::during_rollout(&sessions, &store, cookie.clone(), gated.clone(), lift.clone());
    let last = LiftLayer::after_rollout(&sessions, &store, cookie, gated, lift);
    let app = Router::new()
        .nest("/old", old_program::program(old.clone()))
        .nest("/both", shop(sessions.clone()).layer(both))
        .nest("/plain", spoil(sessions.clone()).merge(shop(sessions.clone())))
        .nest("/last", shop(sessions).layer(last));
    Setup { app, old, clock, store, load, lifting, lifts, is_down }
}

impl Setup {
    fn client(&self) -> Client {
        Client::new(self.app.clone())
    }

    async fn ada(&self) -> Client {
        let client = self.client();
        post_to(&client, "/old/sign-in", "name=ada").await;
        post_to(&client, "/old/add", "item=a").await;
        client
    }

    async fn live_sessions(&self) -> usize {
        let sessions = Shop::sessions(&self.store).by_user("ada");
        sessions.list((), None, 100).await.unwrap().sessions.len()
    }

    fn lifts(&self) -> usize {
        *self.lifts.lock().unwrap()
    }
}

/// A link that a later release has written.
const LATER: Field<String> = Field::new(&const { FieldSpec::new("ruts-lift").with_version(2) });

/// Returns a program that writes links of unknown forms.
fn spoil(sessions: SessionLayer) -> Router {
    let spoil = |session: Session| async move { session.set("ruts-lift", "?", None, None).await };
    let later =
        |session: Session| async move { session.entry(LATER).set(&"?".to_owned()).await.map(drop) };
    Router::new()
        .route("/spoil-link", post(spoil))
        .route("/later-link", post(later))
        .layer(sessions)
}

/// Returns a client that has only the old cookie of this client. One of the two is an attacker, who
/// has planted the cookie at the other one.
fn with_old_cookie_of(client: &Client) -> Client {
    let other = client.stranger();
    plant_old_cookie_of(client, &other);
    other
}

/// Plants the old cookie of an attacker at a victim, as a different host of the domain can do.
fn plant_old_cookie_of(attacker: &Client, victim: &Client) {
    victim.plant(COOKIE, &attacker.cookie(COOKIE).unwrap());
}

fn add(client: &Client, path: &'static str, item: &'static str) -> tokio::task::JoinHandle<()> {
    let client = client.clone();
    tokio::spawn(async move { post_to(&client, path, item).await })
}

#[tokio::test]
async fn first_requests_at_the_same_time_lift_once() {
    for (one_path, other_path) in [("/both/add", "/both/add"), ("/last/add", "/last/add")] {
        let setup = setup();
        let client = setup.ada().await;
        let other = client.steal();
        let mut stopped = setup.lifting.stop_next();
        let one = add(&client, one_path, "item=b");
        (&mut stopped.reached).await.unwrap();

        // The other request asks for the claim, and does not get it.
        setup.store.take_calls();
        let second = add(&other, other_path, "item=c");
        wait_until("the other request should wait", async || {
            setup.store.take_calls().contains(&"update")
        })
        .await;
        assert_eq!(*setup.lifts.lock().unwrap(), 1);
        stopped.resume.send(()).unwrap();
        one.await.unwrap();
        second.await.unwrap();

        assert_eq!(*setup.lifts.lock().unwrap(), 1);
        assert_eq!(setup.live_sessions().await, 1);
        let text = client.get("/both/show").await.text();
        assert!(text == "ada: a,b,c" || text == "ada: a,c,b", "{text}");
        expect(&other, "/both/show", &text).await;
    }
}

#[tokio::test]
async fn a_request_that_looked_before_another_lift_changes_nothing() {
    let setup = setup();
    let client = Client::new(setup.app.clone());
    // The client gets a session of the new program, and later a session of the old program.
    post_to(&client, "/both/add", "item=b").await;
    post_to(&client, "/old/add", "item=a").await;
    let other = client.steal();
    let mut pause = setup.store.pause_before("update");
    let slow = add(&client, "/both/add", "item=c");
    pause.reached().await;
    expect(&other, "/both/show", "guest: b,a").await;
    pause.resume();
    slow.await.unwrap();
    assert_eq!(*setup.lifts.lock().unwrap(), 1);
    expect(&client, "/old/show", "guest: a").await;
    expect(&client, "/both/show", "guest: b,a,c").await;
}

#[tokio::test]
async fn an_old_session_that_is_only_extended_is_not_lifted_again() {
    let setup = setup();
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    let id = client.cookie(COOKIE).unwrap().parse().unwrap();
    let mut record = setup.old.load(&id).await.unwrap().unwrap();
    record.expiry_date += Duration::from_secs(3600);
    setup.old.save(&record).await.unwrap();
    expect(&client, "/both/show", "ada: a").await;
    assert_eq!(*setup.lifts.lock().unwrap(), 1);
    // The link still shows that a missing old session means a sign-out.
    setup.old.delete(&id).await.unwrap();
    expect(&client, "/both/show", "guest: ").await;
}

#[tokio::test]
async fn an_old_session_that_expires_takes_nothing_along() {
    let setup = setup();
    let client = setup.ada().await;
    let id = client.cookie(COOKIE).unwrap().parse().unwrap();
    let mut record = setup.old.load(&id).await.unwrap().unwrap();
    record.expiry_date = std::time::SystemTime::now().into();
    record.expiry_date += Duration::from_secs(2);
    setup.old.save(&record).await.unwrap();
    expect(&client, "/both/show", "ada: a").await;
    wait_until("the old session should expire", async || {
        std::time::SystemTime::from(record.expiry_date) < std::time::SystemTime::now()
    })
    .await;
    expect(&client, "/both/show", "ada: a").await;
    client.forget(COOKIE);
    expect(&client, "/both/show", "ada: a").await;
}

#[tokio::test]
async fn a_request_that_stops_on_its_way_is_overtaken() {
    let setup = setup();
    let client = setup.ada().await;
    let other = client.steal();
    let mut stopped = setup.lifting.stop_next();
    let one = add(&client, "/both/add", "item=b");
    (&mut stopped.reached).await.unwrap();

    setup.clock.advance(Duration::from_secs(11));
    post_to(&other, "/both/add", "item=c").await;
    assert_eq!(*setup.lifts.lock().unwrap(), 2);
    // The stopped request finds that it has lost its lease. It ends its own session, and uses the
    // session of the other request.
    stopped.resume.send(()).unwrap();
    one.await.unwrap();
    assert_eq!(setup.live_sessions().await, 1);
    expect(&client, "/both/show", "ada: a,c,b").await;
    expect(&other, "/both/show", "ada: a,c,b").await;
}

#[tokio::test]
async fn the_end_of_a_lift_is_no_sign_out() {
    // A request during the rollout has loaded the old session when the last lift ends that session.
    let setup = setup();
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    let mut stopped = setup.load.stop_next();
    let slow = add(&client, "/both/add", "item=b");
    (&mut stopped.reached).await.unwrap();
    expect(&client.steal(), "/last/show", "ada: a").await;
    stopped.resume.send(()).unwrap();
    slow.await.unwrap();
    expect(&client, "/both/show", "ada: a,b").await;

    // Another request has read the link, but not yet the old session.
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    let with_both_cookies = client.steal();
    client.forget(COOKIE);
    let mut pause = setup.store.pause_after("load");
    let slow = add(&client, "/both/add", "item=b");
    pause.reached().await;
    expect(&with_both_cookies, "/last/show", "ada: a").await;
    pause.resume();
    slow.await.unwrap();
    expect(&client, "/both/show", "ada: a,b").await;
}

#[tokio::test]
async fn an_old_session_that_gets_another_id_is_not_signed_out() {
    let setup = setup();
    let client = Client::new(setup.app.clone());
    post_to(&client, "/old/add", "item=a").await;
    post_to(&client, "/both/add", "item=b").await;

    // The old program signs the guest in: it deletes the session, and creates a new one later.
    let id = client.cookie(COOKIE).unwrap().parse().unwrap();
    let mut record = setup.old.load(&id).await.unwrap().unwrap();
    setup.old.delete(&id).await.unwrap();
    expect(&client, "/both/show", "guest: a,b").await;
    record.data.insert("user".to_owned(), "ada".into());
    record.id = Id::default();
    setup.old.create(&mut record).await.unwrap();
    client.plant(COOKIE, &record.id.to_string());
    expect(&client, "/both/show", "ada: a,b").await;
}

#[tokio::test]
async fn a_request_during_a_sign_out_lifts_nothing_again() {
    let setup = setup();
    let client = setup.ada().await;
    expect(&client, "/both/show", "ada: a").await;
    let late = client.steal();
    late.forget("__Host-id");
    let mut stopped = setup.load.stop_next();
    let slow = add(&late, "/both/add", "item=b");
    (&mut stopped.reached).await.unwrap();
    post_to(&client, "/both/sign-out", "").await;
    stopped.resume.send(()).unwrap();
    slow.await.unwrap();
    assert_eq!(*setup.lifts.lock().unwrap(), 1);
    assert_eq!(setup.live_sessions().await, 0);
}

#[tokio::test]
async fn a_failure_is_no_sign_out() {
    let setup = setup();
    let client = setup.ada().await;
    *setup.is_down.lock().unwrap() = true;
    assert_eq!(client.get("/both/show").await.status, StatusCode::SERVICE_UNAVAILABLE);
    *setup.is_down.lock().unwrap() = false;
    setup.store.fail_next(Fault::Unreachable);
    assert_eq!(client.get("/both/show").await.status, StatusCode::SERVICE_UNAVAILABLE);
    expect(&client, "/both/show", "ada: a").await;
    *setup.is_down.lock().unwrap() = true;
    for path in ["/both/show", "/last/show"] {
        assert_eq!(client.get(path).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    *setup.is_down.lock().unwrap() = false;
    expect(&client, "/last/show", "ada: a").await;
}

#[tokio::test]
async fn a_lift_that_fails_is_tried_again() {
    let (old, store) = (OldStore::default(), Arc::new(MemoryStore::new()));
    let fails = Arc::new(Mutex::new(true));
    let failing = {
        let fails = Arc::clone(&fails);
        move |old: OldSession, session: Session| {
            let fails = *fails.lock().unwrap();
            async move {
                if fails {
                    return Err(Error::app("the user cannot be loaded"));
                }
                lift(old, session).await
            }
        }
    };
    let sessions = SessionLayer::new(&store);
    let (cookie, from) = (OldCookie::new(COOKIE), TowerSessions::new(old.clone()));
    let both = LiftLayer::during_rollout(&sessions, &store, cookie, from, failing);
    let app = Router::new()
        .nest("/old", old_program::program(old))
        .nest("/both", shop(sessions).layer(both));
    let client = Client::new(app);
    post_to(&client, "/old/sign-in", "name=ada").await;
    assert_eq!(client.get("/both/show").await.status, StatusCode::SERVICE_UNAVAILABLE);
    *fails.lock().unwrap() = false;
    // The next request does not have to wait for the lease.
    expect(&client, "/both/show", "ada: ").await;
}
