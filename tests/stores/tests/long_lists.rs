//! A user can make a principal list on Redis grow. The size of the list must not delay scripts, so
//! each script looks at a bounded number of entries.

use std::{collections::BTreeSet, sync::Arc};

use fred::clients::Client;
use redis::{Connection, pipe};
use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        NewSignIn, OnLimit, PageRequest, Projection, RevokeTarget, SessionLimit, Store, StoreError,
        StoreErrorKind, redis::RedisStore,
    },
    token::SessionId,
};
use ruts_tests_stores::{
    backends::{fred_client, redis_store},
    error_kind,
    servers::{Flavour, Prefix, Redis},
};
use ruts_tests_support::{DELETED, TestSession, random};

const HOUR: Option<Ttl> = Some(Ttl::from_secs(3600));

/// Maximum number of entries that a script looks at. The last of them only shows whether others
/// follow.
const STEP: u64 = 256 + 1;

/// Maximum number of sessions that a script ends.
const MAX_ENDED: u64 = 64;

/// A principal on a server of its own.
struct Fixture {
    server: Redis,
    store: Arc<RedisStore<Client>>,
    prefix: Prefix,
    principal: PrincipalKey,
}

/// The numbers of calls so far.
#[derive(Debug, Clone, Copy)]
struct Calls {
    scripts: u64,
    /// Commands for one entry of a list, or for the existence of one session.
    entries: u64,
    ended: u64,
}

impl Fixture {
    async fn on(server: Redis) -> Self {
        let prefix = Prefix::unique();
        let store = Arc::new(redis_store(fred_client(server.url()).await, &prefix));
        let fixture = Self { server, store, prefix, principal: PrincipalKey::from_bytes(random()) };
        // Loads the scripts.
        for _ in 0..20 {
            fixture.sign_in(None).await.unwrap();
        }
        fixture.live_page(100).await;
        fixture.revoke_all().await;
        fixture
    }

    async fn sign_in(
        &self,
        limit: Option<SessionLimit>,
    ) -> Result<TestSession<RedisStore<Client>>, StoreError> {
        let session = TestSession::new(&self.store);
        let who = NewSignIn::new(&self.principal, Assurance::Aal1).limit(limit);
        self.store.create(session.creation().idle(HOUR).absolute(HOUR).sign_in(who)).await?;
        Ok(session)
    }

    async fn live_page(&self, limit: usize) -> BTreeSet<SessionId> {
        let (page, fields) = (PageRequest::new(None, limit), Projection::Named(&[]));
        let page = self.store.list_by_principal(&self.principal, page, fields).await.unwrap();
        page.sessions.iter().map(|listed| listed.id).collect()
    }

    async fn revoke_all(&self) -> BTreeSet<SessionId> {
        self.revoke(RevokeTarget::All { except: None }).await
    }

    async fn revoke(&self, target: RevokeTarget<'_>) -> BTreeSet<SessionId> {
        self.store.revoke(&self.principal, target).await.unwrap().answer.into_iter().collect()
    }

    fn connection(&self) -> Connection {
        redis::Client::open(self.server.url()).unwrap().get_connection().unwrap()
    }

    fn list_key(&self) -> String {
        let keys: Vec<String> = self.server.command(&["KEYS", "*:principal"]);
        keys.into_iter().next().expect("the principal should have a list")
    }

    fn entries(&self) -> u64 {
        let keys: Vec<String> = self.server.command(&["KEYS", "*:principal"]);
        keys.iter().map(|key| self.server.command::<u64>(&["ZCARD", key])).sum()
    }

    /// Adds ended sessions to the list, as sign-ins and sign-outs leave them behind.
    fn list_ended(&self, count: usize) {
        self.list(count, |_, _| ());
    }

    /// Adds live sessions to the list, each a copy of `copied`.
    fn list_live(&self, count: usize, copied: &SessionId) {
        let record: Vec<u8> =
            redis::cmd("DUMP").arg(self.session_key(copied)).query(&mut self.connection()).unwrap();
        self.list(count, |pipe, id| {
            pipe.cmd("RESTORE").arg(self.session_key(id)).arg(3_600_000).arg(&record).ignore();
        });
    }

    fn session_key(&self, id: &SessionId) -> String {
        let id = id.to_string();
        format!("{}:{{{}}}{}", self.prefix.name(), &id[..2], &id[2..])
    }

    fn list(&self, count: usize, each: impl Fn(&mut redis::Pipeline, &SessionId)) {
        let (key, mut connection) = (self.list_key(), self.connection());
        for _ in 0..count / 1000 {
            let mut commands = pipe();
            for _ in 0..1000 {
                let id: [u8; 16] = random();
                let member = [&id[..], b"1700000000000 +"].concat();
                commands.cmd("ZADD").arg(&key).arg(0).arg(member).ignore();
                each(&mut commands, &SessionId::from_bytes(id));
            }
            commands.exec(&mut connection).unwrap();
        }
    }

    fn calls(&self) -> Calls {
        let sum = |names: &[&str]| names.iter().map(|name| self.server.calls(name)).sum();
        Calls {
            scripts: sum(&["evalsha"]),
            entries: sum(&["zadd", "zrem", "exists"]),
            ended: sum(&["del"]),
        }
    }

    /// Checks that at most `scripts` scripts ran since `before`, and that each looked at a bounded
    /// number of entries on average. A script that looked at a whole list would exceed that number.
    fn assert_steps(&self, before: Calls, scripts: u64, case: &str) {
        let now = self.calls();
        let ran = now.scripts - before.scripts;
        assert!(
            ran <= scripts,
            "{case}: at most {scripts} scripts should run, but {ran} ran: {before:?}, {now:?}"
        );
        let entries = now.entries - before.entries;
        // Two commands replace an entry.
        assert!(
            entries <= ran * 2 * STEP,
            "{case}: {ran} scripts should not look at {entries} entries"
        );
        let ended = now.ended - before.ended;
        assert!(ended <= ran * MAX_ENDED, "{case}: {ran} scripts should not end {ended} sessions");
        let whole: u64 =
            ["hgetall", "hkeys", "zrange"].iter().map(|it| self.server.calls(it)).sum();
        assert_eq!(whole, 0, "{case}: no script should read a whole collection");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_of_ended_sessions_is_worked_off_in_steps() {
    const ENDED: usize = 200_000;
    const STEPS: u64 = ENDED as u64 / 256 + 2;
    let fixture = Fixture::on(Redis::start(Flavour::Redis, &[])).await;
    let mut live = BTreeSet::new();
    for _ in 0..3 {
        live.insert(fixture.sign_in(None).await.unwrap().id);
    }
    fixture.list_ended(ENDED);

    let before = fixture.calls();
    let session = fixture.sign_in(None).await.unwrap();
    fixture.assert_steps(before, 1 + 3, "a sign-in, and perhaps a trim");
    let before = fixture.calls();
    let revoked = fixture.revoke(RevokeTarget::One(&session.id)).await;
    assert_eq!(revoked, BTreeSet::from([session.id]));
    fixture.assert_steps(before, 3 + 3, "a revocation of one, and perhaps a trim");

    let before = fixture.calls();
    assert_eq!(fixture.live_page(10).await, live, "the page should have all live sessions");
    fixture.assert_steps(before, 3 * STEPS + 20, "a page");

    fixture.list_ended(ENDED);
    let before = fixture.calls();
    let limit = SessionLimit::new(3, OnLimit::EndOldest);
    let session = fixture.sign_in(Some(limit)).await.unwrap();
    fixture.assert_steps(before, 3 * STEPS + 3 + 3 + 2, "a sign-in at the limit");
    assert_eq!(fixture.entries(), 3);
    assert!(fixture.live_page(10).await.contains(&session.id));

    fixture.list_ended(ENDED);
    let before = fixture.calls();
    assert_eq!(fixture.revoke_all().await.len(), 3);
    fixture.assert_steps(before, 6 * STEPS, "a revocation of all");
    assert_eq!(fixture.entries(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_of_live_sessions_is_read_and_revoked_in_steps() {
    const LIVE: usize = 100_000;
    let fixture = Fixture::on(Redis::start(Flavour::Redis, &[])).await;
    let session = fixture.sign_in(None).await.unwrap();
    fixture.list_live(LIVE, &session.id);

    let before = fixture.calls();
    assert_eq!(fixture.live_page(100).await.len(), 100, "the page should be full");
    fixture.assert_steps(before, 2 + 100, "a page");
    let before = fixture.calls();
    let limit = SessionLimit::new(3, OnLimit::Reject);
    let refused = fixture.sign_in(Some(limit)).await.map(|_| ());
    assert_eq!(error_kind(refused), StoreErrorKind::SessionLimit);
    fixture.assert_steps(before, 1 + 2 + 256, "a sign-in above the limit");

    let before = fixture.calls();
    assert_eq!(fixture.revoke_all().await.len(), LIVE + 1);
    fixture.assert_steps(before, (LIVE as u64 / 256 + 1) * 6, "a revocation of all");
    assert_eq!(fixture.entries(), 0);
    assert!(fixture.live_page(10).await.is_empty());
}

/// The test runs on one server, and on a cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_outs_do_not_make_the_list_grow() {
    for server in [Redis::start(Flavour::Redis, &[]), Redis::start_with_slots(Flavour::Valkey)] {
        let fixture = Fixture::on(server).await;
        let kept = fixture.sign_in(None).await.unwrap();
        for _ in 0..1500 {
            let session = fixture.sign_in(None).await.unwrap();
            assert_eq!(session.delete().await.unwrap(), DELETED);
        }
        let entries = fixture.entries();
        assert!(
            entries < 400,
            "the list should have fewer than 400 entries after 1500 sign-outs, but has {entries}"
        );
        assert_eq!(fixture.live_page(10).await, BTreeSet::from([kept.id]));
    }
}
