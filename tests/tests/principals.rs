//! A sign-in on a cluster of Redis takes three steps, and the list of a principal's sessions is apart from
//! them. It is held up between any two, while another process ends all sessions, lists them or dies. On one
//! server, nothing comes between.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use bytes::Bytes;
use ruts::{
    Assurance, Error, PrincipalKey, SecretHash, SessionId, SessionLayer, Ttl, session,
    store::{
        AuthChange, Create, Loaded, Lookup, NewSignIn, OnLimit, PageRequest, Precondition,
        Projection, RevokeTarget, SessionLimit, Store, StoreError, StoreErrorKind, Update, Updated,
        redis::RedisStore,
    },
};
use ruts_tests::{
    Browser, Proxy, Traffic, Visitor,
    backends::{fred_client, manager, redis_store},
    random,
    servers::{Flavour, Prefix, Redis},
};

use tokio::sync::Semaphore;

type Client = fred::clients::Client;

const HOUR: Option<Ttl> = Some(Ttl::from_secs(3600));

/// Two processes, one behind a proxy.
struct Fixture {
    server: Redis,
    proxy: Proxy,
    held: Arc<RedisStore<Client>>,
    free: Arc<RedisStore<Client>>,
    prefix: Prefix,
    principal: PrincipalKey,
}

impl Fixture {
    /// Where a sign-in takes three steps.
    async fn new(flavour: Flavour) -> Self {
        Self::at(Redis::start_with_slots(flavour)).await
    }

    async fn at(server: Redis) -> Self {
        let proxy = Proxy::before(&server.address()).await;
        let prefix = Prefix::unique();
        let client = fred_client(&format!("redis://{}", proxy.address())).await;
        let held = Arc::new(redis_store(client, &prefix).with_timeout(Duration::from_secs(20)));
        let free = Arc::new(redis_store(fred_client(server.url()).await, &prefix));
        let fixture = Self {
            server,
            proxy,
            held,
            free,
            prefix,
            principal: PrincipalKey::from_bytes(random()),
        };
        // Once, so that each step is one command, and both know how many there are.
        fixture.sign_in(&fixture.free, true, None).await.unwrap();
        fixture.sign_in(&fixture.held, true, None).await.unwrap();
        fixture.sign_in(&fixture.held, false, None).await.unwrap();
        fixture.revoke().await;
        fixture
    }

    fn who(&self, limit: Option<SessionLimit>) -> NewSignIn<'_> {
        NewSignIn { principal: &self.principal, assurance: Assurance::Aal1, limit }
    }

    /// A sign-in by a new session, or by one that was there.
    async fn sign_in<S: Store>(
        &self,
        store: &Arc<S>,
        is_new: bool,
        limit: Option<SessionLimit>,
    ) -> Result<Visitor<S>, StoreError> {
        if is_new {
            let visitor = Visitor::new(store);
            let Visitor { id, secret, .. } = &visitor;
            let sign_in = Some(self.who(limit));
            let (idle, absolute) = (HOUR, HOUR);
            store.create(Create { id, secret, idle, absolute, fields: &[], sign_in }).await?;
            return Ok(visitor);
        }
        let guest = Visitor::begin(&self.free).await;
        self.sign_in_of(store, guest.id, guest.secret, limit).await
    }

    async fn sign_in_of<S: Store>(
        &self,
        store: &Arc<S>,
        id: SessionId,
        secret: SecretHash,
        limit: Option<SessionLimit>,
    ) -> Result<Visitor<S>, StoreError> {
        let guest = Visitor { store: Arc::clone(store), id, secret };
        let new = SecretHash::from_bytes(random());
        let sign = Some(AuthChange::In { who: self.who(limit), idle: HOUR, absolute: HOUR });
        let update = Update { rotate: Some(&new), sign, ..Update::default() };
        let answer = store.update(guest.credentials(), update).await?;
        assert_eq!(answer, Lookup::Found(Updated::Applied { found: 0 }));
        Ok(Visitor { secret: new, ..guest })
    }

    async fn revoke(&self) -> BTreeSet<SessionId> {
        let target = RevokeTarget::All { except: None };
        self.free.revoke(&self.principal, target).await.unwrap().ids.into_iter().collect()
    }

    async fn free_load(&self, visitor: &Visitor<RedisStore<Client>>) -> Lookup<Loaded> {
        self.free.load(visitor.credentials(), Projection::Named(&[]), None).await.unwrap()
    }

    async fn listed(&self) -> BTreeSet<SessionId> {
        let page = PageRequest { after: None, limit: 100 };
        let listing = self
            .free
            .list_by_principal(&self.principal, page, Projection::Named(&[]))
            .await
            .unwrap();
        listing.sessions.iter().map(|listed| listed.id).collect()
    }

    /// How many entries the list has, of whatever kind.
    fn entries(&self) -> u64 {
        let keys: Vec<String> = self.server.command(&["KEYS", "*:principal"]);
        keys.iter().map(|key| self.server.command::<u64>(&["HLEN", key])).sum()
    }
}

/// Waits until the proxy holds something up.
async fn held_up(calls: impl Fn() -> u64, before: u64, steps: u64) {
    let begun = std::time::Instant::now();
    while calls() < before + steps {
        assert!(begun.elapsed() < Duration::from_secs(15), "it never came so far");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // What follows would be there by now.
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(calls(), before + steps);
}

// proves: ASVS-7.4.2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_comes_between_the_steps_of_a_sign_in() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let fixture = Arc::new(Fixture::new(flavour).await);
        for is_new in [true, false] {
            for steps in 0..3_u64 {
                let guest = Visitor::begin(&fixture.free).await;
                let before = fixture.server.calls("evalsha");
                fixture.proxy.set(Traffic::WaitsAfter(steps as usize));
                let signing = tokio::spawn({
                    let fixture = Arc::clone(&fixture);
                    async move {
                        match is_new {
                            true => fixture.sign_in(&fixture.held, true, None).await,
                            false => {
                                let Visitor { id, secret, .. } = guest;
                                fixture.sign_in_of(&fixture.held, id, secret, None).await
                            }
                        }
                    }
                });
                held_up(|| fixture.server.calls("evalsha"), before, steps).await;
                let revoked = fixture.revoke().await;
                fixture.proxy.set(Traffic::Flows);
                let signed_in = signing.await.unwrap();
                let case = format!("{flavour:?} {is_new} {steps}");
                // What is written by then is ended at once, and what is not by the sign-in itself.
                assert_eq!(revoked.len(), usize::from(steps == 2), "{case}");
                match signed_in {
                    Ok(visitor) => {
                        assert_eq!(steps, 0, "{case}: it came through");
                        assert_eq!(fixture.listed().await, BTreeSet::from([visitor.id]));
                        assert_eq!(fixture.revoke().await, BTreeSet::from([visitor.id]));
                    }
                    Err(error) => {
                        assert_ne!(steps, 0, "{case}: it was refused");
                        assert_eq!(error.kind(), StoreErrorKind::Revoked, "{case}");
                    }
                }
                assert_eq!(fixture.listed().await, BTreeSet::new(), "{case}");
                assert_eq!(fixture.revoke().await, BTreeSet::new(), "{case}: it escaped");
                assert_eq!(fixture.entries(), 0, "{case}: the list keeps nothing");
            }
        }
    }
}

/// Whether its list and its session are on one server or not, a sign-in that is refused leaves nothing.
#[tokio::test]
async fn a_sign_in_that_is_refused_is_not_listed() {
    for server in [Redis::start(Flavour::Redis, &[]), Redis::start_with_slots(Flavour::Valkey)] {
        let fixture = Fixture::at(server).await;
        let guest = Visitor::begin(&fixture.free).await;
        let Visitor { id, secret, .. } = &guest;
        let (idle, absolute, sign_in) = (HOUR, HOUR, Some(fixture.who(None)));
        let create = Create { id, secret, idle, absolute, fields: &[], sign_in };
        let error = fixture.free.create(create).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Exists);
        assert_eq!(fixture.entries(), 0);

        let sign = || Some(AuthChange::In { who: fixture.who(None), idle, absolute });
        let value = Bytes::from_static(b"another");
        let expect = Some(Precondition { name: "cart", value: Some(&value) });
        let update = Update { precondition: expect, sign: sign(), ..Update::default() };
        let answer = fixture.free.update(guest.credentials(), update).await.unwrap();
        assert_eq!(answer, Lookup::Found(Updated::Conflict { current: None }));
        assert_eq!(fixture.entries(), 0);

        let thief = Visitor { secret: SecretHash::from_bytes(random()), ..guest.clone() };
        let update = || Update { sign: sign(), ..Update::default() };
        let answer = fixture.free.update(thief.credentials(), update()).await.unwrap();
        assert_eq!(answer, Lookup::NotFound);
        assert_eq!(fixture.entries(), 0);

        let keys: Vec<String> = fixture.server.command(&["KEYS", "*"]);
        assert_eq!(keys.len(), 1, "the guest's only");
        fixture.server.command::<()>(&["HSET", &keys[0], "~", "describes nothing"]);
        let error = fixture.free.update(guest.credentials(), update()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
        assert_eq!(fixture.entries(), 0);
    }
}

/// Where one server keeps the list and the session, a revocation finds all of a sign-in or nothing.
// proves: ASVS-7.4.2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server_a_revocation_finds_all_of_a_sign_in_or_nothing() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let fixture = Arc::new(Fixture::at(Redis::start(flavour, &[])).await);
        for (is_new, is_done) in [(true, false), (true, true), (false, false), (false, true)] {
            let guest = Visitor::begin(&fixture.free).await;
            let before = fixture.server.calls("evalsha");
            fixture.proxy.set(if is_done { Traffic::KeepsAnswers } else { Traffic::Waits });
            let signing = tokio::spawn({
                let (fixture, guest) = (Arc::clone(&fixture), guest.clone());
                async move {
                    let Visitor { id, secret, .. } = guest;
                    match is_new {
                        true => fixture.sign_in(&fixture.held, true, None).await,
                        false => fixture.sign_in_of(&fixture.held, id, secret, None).await,
                    }
                }
            });
            held_up(|| fixture.server.calls("evalsha"), before, is_done.into()).await;
            assert_eq!(fixture.revoke().await.len(), usize::from(is_done));
            fixture.proxy.set(Traffic::Flows);
            let visitor = signing.await.unwrap().unwrap();
            let case = format!("{flavour:?} {is_new} {is_done}");
            let is_in = matches!(fixture.free_load(&visitor).await, Lookup::Found(_));
            assert_eq!(is_in, !is_done, "{case}");
            assert_eq!(fixture.revoke().await.len(), usize::from(!is_done), "{case}: it escaped");
            assert!(!matches!(fixture.free_load(&visitor).await, Lookup::Found(_)), "{case}");
            assert_eq!(fixture.entries(), 0, "{case}: the list keeps nothing");
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

/// A revocation came before the session was written, and what would have noticed it got lost. The request
/// that goes on with the session lists it again, or nobody could ever end it.
// proves: ASVS-7.4.2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_nobody_lists_is_not_used() {
    let Fixture { server, proxy, held, free, .. } = Fixture::new(Flavour::Redis).await;
    let (failed, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let sign_in = {
        let (failed, go_on) = (Arc::clone(&failed), Arc::clone(&go_on));
        move |shop: Shop| async move {
            assert!(shop.set_user("ada").await.is_err());
            failed.add_permits(1);
            let _ = go_on.acquire().await;
            Ok::<_, Error>(format!("{:?}", shop.user().await?))
        }
    };
    let impatient = (*held).clone().with_timeout(Duration::from_millis(600));
    let app = Router::new()
        .route("/begin", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route("/sign-in", get(sign_in))
        .route("/as-bob", get(|shop: Shop| async move { shop.set_user("bob").await }))
        .route(
            "/user",
            get(|shop: Shop| async move { Ok::<_, Error>(format!("{:?}", shop.user().await?)) }),
        )
        .layer(SessionLayer::new(impatient));
    let browser = Browser::new(app);
    // Once, so that each step is one command.
    let bob = browser.stranger();
    bob.text("/begin").await;
    bob.text("/as-bob").await;
    browser.text("/begin").await;
    let index = Shop::sessions(&free);

    let before = server.calls("evalsha");
    proxy.set(Traffic::WaitsAfter(1));
    let signing = tokio::spawn({
        let browser = browser.clone();
        async move { browser.text("/sign-in").await }
    });
    held_up(|| server.calls("evalsha"), before, 1).await;
    assert_eq!(index.by_user("ada").revoke_all().await.unwrap(), 0, "it is not there yet");
    proxy.set(Traffic::WaitsAfter(1));
    let _ = failed.acquire().await;
    // What was to undo it is lost too.
    proxy.set(Traffic::Stops);
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.set(Traffic::Flows);
    while held.check().await.is_err() {}
    go_on.add_permits(1);
    let user = signing.await.unwrap();
    assert_eq!(user, "Some(\"ada\")");
    assert_eq!(user, browser.text("/user").await, "the browser knows what the request saw");
    let is_in = usize::from(user != "None");
    assert_eq!(index.by_user("ada").revoke_all().await.unwrap(), is_in, "{user}");
    assert_eq!(browser.text("/user").await, "None");
}

/// A list that is read meanwhile leaves an entry alone whose session is about to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_read_between_the_steps_of_a_sign_in_loses_nothing() {
    let fixture = Arc::new(Fixture::new(Flavour::Redis).await);
    for steps in 0..3_u64 {
        let before = fixture.server.calls("evalsha");
        fixture.proxy.set(Traffic::WaitsAfter(steps as usize));
        let signing = tokio::spawn({
            let fixture = Arc::clone(&fixture);
            async move { fixture.sign_in(&fixture.held, true, None).await }
        });
        held_up(|| fixture.server.calls("evalsha"), before, steps).await;
        fixture.listed().await;
        fixture.proxy.set(Traffic::Flows);
        let visitor = signing.await.unwrap().unwrap();
        assert_eq!(fixture.revoke().await, BTreeSet::from([visitor.id]), "{steps}");
    }
}

/// The room of one who is signing in counts, and that of one who died on the way is free after a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_is_under_way_takes_its_room() {
    let fixture = Arc::new(Fixture::new(Flavour::Redis).await);
    let limit = Some(SessionLimit { sessions: 1, on_limit: OnLimit::Reject });
    let before = fixture.server.calls("evalsha");
    fixture.proxy.set(Traffic::WaitsAfter(1));
    let signing = tokio::spawn({
        let fixture = Arc::clone(&fixture);
        async move { fixture.sign_in(&fixture.held, true, limit).await }
    });
    held_up(|| fixture.server.calls("evalsha"), before, 1).await;
    let refused = fixture.sign_in(&fixture.free, true, limit).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(StoreErrorKind::SessionLimit));
    fixture.proxy.set(Traffic::Flows);
    let first = signing.await.unwrap().unwrap();
    first.delete().await.unwrap();
    let second = fixture.sign_in(&fixture.free, true, limit).await.unwrap();
    assert_eq!(fixture.listed().await, BTreeSet::from([second.id]));

    // With the oldest to be ended, one that is under way is the oldest there may be.
    let limit = Some(SessionLimit { sessions: 1, on_limit: OnLimit::EndOldest });
    second.delete().await.unwrap();
    let before = fixture.server.calls("evalsha");
    fixture.proxy.set(Traffic::WaitsAfter(1));
    let signing = tokio::spawn({
        let fixture = Arc::clone(&fixture);
        async move { fixture.sign_in(&fixture.held, true, None).await }
    });
    held_up(|| fixture.server.calls("evalsha"), before, 1).await;
    let third = fixture.sign_in(&fixture.free, true, limit).await.unwrap();
    fixture.proxy.set(Traffic::Flows);
    let overtaken = signing.await.unwrap();
    assert_eq!(overtaken.err().map(|error| error.kind()), Some(StoreErrorKind::Revoked));
    assert_eq!(fixture.listed().await, BTreeSet::from([third.id]));
}

/// The list ends with what it lists.
#[tokio::test]
async fn a_list_keeps_nothing_for_ever() {
    for server in [Redis::start(Flavour::Redis, &[]), Redis::start_with_slots(Flavour::Valkey)] {
        let fixture = Fixture::at(server).await;
        let store = Arc::new(redis_store(manager(fixture.server.url()).await, &fixture.prefix));
        let visitor = Visitor::new(&store);
        let Visitor { id, secret, .. } = &visitor;
        let absolute = Some(Ttl::from_millis(300));
        let sign_in = Some(fixture.who(None));
        let create = Create { id, secret, idle: None, absolute, fields: &[], sign_in };
        store.create(create).await.unwrap();
        assert_eq!(fixture.entries(), 1);
        let begun = std::time::Instant::now();
        while fixture.entries() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody has removed it");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for _ in 0..5 {
            let visitor = fixture.sign_in(&store, true, None).await.unwrap();
            visitor.delete().await.unwrap();
        }
        assert_eq!(fixture.entries(), 5);
        assert_eq!(fixture.listed().await, BTreeSet::new());
        assert_eq!(fixture.entries(), 0, "a list that was read is in order");
    }
}
