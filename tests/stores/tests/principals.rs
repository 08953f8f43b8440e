//! On a Redis Cluster, a sign-in takes three steps, because another node may hold the principal
//! list. The tests hold a sign-in between any two steps, while another process revokes, lists or
//! signs in. On one server, a sign-in is one step.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use bytes::Bytes;
use fred::clients::Client;
use ruts::{
    Error, SessionLayer, Ttl,
    auth::{Assurance, PrincipalKey},
    session,
    store::{
        AuthChange, Create, NewSignIn, OnLimit, PageRequest, Precondition, Projection, Refused,
        RevokeTarget, SessionLimit, Store, StoreError, StoreErrorKind, Update, Updated, Written,
        redis::RedisStore,
    },
    token::{SecretHash, SessionId},
};
use ruts_tests_stores::{
    Proxy, Traffic,
    backends::{fred_client, redis_builder, redis_rs_client, redis_store},
    servers::{Flavour, Prefix, Redis},
};
use ruts_tests_support::{
    APPLIED, ClientExt, DELETED, LONG_TIMEOUT, TestSession, new_client, random,
};
use tokio::sync::Semaphore;

const HOUR: Option<Ttl> = Some(Ttl::from_secs(3600));

/// The stores of two processes. One store is behind a proxy.
struct Fixture {
    server: Redis,
    proxy: Proxy,
    proxied: Arc<RedisStore<Client>>,
    direct: Arc<RedisStore<Client>>,
    prefix: Prefix,
    principal: PrincipalKey,
}

impl Fixture {
    /// Starts a fixture on a cluster, where a sign-in takes three steps.
    async fn on_cluster(flavour: Flavour) -> Self {
        Self::on(Redis::start_with_slots(flavour)).await
    }

    async fn on(server: Redis) -> Self {
        let proxy = Proxy::before(&server.address()).await;
        let prefix = Prefix::unique();
        let client = fred_client(&format!("redis://{}", proxy.address())).await;
        let proxied = Arc::new(redis_store(client, &prefix));
        let direct = Arc::new(redis_store(fred_client(server.url()).await, &prefix));
        let principal = PrincipalKey::from_bytes(random());
        let fixture = Self { server, proxy, proxied, direct, prefix, principal };
        // Loads the scripts, so that each step is one command. Both stores learn the number of
        // steps.
        fixture.sign_in_new(&fixture.direct, None).await.unwrap();
        fixture.sign_in_new(&fixture.proxied, None).await.unwrap();
        let guest = TestSession::begin(&fixture.direct).await;
        fixture.sign_in(&guest.through(&fixture.proxied), None).await.unwrap();
        fixture.revoke_all().await;
        fixture
    }

    fn who(&self, limit: Option<SessionLimit>) -> NewSignIn<'_> {
        NewSignIn::new(&self.principal, Assurance::Aal1).limit(limit)
    }

    fn creation<'a, S>(&'a self, session: &'a TestSession<S>) -> Create<'a> {
        session.creation().idle(HOUR).absolute(HOUR)
    }

    /// Creates a session with a sign-in.
    async fn sign_in_new<S: Store>(
        &self,
        store: &Arc<S>,
        limit: Option<SessionLimit>,
    ) -> Result<TestSession<S>, StoreError> {
        let session = TestSession::new(store);
        let create = self.creation(&session).sign_in(self.who(limit));
        store.create(create).await?;
        Ok(session)
    }

    fn update<'a>(&'a self, limit: Option<SessionLimit>) -> Update<'a> {
        let who = self.who(limit);
        Update::new(&[]).auth_change(AuthChange::In { who, idle: HOUR, absolute: HOUR })
    }

    /// Signs in to an existing session, and rotates its secret.
    async fn sign_in<S: Store>(
        &self,
        guest: &TestSession<S>,
        limit: Option<SessionLimit>,
    ) -> Result<TestSession<S>, StoreError> {
        let secret = SecretHash::from_bytes(random());
        let answer = guest.update(self.update(limit).rotate(&secret)).await?;
        assert_eq!(answer, APPLIED);
        Ok(guest.with_secret(secret))
    }

    /// Starts a sign-in through the proxy, to a new session or to `guest`.
    fn start_sign_in(
        self: &Arc<Self>,
        guest: Option<&TestSession<RedisStore<Client>>>,
        limit: Option<SessionLimit>,
    ) -> tokio::task::JoinHandle<Result<TestSession<RedisStore<Client>>, StoreError>> {
        let fixture = Arc::clone(self);
        let guest = guest.map(|guest| guest.through(&self.proxied));
        tokio::spawn(async move {
            match guest {
                Some(guest) => fixture.sign_in(&guest, limit).await,
                None => fixture.sign_in_new(&fixture.proxied, limit).await,
            }
        })
    }

    async fn revoke_all(&self) -> BTreeSet<SessionId> {
        let target = RevokeTarget::All { except: None };
        let revoked = self.direct.revoke(&self.principal, target).await.unwrap();
        revoked.answer.into_iter().collect()
    }

    async fn is_live<S>(&self, session: &TestSession<S>) -> bool {
        let session = session.through(&self.direct);
        session.load_fields(Projection::Named(&[]), None).await.unwrap().is_ok()
    }

    async fn listed(&self) -> BTreeSet<SessionId> {
        let (page, fields) = (PageRequest::new(None, 100), Projection::Named(&[]));
        let listed = self.direct.list_by_principal(&self.principal, page, fields).await.unwrap();
        listed.sessions.iter().map(|listed| listed.id).collect()
    }

    /// Returns the number of entries of any kind in all principal lists.
    fn entries(&self) -> u64 {
        let keys: Vec<String> = self.server.command(&["KEYS", "*:principal"]);
        keys.iter().map(|key| self.server.command::<u64>(&["ZCARD", key])).sum()
    }

    fn calls(&self) -> u64 {
        self.server.calls("evalsha")
    }

    /// Waits until the server has run `steps` scripts since `before`, and checks that no more
    /// follow.
    async fn wait_for_steps(&self, before: u64, steps: u64) {
        wait_for_calls(&self.server, before + steps).await;
    }
}

async fn wait_for_calls(server: &Redis, calls: u64) {
    let start = Instant::now();
    while server.calls("evalsha") < calls {
        assert!(start.elapsed() < LONG_TIMEOUT, "each step should reach the server");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // If the proxy did not hold the next step, the step would arrive within this time.
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(server.calls("evalsha"), calls);
}

// proves: ASVS-7.4.2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_between_the_steps_of_a_sign_in_ends_it() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let fixture = Arc::new(Fixture::on_cluster(flavour).await);
        for is_new in [true, false] {
            for steps in 0..3_u64 {
                let guest = TestSession::begin(&fixture.direct).await;
                let before = fixture.calls();
                fixture.proxy.set(Traffic::HoldAfter(steps as usize));
                let sign_in = fixture.start_sign_in((!is_new).then_some(&guest), None);
                fixture.wait_for_steps(before, steps).await;
                let revoked = fixture.revoke_all().await;
                fixture.proxy.set(Traffic::Forward);
                let case = format!("{flavour:?}, new: {is_new}, after {steps} steps");
                // The revocation ends a session that was written before it. The sign-in itself ends
                // a session that it writes later.
                assert_eq!(revoked.len(), usize::from(steps == 2), "{case}");
                match sign_in.await.unwrap() {
                    Ok(session) => {
                        assert_eq!(
                            steps, 0,
                            "{case}: a sign-in should succeed only if the revocation came before its first step"
                        );
                        assert_eq!(fixture.listed().await, BTreeSet::from([session.id]));
                        assert_eq!(fixture.revoke_all().await, BTreeSet::from([session.id]));
                    }
                    Err(error) => {
                        assert_ne!(
                            steps, 0,
                            "{case}: a sign-in should not be refused if the revocation came before its first step"
                        );
                        assert_eq!(error.kind(), StoreErrorKind::Revoked, "{case}");
                    }
                }
                assert_eq!(fixture.listed().await, BTreeSet::new(), "{case}");
                assert_eq!(
                    fixture.revoke_all().await,
                    BTreeSet::new(),
                    "{case}: no session should be live"
                );
                assert_eq!(fixture.entries(), 0, "{case}: the list should keep no entry");
            }
        }
    }
}

/// The last step of a sign-in is carried out, and its answer is lost. So the step is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_whose_last_step_is_repeated_succeeds() {
    let fixture = Arc::new(Fixture::on_cluster(Flavour::Redis).await);
    for is_new in [true, false] {
        let guest = TestSession::begin(&fixture.direct).await;
        let before = fixture.calls();
        fixture.proxy.set(Traffic::HoldAfter(2));
        let sign_in = fixture.start_sign_in((!is_new).then_some(&guest), None);
        fixture.wait_for_steps(before, 2).await;
        fixture.proxy.set(Traffic::CutAnswersAfter(0));
        fixture.wait_for_steps(before, 3).await;
        fixture.proxy.set(Traffic::Forward);
        let session = sign_in.await.unwrap().unwrap();
        assert_eq!(fixture.calls(), before + 4, "new: {is_new}");
        assert_eq!(fixture.listed().await, BTreeSet::from([session.id]));
        assert_eq!(fixture.revoke_all().await, BTreeSet::from([session.id]));
        assert!(!fixture.is_live(&session).await);
    }
}

/// The test runs on one server and on a cluster.
#[tokio::test]
async fn a_refused_sign_in_leaves_no_entry_in_the_list() {
    for server in [Redis::start(Flavour::Redis, &[]), Redis::start_with_slots(Flavour::Valkey)] {
        let fixture = Fixture::on(server).await;
        let guest = TestSession::begin(&fixture.direct).await;
        let create = fixture.creation(&guest).sign_in(fixture.who(None));
        let error = fixture.direct.create(create).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Exists);
        assert_eq!(fixture.entries(), 0);

        let value = Bytes::from_static(b"another");
        let precondition = Precondition::new("cart", Some(&value));
        let answer = guest.update(fixture.update(None).precondition(precondition)).await.unwrap();
        assert_eq!(answer, Ok(Written::new(Updated::Conflict { current: None })));
        assert_eq!(fixture.entries(), 0);

        let thief = guest.with_wrong_secret();
        let answer = thief.update(fixture.update(None)).await.unwrap();
        assert_eq!(answer, Err(Refused::NotFound));
        assert_eq!(fixture.entries(), 0);

        let pattern = format!("*{}", &guest.id.to_string()[2..]);
        let keys: Vec<String> = fixture.server.command(&["KEYS", &pattern]);
        assert_eq!(keys.len(), 1, "the server should hold only the guest's session");
        fixture.server.command::<()>(&["HSET", &keys[0], "~", "not a record"]);
        let error = guest.update(fixture.update(None)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
        assert_eq!(fixture.entries(), 0);
    }
}

// proves: ASVS-7.4.2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server_a_revocation_comes_before_or_after_a_sign_in() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let fixture = Arc::new(Fixture::on(Redis::start(flavour, &[])).await);
        for (is_new, is_done) in [(true, false), (true, true), (false, false), (false, true)] {
            let guest = TestSession::begin(&fixture.direct).await;
            let before = fixture.calls();
            fixture.proxy.set(if is_done { Traffic::HoldAnswers } else { Traffic::Hold });
            let sign_in = fixture.start_sign_in((!is_new).then_some(&guest), None);
            fixture.wait_for_steps(before, is_done.into()).await;
            assert_eq!(fixture.revoke_all().await.len(), usize::from(is_done));
            fixture.proxy.set(Traffic::Forward);
            let session = sign_in.await.unwrap().unwrap();
            let case = format!("{flavour:?}, new: {is_new}, done: {is_done}");
            assert_eq!(fixture.is_live(&session).await, !is_done, "{case}");
            assert_eq!(fixture.revoke_all().await.len(), usize::from(!is_done), "{case}");
            assert!(!fixture.is_live(&session).await, "{case}");
            assert_eq!(fixture.entries(), 0, "{case}: the list should keep no entry");
        }
    }
}

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    visits: u64,
}

/// A revocation happens before the sign-in writes the session, and the command that would detect
/// the revocation is lost. When the request continues, it adds the session to the list again, so
/// that the session can be revoked.
// proves: ASVS-7.4.2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_does_not_use_a_session_that_no_list_has() {
    let Fixture { server, proxy, direct, prefix, .. } = Fixture::on_cluster(Flavour::Redis).await;
    let (failed, resume) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let sign_in = {
        let (failed, resume) = (Arc::clone(&failed), Arc::clone(&resume));
        move |shop: Shop| async move {
            assert!(shop.set_user("ada").await.is_err());
            failed.add_permits(1);
            let _ = resume.acquire().await;
            Ok::<_, Error>(format!("{:?}", shop.user().await?))
        }
    };
    let connection = fred_client(&format!("redis://{}", proxy.address())).await;
    let impatient = redis_builder(connection, &prefix).timeout(Duration::from_secs(2)).build();
    let app = Router::new()
        .route("/begin", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route("/sign-in", get(sign_in))
        .route("/as-bob", get(|shop: Shop| async move { shop.set_user("bob").await }))
        .route(
            "/user",
            get(|shop: Shop| async move { Ok::<_, Error>(format!("{:?}", shop.user().await?)) }),
        )
        .layer(SessionLayer::new(impatient.clone()));
    let client = new_client(app);
    // Loads the scripts, so that each step is one command.
    let bob = client.stranger();
    bob.text("/begin").await;
    bob.text("/as-bob").await;
    client.text("/begin").await;
    let index = Shop::sessions(&direct);

    let before = server.calls("evalsha");
    proxy.set(Traffic::HoldAfter(1));
    let request = tokio::spawn({
        let client = client.clone();
        async move { client.text("/sign-in").await }
    });
    wait_for_calls(&server, before + 1).await;
    assert_eq!(
        index.by_user("ada").revoke_all().await.unwrap(),
        0,
        "no session should end, because none is written yet"
    );
    proxy.set(Traffic::HoldAfter(1));
    let _ = failed.acquire().await;
    // The step that would undo the sign-in is lost too.
    proxy.set(Traffic::Disconnect);
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.set(Traffic::Forward);
    while impatient.check().await.is_err() {}
    resume.add_permits(1);
    let user = request.await.unwrap();
    assert_eq!(user, "Some(\"ada\")");
    assert_eq!(
        user,
        client.text("/user").await,
        "the request and the client should see the same user"
    );
    assert_eq!(index.by_user("ada").revoke_all().await.unwrap(), 1);
    assert_eq!(client.text("/user").await, "None");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_the_list_between_the_steps_of_a_sign_in_removes_no_entry() {
    let fixture = Arc::new(Fixture::on_cluster(Flavour::Redis).await);
    for steps in 0..3_u64 {
        let before = fixture.calls();
        fixture.proxy.set(Traffic::HoldAfter(steps as usize));
        let sign_in = fixture.start_sign_in(None, None);
        fixture.wait_for_steps(before, steps).await;
        fixture.listed().await;
        fixture.proxy.set(Traffic::Forward);
        let session = sign_in.await.unwrap().unwrap();
        assert_eq!(
            fixture.revoke_all().await,
            BTreeSet::from([session.id]),
            "the revocation should end the session after {steps} steps"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_in_progress_counts_against_the_limit() {
    let fixture = Arc::new(Fixture::on_cluster(Flavour::Redis).await);
    let limit = Some(SessionLimit::new(1, OnLimit::Reject));
    let before = fixture.calls();
    fixture.proxy.set(Traffic::HoldAfter(1));
    let sign_in = fixture.start_sign_in(None, limit);
    fixture.wait_for_steps(before, 1).await;
    let refused = fixture.sign_in_new(&fixture.direct, limit).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(StoreErrorKind::SessionLimit));
    fixture.proxy.set(Traffic::Forward);
    let first = sign_in.await.unwrap().unwrap();
    assert_eq!(first.delete().await.unwrap(), DELETED);
    let second = fixture.sign_in_new(&fixture.direct, limit).await.unwrap();
    assert_eq!(fixture.listed().await, BTreeSet::from([second.id]));

    // If the limit ends the oldest session, a sign-in in progress counts as the oldest. If that
    // sign-in has such a limit, too, it succeeds, but its session has ended.
    let limit = Some(SessionLimit::new(1, OnLimit::EndOldest));
    assert_eq!(second.delete().await.unwrap(), DELETED);
    for overtaken_limit in [None, limit] {
        fixture.revoke_all().await;
        let before = fixture.calls();
        fixture.proxy.set(Traffic::HoldAfter(1));
        let sign_in = fixture.start_sign_in(None, overtaken_limit);
        fixture.wait_for_steps(before, 1).await;
        let third = fixture.sign_in_new(&fixture.direct, limit).await.unwrap();
        fixture.proxy.set(Traffic::Forward);
        match (overtaken_limit, sign_in.await.unwrap()) {
            (Some(_), overtaken) => assert!(!fixture.is_live(&overtaken.unwrap()).await),
            (None, answer) => {
                assert_eq!(answer.err().map(|error| error.kind()), Some(StoreErrorKind::Revoked));
            }
        }
        assert_eq!(fixture.listed().await, BTreeSet::from([third.id]));
    }
}

#[tokio::test]
async fn entries_leave_the_list_with_their_sessions() {
    for server in [Redis::start(Flavour::Redis, &[]), Redis::start_with_slots(Flavour::Valkey)] {
        let fixture = Fixture::on(server).await;
        // A session stays listed for at least four timeouts.
        let client = redis_rs_client(fixture.server.url()).await;
        let builder = redis_builder(client, &fixture.prefix).timeout(Duration::from_secs(2));
        let store = Arc::new(builder.build());
        let session = TestSession::new(&store);
        let create = session.creation().absolute(Ttl::from_millis(300));
        store.create(create.sign_in(fixture.who(None))).await.unwrap();
        assert_eq!(fixture.entries(), 1);
        let start = Instant::now();
        while fixture.entries() > 0 {
            assert!(start.elapsed() < LONG_TIMEOUT, "the list should keep no expired session");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for _ in 0..5 {
            let session = fixture.sign_in_new(&store, None).await.unwrap();
            assert_eq!(session.delete().await.unwrap(), DELETED);
        }
        assert_eq!(fixture.listed().await, BTreeSet::new());
        assert_eq!(fixture.entries(), 0, "a read of the list should remove ended sessions");
    }
}
