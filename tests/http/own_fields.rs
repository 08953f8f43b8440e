//! Tests of the reserved fields (`ruts.*`) with values that a later release of ruts wrote.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use bytes::{Bytes, BytesMut};
use ruts::{
    Session, SessionLayer,
    auth::Assurance,
    client::{ClientChangeAction, ClientFingerprint},
    field::{Field, Principal},
    guard::CurrentUser,
    session,
    session::LoadUser,
    store::{
        Credentials, Loaded, Projection, Store, StoreResult, Touch,
        memory::{ManualClock, MemoryStore},
    },
    testing::Client,
};
use ruts_tests_support::{ClientExt, delegate_store, new_client};

/// Position of the lower byte of the version in the header of a stored value.
const VERSION: usize = 3;

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
}

/// A store that returns the library's own fields in version 2 after it is turned on.
#[derive(Clone)]
struct LaterRelease {
    inner: Arc<MemoryStore>,
    is_on: Arc<AtomicBool>,
}

impl Store for LaterRelease {
    delegate_store!(self.inner: name create update take delete inspect expiry wait_for_change
        list_by_principal revoke revoke_everyone hint_cache_policy delete_expired);

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        let mut answer = self.inner.load(credentials, fields, touch).await?;
        if let (Ok(loaded), true) = (&mut answer, self.is_on.load(Ordering::Relaxed)) {
            let own = loaded.fields.iter_mut().filter(|field| field.name.starts_with("ruts."));
            own.for_each(|field| field.value = in_version_2(&field.value));
        }
        Ok(answer)
    }
}

fn in_version_2(value: &Bytes) -> Bytes {
    let mut value = BytesMut::from(&value[..]);
    value[VERSION] = 2;
    value.freeze()
}

#[derive(Clone)]
struct Accounts;

impl LoadUser for Accounts {
    type Schema = Shop;
    type Id = u64;
    type User = String;
    type Error = io::Error;

    const PRINCIPAL: Field<u64, Principal> = Shop::USER;

    async fn load(&self, _id: u64) -> Result<Option<String>, io::Error> {
        Ok(Some("hash".to_owned()))
    }

    fn stamp(hash: &String) -> Option<&[u8]> {
        Some(hash.as_bytes())
    }
}

struct Fixture {
    client: Client,
    is_on: Arc<AtomicBool>,
}

/// An application that ends a session if its client changes.
fn fixture() -> Fixture {
    let is_on = Arc::new(AtomicBool::new(false));
    let inner = MemoryStore::builder().clock(ManualClock::new()).build();
    let store = LaterRelease { inner: Arc::new(inner), is_on: Arc::clone(&is_on) };
    let layer = SessionLayer::new(store).watch_clients(
        |headers, _| {
            let agent = headers.get("user-agent").map_or(&b""[..], |value| value.as_bytes());
            ClientFingerprint::new().with("agent", agent)
        },
        |_| ClientChangeAction::End,
    );
    let sign_in = |shop: Shop| async move {
        shop.user().sign_in(&7, Assurance::Aal1).stamp("hash").await?;
        shop.session().csrf_token().await
    };
    let verify = |session: Session, token: String| async move {
        session.is_csrf_token(&token).await.map(|is_valid| is_valid.to_string())
    };
    let app = Router::new()
        .route("/sign-in", get(sign_in))
        .route(
            "/who",
            get(|shop: Shop| async move { shop.user().await.map(|user| format!("{user:?}")) }),
        )
        .route("/account", get(|CurrentUser(hash): CurrentUser<Accounts>| async move { hash }))
        .route("/accept", get(|shop: Shop| async move { shop.user().accept_stamp("other").await }))
        .route(
            "/token",
            get(|session: Session| async move { session.csrf_token().await }).post(verify),
        )
        .with_state(Accounts)
        .layer(layer);
    Fixture { client: new_client(app), is_on }
}

#[tokio::test]
async fn a_newer_value_fails_only_the_operations_that_need_it() {
    let Fixture { client, is_on } = fixture();
    let token = client.text("/sign-in").await;
    assert_eq!(client.text("/account").await, "hash");
    assert_eq!(client.post("/token", &token).await.text(), "true");
    is_on.store(true, Ordering::Relaxed);
    for path in ["/account", "/accept", "/token"] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(reply.headers[header::RETRY_AFTER], "1", "{path}");
    }
    assert_eq!(client.post("/token", &token).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.text("/who").await, "Some(7)", "the session should not have ended");

    is_on.store(false, Ordering::Relaxed);
    assert_eq!(client.text("/account").await, "hash", "the newer value should not be overwritten");
    assert_eq!(client.post("/token", &token).await.text(), "true");
}

/// If the stored fingerprint is unreadable, no change of the client can be detected.
#[tokio::test]
async fn a_client_with_a_newer_record_counts_as_unchanged() {
    let Fixture { client, is_on } = fixture();
    client.text("/sign-in").await;
    is_on.store(true, Ordering::Relaxed);
    let elsewhere: &[(&str, &str)] = &[("user-agent", "curl/9")];
    assert_eq!(client.get_with("/who", elsewhere).await.text(), "Some(7)");
    is_on.store(false, Ordering::Relaxed);
    assert_eq!(client.get_with("/who", elsewhere).await.text(), "None");
}
