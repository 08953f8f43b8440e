#![allow(clippy::unwrap_used, reason = "a test that fails panics")]
#![allow(missing_docs, reason = "tests")]

//! Tests of an app that uses the published axum-login with its sessions in a ruts store, and of its
//! move to ruts.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Form, Router,
    http::StatusCode,
    routing::{get, post},
};
use axum_login::{
    AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, login_required,
    tower_sessions::{ExpiredDeletion, Expiry, Session, SessionManagerLayer, SessionStore},
};
use ruts::{
    SessionLayer, session,
    store::memory::{ManualClock, MemoryStore},
    testing::Client,
};
use ruts_lift::{Error, LiftLayer, OldCookie, OldSession, TowerSessions};
use ruts_tests_support::InstrumentedStore;
use ruts_tower_sessions::RutsStore;
use serde::Deserialize;
use time::OffsetDateTime;
use tower_sessions::session::{Id, Record};

/// The only user, whose password can change.
#[derive(Debug, Clone)]
struct Ada {
    password: Vec<u8>,
}

impl AuthUser for Ada {
    type Id = u64;

    fn id(&self) -> u64 {
        7
    }

    fn session_auth_hash(&self) -> &[u8] {
        &self.password
    }
}

#[derive(Clone)]
struct Users(Arc<Mutex<Ada>>);

impl Users {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Ada { password: b"old".to_vec() })))
    }

    fn ada(&self) -> Ada {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Clone, Deserialize)]
struct Login {
    password: String,
}

impl AuthnBackend for Users {
    type User = Ada;
    type Credentials = Login;
    type Error = Infallible;

    async fn authenticate(&self, login: Login) -> Result<Option<Ada>, Infallible> {
        Ok(Some(self.ada()).filter(|ada| ada.password == login.password.as_bytes()))
    }

    async fn get_user(&self, id: &u64) -> Result<Option<Ada>, Infallible> {
        Ok(Some(self.ada()).filter(|ada| ada.id() == *id))
    }
}

/// The app on axum-login.
fn program<S: SessionStore + Clone>(store: S, users: Users) -> Router {
    let sessions =
        SessionManagerLayer::new(store).with_expiry(Expiry::OnInactivity(time::Duration::days(1)));
    let auth = AuthManagerLayerBuilder::new(users, sessions).build();
    Router::new()
        .route("/account", get(|| async { "ada" }))
        .route_layer(login_required!(Users))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/add", post(add))
        .route("/count", get(count))
        .layer(auth)
}

async fn login(mut auth: AuthSession<Users>, Form(login): Form<Login>) -> StatusCode {
    match auth.authenticate(login).await.unwrap() {
        Some(user) => {
            auth.login(&user).await.unwrap();
            StatusCode::OK
        }
        None => StatusCode::UNAUTHORIZED,
    }
}

async fn logout(mut auth: AuthSession<Users>) {
    auth.logout().await.unwrap();
}

async fn add(session: Session) {
    let count: u32 = session.get("count").await.unwrap().unwrap_or(0);
    session.insert("count", count + 1).await.unwrap();
}

async fn count(session: Session) -> String {
    session.get::<u32>("count").await.unwrap().unwrap_or(0).to_string()
}

async fn status(client: &Client, path: &str) -> StatusCode {
    client.get(path).await.status
}

#[tokio::test]
async fn axum_login_runs_on_a_store_of_ruts() {
    let (store, users) = (RutsStore::new(MemoryStore::new()), Users::new());
    let client = Client::new(program(store, users.clone()));
    assert_eq!(status(&client, "/account").await, StatusCode::UNAUTHORIZED);
    client.post("/add", "").await;
    let guest = client.steal();
    assert_eq!(client.post("/login", "password=wrong").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.post("/login", "password=old").await.status, StatusCode::OK);
    assert_eq!(status(&client, "/account").await, StatusCode::OK);
    assert_eq!(status(&guest, "/account").await, StatusCode::UNAUTHORIZED);
    client.post("/add", "").await;
    assert_eq!(client.get("/count").await.text(), "2");

    let thief = client.steal();
    client.post("/logout", "").await;
    for client in [&client, &thief] {
        assert_eq!(status(client, "/account").await, StatusCode::UNAUTHORIZED);
    }

    client.post("/login", "password=old").await;
    users.0.lock().unwrap().password = b"new".to_vec();
    assert_eq!(status(&client, "/account").await, StatusCode::UNAUTHORIZED);
}

fn record(days: i64) -> Record {
    let expiry_date = OffsetDateTime::now_utc() + time::Duration::days(days);
    Record { id: Id::default(), data: Default::default(), expiry_date }
}

#[tokio::test]
async fn a_record_round_trips_until_its_expiry() {
    let clock = ManualClock::new();
    let store = RutsStore::new(MemoryStore::builder().clock(clock.clone()).build());
    let mut first = record(1);
    first.data.insert("key".to_owned(), serde_json::json!({"a": [1, null, "ä"]}));
    store.create(&mut first).await.unwrap();

    // An id that is already in use is replaced.
    let mut second = Record { id: first.id, ..record(1) };
    store.create(&mut second).await.unwrap();
    assert_ne!(second.id, first.id);

    let loaded = store.load(&first.id).await.unwrap().unwrap();
    assert_eq!((loaded.id, &loaded.data), (first.id, &first.data));
    assert!((loaded.expiry_date - first.expiry_date).abs() < time::Duration::minutes(1));

    let longer = Record { id: first.id, ..record(3) };
    store.save(&longer).await.unwrap();
    clock.advance(Duration::from_secs(2 * 24 * 60 * 60));
    assert!(store.load(&second.id).await.unwrap().is_none());
    assert!(store.load(&first.id).await.unwrap().unwrap().data.is_empty());
    store.delete_expired().await.unwrap();

    // A record that has already expired ends its session.
    store.save(&Record { id: first.id, ..record(-1) }).await.unwrap();
    assert!(store.load(&first.id).await.unwrap().is_none());
    let mut past = record(-1);
    store.create(&mut past).await.unwrap();
    clock.advance(Duration::from_millis(1));
    assert!(store.load(&past.id).await.unwrap().is_none());
    let mut far = record(365 * 500);
    store.create(&mut far).await.unwrap();
    assert!(store.load(&far.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_save_brings_no_session_back() {
    let store = RutsStore::new(MemoryStore::new());
    let mut record = record(1);
    store.create(&mut record).await.unwrap();
    store.delete(&record.id).await.unwrap();
    store.save(&record).await.unwrap();
    assert!(store.load(&record.id).await.unwrap().is_none());
    store.delete(&record.id).await.unwrap();
}

#[tokio::test]
async fn a_write_that_a_cache_hides_is_an_error() {
    let inner = Arc::new(InstrumentedStore::new(MemoryStore::new()));
    let store = RutsStore::new(&inner);
    let mut record = record(1);
    store.create(&mut record).await.unwrap();
    inner.fail_next(ruts_tests_support::Fault::StaleCache);
    assert!(store.delete(&record.id).await.is_err());
    inner.fail_next(ruts_tests_support::Fault::Unreachable);
    assert!(store.load(&record.id).await.is_err());
}

/// The session of the app after its move to ruts.
#[session]
struct Account {
    #[field(principal)]
    user: u64,
    #[field(default)]
    count: u32,
}

/// The value that axum-login writes.
#[derive(Deserialize)]
struct LoginData {
    user_id: Option<u64>,
    auth_hash: Option<Vec<u8>>,
}

#[tokio::test]
async fn users_of_axum_login_stay_signed_in_on_ruts() {
    let (store, users) = (Arc::new(MemoryStore::new()), Users::new());
    let old = RutsStore::new(&store);
    let lift = {
        let users = users.clone();
        move |old: OldSession, session: ruts::Session| {
            let users = users.clone();
            async move {
                let account = Account::try_from(session)?;
                if let Some(LoginData { user_id: Some(id), auth_hash }) =
                    old.changed("axum-login.data")?
                {
                    // A sign-in from before a change of the password is not lifted.
                    let user = users.get_user(&id).await.map_err(Error::app)?;
                    let hash = user.map(|user| user.session_auth_hash().to_vec());
                    if hash.is_some() && hash == auth_hash {
                        account.set_user(&id).await?;
                    }
                }
                if let Some(count) = old.changed::<u32>("count")? {
                    account.set_count(&count).await?;
                }
                Ok(())
            }
        }
    };
    let sessions = SessionLayer::new(&store);
    let (cookie, from) = (OldCookie::new("id"), TowerSessions::new(old.clone()));
    let new_program = Router::new()
        .route("/account", get(account))
        .route("/count", get(counted))
        .layer(sessions.clone())
        .layer(LiftLayer::during_rollout(&sessions, &store, cookie, from, lift));
    let app = Router::new().nest("/old", program(old, users.clone())).nest("/new", new_program);
    let client = Client::new(app);
    client.post("/old/add", "").await;
    client.post("/old/login", "password=old").await;
    assert_eq!(status(&client, "/new/account").await, StatusCode::OK);
    client.post("/old/add", "").await;
    assert_eq!(client.get("/new/count").await.text(), "2");
    assert_eq!(status(&client, "/old/account").await, StatusCode::OK);
    client.post("/old/logout", "").await;
    assert_eq!(status(&client, "/new/account").await, StatusCode::UNAUTHORIZED);

    // A sign-in from before a change of the password is not lifted.
    client.post("/old/login", "password=old").await;
    users.0.lock().unwrap().password = b"new".to_vec();
    assert_eq!(status(&client, "/new/account").await, StatusCode::UNAUTHORIZED);
}

async fn account(account: Account) -> Result<String, ruts::Error> {
    Ok(account.user().await?.ok_or(ruts::Error::SignInRequired)?.to_string())
}

async fn counted(account: Account) -> Result<String, ruts::Error> {
    Ok(account.count().await?.to_string())
}
