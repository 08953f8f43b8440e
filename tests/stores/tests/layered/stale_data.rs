//! Tests of caches that return with older data, and of cached values that were changed by other
//! programs.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use ruts::{
    store::{
        CachePolicy, Change, FieldWrite, Refused, Store, Updated, Written, layered::LayeredStore,
    },
    token::{SecretHash, SessionId},
};
use ruts_tests_stores::{
    backends::{fred_client, redis_store},
    servers::{Flavour, Postgres, Redis},
    tiers::{Layered, Tiers},
};
use ruts_tests_support::{APPLIED, DELETED, TestSession, random, wait_until};

use crate::{has_ended, load, read, value, wait_until_quiet};

const REMOVED: Result<Written<Updated>, Refused> = Ok(Written::new(Updated::Applied { found: 1 }));

/// Returns the cache entry of a session as a server stores it.
fn entry(
    server: &Redis,
    tiers: &Tiers<&'static Postgres>,
    id: &SessionId,
) -> HashMap<String, Vec<u8>> {
    server.command(&["HGETALL", &tiers.entry_key(id)])
}

/// Three cached sessions: one to delete, one to rotate, one to write.
struct ThreeSessions([TestSession<Layered>; 3]);

impl ThreeSessions {
    async fn begin(store: &Arc<Layered>) -> Self {
        let begin = async || {
            let session = TestSession::begin(store).await;
            assert_eq!(session.set("a", "old").await.unwrap(), APPLIED);
            assert_eq!(read(&session, "a").await, value("old"));
            session
        };
        Self([begin().await, begin().await, begin().await])
    }

    async fn change(&self) {
        let [deleted, rotated, written] = &self.0;
        assert_eq!(deleted.delete().await.unwrap(), DELETED);
        let secret = SecretHash::from_bytes(random());
        assert_eq!(rotated.rotate(&secret).await.unwrap(), APPLIED);
        assert_eq!(written.set("a", "new").await.unwrap(), APPLIED);
    }

    /// Checks that reads through a store see the latest changes.
    async fn assert_changed(&self, store: &Arc<Layered>) {
        let [deleted, rotated, written] = self.0.each_ref().map(|session| session.through(store));
        for _ in 0..3 {
            assert!(has_ended(&deleted).await, "the deleted session should have ended");
            let answer = load(&rotated, "a").await;
            assert!(matches!(answer, Err(Refused::Replaced { .. })), "{answer:?}");
            assert_eq!(read(&written, "a").await, value("new"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cache_restored_from_a_snapshot() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let tiers = Tiers::start(flavour);
        let store = tiers.store().await;
        let three = ThreeSessions::begin(&store).await;
        wait_until_quiet(&tiers).await;
        tiers.redis.command::<()>(&["SAVE"]);
        three.change().await;
        tokio::task::block_in_place(|| {
            tiers.redis.kill();
            tiers.redis.restart();
        });
        for session in &three.0 {
            let entry = entry(&tiers.redis, &tiers, &session.id);
            assert!(
                entry.contains_key("~") && entry.contains_key("a"),
                "the server should have restored the entry"
            );
        }
        three.assert_changed(&tiers.store().await).await;
        three.assert_changed(&store).await;
    }
}

/// A replica without the latest writes takes over. Later the former leader, which never stopped,
/// copies the data of the replica and leads again.
#[tokio::test]
async fn a_cache_that_fails_over_and_back() {
    let settings = ["--repl-diskless-sync-delay", "0"];
    let tiers = Tiers::on(Redis::start(Flavour::Redis, &settings), Postgres::shared());
    let replica = Redis::start(Flavour::Redis, &settings);
    let follow = async |follower: &Redis, leader: &Redis| {
        let address = leader.address();
        let (host, port) = address.rsplit_once(':').unwrap();
        follower.command::<()>(&["REPLICAOF", host, port]);
        wait_until("the follower is connected", async || {
            follower.command::<String>(&["INFO", "replication"]).contains("master_link_status:up")
        })
        .await;
    };
    follow(&replica, &tiers.redis).await;
    let store = tiers.store().await;
    let three = ThreeSessions::begin(&store).await;
    wait_until("the follower has the entries", async || {
        three.0.iter().all(|session| entry(&replica, &tiers, &session.id).contains_key("a"))
    })
    .await;
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    three.change().await;

    // Reads go through the new leader, which did not receive these writes.
    let (origin, _) = tiers.origin(&tiers.urls()).await;
    let cache = redis_store(fred_client(replica.url()).await, tiers.prefix());
    let through_replica = Arc::new(LayeredStore::builder(cache, origin).build());
    let [deleted, rotated, _] = &three.0;
    let stale = entry(&replica, &tiers, &deleted.id);
    assert!(stale.contains_key("~"), "the replica should have a stale entry");
    let answer = load(&rotated.through(&through_replica), "a").await;
    assert!(matches!(answer, Err(Refused::Replaced { .. })), "{answer:?}");

    // The former leader leads again, with the data of the replica.
    follow(&tiers.redis, &replica).await;
    tiers.redis.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    let stale = entry(&tiers.redis, &tiers, &deleted.id);
    assert!(
        stale.contains_key("~") && stale.contains_key("a"),
        "the leader should have a stale entry"
    );
    three.assert_changed(&store).await;
    three.assert_changed(&through_replica).await;
}

/// Replaces a cached value in the server of the cache.
fn plant(tiers: &Tiers<&'static Postgres>, id: &SessionId, name: &str, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let mut stored =
        entry(&tiers.redis, tiers, id).remove(name).expect("the field should be cached");
    let start = stored.len() - old.len();
    assert_eq!(&stored[start..], old.as_bytes());
    stored.splice(start.., new.bytes());
    let mut connection = redis::Client::open(tiers.redis.url()).unwrap().get_connection().unwrap();
    let mut command = redis::cmd("HSET");
    command.arg(tiers.entry_key(id)).arg(name).arg(stored);
    command.exec(&mut connection).unwrap();
}

// proves: ASVS-8.3.2
#[tokio::test]
async fn the_origin_confirms_a_revalidated_field() {
    let tiers = Tiers::start(Flavour::Redis);
    let session = TestSession::begin(&tiers.store().await).await;
    session.get("none").await.unwrap();
    let text = Bytes::from_static(b"guest");
    let set = |name, policy| Change::Set(FieldWrite::new(name, &text).cache_policy(policy));
    let changes = [set("role", CachePolicy::Revalidate), set("theme", CachePolicy::Default)];
    assert_eq!(session.change(&changes).await.unwrap(), APPLIED);
    assert_eq!(read(&session, "role").await, value("guest"));
    assert_eq!(read(&session, "theme").await, value("guest"));
    wait_until_quiet(&tiers).await;
    plant(&tiers, &session.id, "role", "guest", "admin");
    plant(&tiers, &session.id, "theme", "guest", "admin");
    assert_eq!(
        session.get("theme").await.unwrap(),
        value("admin"),
        "the read should be answered by the cache"
    );
    assert_eq!(session.get("role").await.unwrap(), value("guest"));

    // This process does not know the policy of the field.
    let elsewhere = session.through(&tiers.store().await);
    assert_eq!(elsewhere.get("role").await.unwrap(), value("guest"));
    let loaded = elsewhere.load().await.unwrap().unwrap();
    let role = loaded.fields.iter().find(|field| field.name == "role").unwrap();
    assert_eq!(Some(role.value.clone()), value("guest"));
    assert_eq!(role.cache_policy, CachePolicy::Revalidate);

    // A removal and a deletion that bypass the cache.
    let origin = session.through(&tiers.origin_alone().await);
    assert_eq!(origin.change(&[Change::Remove("role")]).await.unwrap(), REMOVED);
    assert_eq!(session.get("role").await.unwrap(), None);
    assert_eq!(origin.delete().await.unwrap(), DELETED);
    let answer = load(&session, "role").await;
    assert!(matches!(answer, Err(Refused::Deleted { .. })), "{answer:?}");
    assert!(
        session.get("theme").await.unwrap().is_some(),
        "the read should be answered by the cache"
    );
}

/// The process knows the policy only by a hint. Without the hint, it would read from the cache.
// proves: ASVS-8.3.2
#[tokio::test]
async fn the_origin_confirms_the_absence_of_a_revalidated_field() {
    let tiers = Tiers::start(Flavour::Redis);
    let [one, other] = [tiers.store().await, tiers.store().await];
    let session = TestSession::begin(&one).await;
    assert_eq!(read(&session, "banned").await, None);
    wait_until_quiet(&tiers).await;
    let origin = tiers.origin_alone().await;
    assert_eq!(session.through(&origin).set("banned", "yes").await.unwrap(), APPLIED);
    assert_eq!(
        session.get("banned").await.unwrap(),
        None,
        "the read should be answered by the cache"
    );

    let number_of_fields =
        async |session: &TestSession<Layered>| session.load().await.unwrap().unwrap().fields.len();
    let empty = TestSession::begin(&one).await;
    assert_eq!(number_of_fields(&empty).await, 0);
    wait_until("the entry is complete", async || {
        entry(&tiers.redis, &tiers, &empty.id).contains_key("~c")
    })
    .await;
    assert_eq!(empty.through(&origin).set("banned", "yes").await.unwrap(), APPLIED);
    assert_eq!(number_of_fields(&empty).await, 0, "the read should be answered by the cache");

    other.hint_cache_policy("banned", CachePolicy::Revalidate);
    assert_eq!(session.through(&other).get("banned").await.unwrap(), value("yes"));
    assert_eq!(number_of_fields(&empty.through(&other)).await, 1);
}

// proves: ASVS-14.2.2
#[tokio::test]
async fn a_field_that_must_not_be_cached_is_not_in_the_cache() {
    let tiers = Tiers::start(Flavour::Redis);
    let session = TestSession::begin(&tiers.store().await).await;
    let text = Bytes::from_static(b"verifier");
    let oauth = FieldWrite::new("oauth", &text).cache_policy(CachePolicy::NoStore);
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    assert_eq!(session.change(&[Change::Set(oauth)]).await.unwrap(), APPLIED);
    for _ in 0..3 {
        assert_eq!(read(&session, "oauth").await, value("verifier"));
        assert_eq!(session.load().await.unwrap().unwrap().fields.len(), 2);
        let elsewhere = session.through(&tiers.store().await);
        assert_eq!(read(&elsewhere, "oauth").await, value("verifier"));
        assert_eq!(read(&elsewhere, "a").await, value("1"));
        wait_until_quiet(&tiers).await;
        let entry = entry(&tiers.redis, &tiers, &session.id);
        assert!(entry.contains_key("a") && !entry.contains_key("oauth"), "{entry:?}");
    }
}

#[tokio::test]
async fn foreign_data_under_the_key_of_an_entry_is_a_miss() {
    let tiers = Tiers::start(Flavour::Valkey);
    let session = TestSession::begin(&tiers.store().await).await;
    assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    let key = tiers.entry_key(&session.id);
    for foreign in [
        &["SET", &*key, "text"][..],
        &["HSET", &*key, "~", "no record", "a", "no field", "~f", "no intent", "~o", "no lease"],
        &["HSET", &*key, "~r", "another history", "a", "99999999999999 0 :2"],
    ] {
        tiers.redis.command::<i64>(&["DEL", &key]);
        tiers.redis.command::<redis::Value>(foreign);
        assert_eq!(session.get("a").await.unwrap(), value("1"), "{foreign:?}");
        assert_eq!(session.get("a").await.unwrap(), value("1"), "{foreign:?}");
    }
    tiers.redis.command::<()>(&["SET", &key, "text"]);
    assert_eq!(session.set("a", "2").await.unwrap(), APPLIED);
    assert_eq!(read(&session, "a").await, value("2"));
}
