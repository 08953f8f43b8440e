//! A job works on a session without a request: `Shop::sessions(&store).get(id)`.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use ruts::{
    Error, Session, SessionLayer,
    auth::Assurance,
    crypto::KeyRing,
    session,
    store::memory::{ManualClock, MemoryStore},
    testing::Client,
    token::SessionId,
};
use ruts_tests_support::{ClientExt, InstrumentedStore, new_client};

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default)]
    notices: Vec<String>,
    #[field(encrypt)]
    address: String,
    #[field(rotate)]
    role: String,
    #[field(once)]
    flash: String,
}

struct Fixture {
    clock: ManualClock,
    store: Arc<InstrumentedStore<MemoryStore>>,
    client: Client,
    keys: KeyRing,
}

impl Fixture {
    async fn new() -> (Self, SessionId) {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let store = Arc::new(InstrumentedStore::new(store));
        let keys = KeyRing::new([b"a key of the deployment, 32 bytes or more"]).unwrap();
        let app = Router::new()
            .route("/sign-in", get(|shop: Shop| async move { shop.set_user(&7).await }))
            .route("/sign-out", get(|session: Session| async move { session.delete().await }))
            .route("/notices", get(|shop: Shop| async move { text(shop.notices().await) }))
            .route("/address", get(|shop: Shop| async move { text(shop.address().await) }))
            .route(
                "/id",
                get(|session: Session| async move {
                    session.metadata().await?;
                    Ok::<_, Error>(session.id().map(|id| id.to_string()).unwrap_or_default())
                }),
            )
            .layer(SessionLayer::new(&store).encryption_keys(keys.clone()));
        let fixture = Self { clock, store, client: new_client(app), keys };
        fixture.client.text("/sign-in").await;
        let id = fixture.client.text("/id").await.parse().unwrap();
        (fixture, id)
    }

    fn shop(&self, id: &SessionId) -> Shop {
        Shop::sessions(&self.store).encryption_keys(self.keys.clone()).get(id)
    }
}

fn text<T: std::fmt::Debug>(value: Result<T, Error>) -> String {
    format!("{:?}", value.unwrap())
}

#[tokio::test]
async fn a_job_reads_and_writes_the_session_of_a_user() {
    let (fixture, id) = Fixture::new().await;
    let shop = fixture.shop(&id);
    assert_eq!(shop.user().await.unwrap(), Some(7));
    assert!(shop.notices().await.unwrap().is_empty());
    shop.set_notices(&["one".to_owned()][..]).await.unwrap();
    shop.notices().update(|notices| notices.push("two".to_owned())).await.unwrap();
    shop.set_flash("three").await.unwrap();
    shop.set_address("12 Long Lane").await.unwrap();
    assert_eq!(shop.session().id(), Some(id));
    assert_eq!(fixture.client.text("/notices").await, r#"["one", "two"]"#);
    assert_eq!(fixture.client.text("/address").await, r#"Some("12 Long Lane")"#);
    let again = fixture.shop(&id);
    assert_eq!(again.load().await.unwrap().address.as_deref(), Some("12 Long Lane"));
    assert_eq!(again.flash().take().await.unwrap().as_deref(), Some("three"));
    assert_eq!(again.flash().take().await.unwrap(), None);
    let without_keys = Shop::sessions(&fixture.store).get(&id);
    assert!(matches!(without_keys.address().await, Err(Error::Decode { .. })));
    let sessions = Shop::sessions(&fixture.store).encryption_keys(fixture.keys.clone());
    let page = sessions.by_user(&7).list(Shop::ADDRESS, None, 10).await.unwrap();
    let listed = page.sessions[0].fields.read(Shop::ADDRESS).unwrap();
    assert_eq!(listed.as_deref(), Some("12 Long Lane"));
}

/// One call reads any set of fields, and one call writes any set.
#[tokio::test]
async fn a_job_makes_few_calls() {
    let (fixture, id) = Fixture::new().await;
    let shop = fixture.shop(&id);
    assert_eq!(shop.session().store_calls(), 0);
    shop.user().await.unwrap();
    shop.notices().await.unwrap();
    assert_eq!(shop.session().store_calls(), 1);
    shop.edit().flash("one").notices(&["two".to_owned()][..]).commit().await.unwrap();
    assert_eq!(shop.session().store_calls(), 2);
}

/// A job touches the session only if `idle_timeout` was called.
#[tokio::test]
async fn a_job_counts_as_a_use_when_asked() {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::builder().clock(clock.clone()).build());
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
    let app = Router::new()
        .route("/sign-in", get(|shop: Shop| async move { shop.set_user(&7).await }))
        .layer(SessionLayer::new(&store).idle_timeout(hour).absolute_timeout(day));
    let client = new_client(app);
    client.text("/sign-in").await;
    let id = client.token().unwrap()[..22].parse().unwrap();
    let (passive, active) = (Shop::sessions(&store), Shop::sessions(&store).idle_timeout(hour));
    for _ in 0..3 {
        clock.advance(hour / 2 + Duration::from_secs(60));
        assert_eq!(active.get(&id).user().await.unwrap(), Some(7));
        clock.advance(hour / 2 + Duration::from_secs(60));
        active.get(&id).set_flash("hello").await.unwrap();
    }
    clock.advance(hour / 2 + Duration::from_secs(60));
    assert_eq!(passive.get(&id).user().await.unwrap(), Some(7));
    passive.get(&id).set_flash("hello").await.unwrap();
    clock.advance(hour / 2);
    assert!(matches!(active.get(&id).user().await, Err(Error::Ended)));
}

/// Every call on a session that has ended or never existed is an error. No call creates the
/// session.
#[tokio::test]
async fn a_job_revives_no_session() {
    let (fixture, id) = Fixture::new().await;
    let shop = fixture.shop(&id);
    shop.notices().await.unwrap();
    fixture.client.text("/sign-out").await;
    let never = SessionId::from_bytes([7; 16]);
    for shop in [shop, fixture.shop(&id), fixture.shop(&never)] {
        let written = shop.set_notices(&["one".to_owned()][..]).await;
        assert!(matches!(written, Err(Error::Ended)), "{written:?}");
        assert!(matches!(shop.notices().await, Err(Error::Ended)));
        assert!(matches!(shop.user().await, Err(Error::Ended)));
        assert!(matches!(shop.load().await, Err(Error::Ended)));
        assert!(matches!(shop.session().get_all().await, Err(Error::Ended)));
        assert!(matches!(shop.session().metadata().await, Err(Error::Ended)));
        assert!(matches!(shop.flash().take().await, Err(Error::Ended)));
        let updated = shop.notices().update(|notices| notices.clear()).await;
        assert!(matches!(updated, Err(Error::Ended)));
    }
    assert!(fixture.store.inner().is_empty());
}

/// A job has no client to give a token to, and cannot sign its user out.
#[tokio::test]
async fn a_job_signs_nobody_in_or_out_and_replaces_no_secret() {
    let (fixture, id) = Fixture::new().await;
    let shop = fixture.shop(&id);
    let (session, day) = (shop.session(), Duration::from_secs(24 * 60 * 60));
    let refused = [
        shop.set_user(&8).await,
        shop.user().sign_in(&7, Assurance::Aal3).await,
        shop.user().remove().await.map(drop),
        shop.set_role("admin").await,
        session.regenerate().await,
        session.delete().await,
        session.expire(day.as_secs()).await,
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        assert!(matches!(refused, Err(Error::NoRequest)), "{at}: {refused:?}");
    }
    assert_eq!(fixture.shop(&id).user().await.unwrap(), Some(7));
    assert_eq!(fixture.client.text("/notices").await, "[]");
}

/// A job that runs every day does not keep a session alive.
#[tokio::test]
async fn a_job_is_no_activity() {
    let (fixture, id) = Fixture::new().await;
    for day in 1..8 {
        fixture.clock.advance(Duration::from_secs(24 * 60 * 60));
        let shop = fixture.shop(&id);
        let written = shop.notices().update(|notices| notices.push(day.to_string())).await;
        assert_eq!(written.is_ok(), day < 7, "day {day}: {written:?}");
    }
}
