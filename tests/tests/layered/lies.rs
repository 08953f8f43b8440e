//! Caches that come back with older data, or hold what nobody wrote.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use ruts::{
    CachePolicy, SecretHash, SessionId,
    store::{Change, FieldWrite, Loaded, Lookup, Projection, Store, layered::LayeredStore},
};
use ruts_tests::{
    Visitor,
    backends::fred_client,
    random,
    servers::{Flavour, Postgres, Redis},
    tiers::{Layered, Tiers, until},
};

use crate::{APPLIED, reads, value};

/// What the cache's server holds of a session.
fn entry(
    server: &Redis,
    tiers: &Tiers<&'static Postgres>,
    id: &SessionId,
) -> HashMap<String, Vec<u8>> {
    server.command(&["HGETALL", &tiers.entry(id)])
}

/// Three sessions that are cached: one to be deleted, one to rotate, one to be written.
struct Three([Visitor<Layered>; 3]);

impl Three {
    async fn begin(store: &Arc<Layered>) -> Self {
        let visitors =
            [Visitor::begin(store).await, Visitor::begin(store).await, Visitor::begin(store).await];
        for visitor in &visitors {
            visitor.set("a", "old").await.unwrap();
            assert_eq!(reads(visitor, "a").await, value("old"));
        }
        Self(visitors)
    }

    async fn change(&self) {
        let [deleted, rotated, written] = &self.0;
        assert_eq!(deleted.delete().await.unwrap(), Lookup::Found(()));
        assert_eq!(rotated.rotate(&SecretHash::from_bytes(random())).await.unwrap(), APPLIED);
        assert_eq!(written.set("a", "new").await.unwrap(), APPLIED);
    }

    /// What is read through a process is what was changed last.
    async fn are_seen(&self, store: &Arc<Layered>) {
        let [deleted, rotated, written] = &self
            .0
            .each_ref()
            .map(|visitor| Visitor { store: Arc::clone(store), ..visitor.clone() });
        let asked = async |visitor: &Visitor<Layered>| {
            store.load(visitor.credentials(), Projection::Named(&["a"]), None).await.unwrap()
        };
        for _ in 0..3 {
            assert!(matches!(asked(deleted).await, Lookup::Ended { .. }), "it is back");
            assert!(matches!(asked(rotated).await, Lookup::Replaced { .. }), "it is back");
            assert_eq!(reads(written, "a").await, value("new"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cache_that_was_restored_from_a_snapshot() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        let tiers = Tiers::new(flavour);
        let store = tiers.process().await;
        let three = Three::begin(&store).await;
        tiers.redis.command::<()>(&["SAVE"]);
        three.change().await;
        tokio::task::block_in_place(|| {
            tiers.redis.kill();
            tiers.redis.restart();
        });
        for visitor in &three.0 {
            let held = entry(&tiers.redis, &tiers, &visitor.id);
            assert!(held.contains_key("~") && held.contains_key("a"), "nothing was restored");
        }
        three.are_seen(&tiers.process().await).await;
        three.are_seen(&store).await;
    }
}

/// A replica takes over that has not heard of the last writes, and later gives its data back to the one
/// it took over from, whose process never ended.
#[tokio::test]
async fn a_cache_that_failed_over_and_back() {
    let settings = ["--repl-diskless-sync-delay", "0"];
    let tiers = Tiers::of(Redis::start(Flavour::Redis, &settings), Postgres::shared());
    let replica = Redis::start(Flavour::Redis, &settings);
    let follows = async |follower: &Redis, leader: &Redis| {
        let (host, port) = leader
            .address()
            .rsplit_once(':')
            .map(|(host, port)| (host.to_owned(), port.to_owned()))
            .unwrap();
        follower.command::<()>(&["REPLICAOF", &host, &port]);
        until("it follows", async || {
            follower.command::<String>(&["INFO", "replication"]).contains("master_link_status:up")
        })
        .await;
    };
    follows(&replica, &tiers.redis).await;
    let store = tiers.process().await;
    let three = Three::begin(&store).await;
    until("it holds the same", async || {
        three.0.iter().all(|visitor| entry(&replica, &tiers, &visitor.id).contains_key("a"))
    })
    .await;
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    three.change().await;

    // Through the new leader, to which these writes did not come.
    let (cold, _) = tiers.cold(&tiers.route()).await;
    let hot = ruts_tests::backends::redis_store(fred_client(replica.url()).await, tiers.prefix());
    let through_replica = Arc::new(LayeredStore::new(hot, cold));
    let [deleted, ..] = &three.0;
    assert!(entry(&replica, &tiers, &deleted.id).contains_key("~"), "nothing is stale");
    let untouched = &three.0[0];
    let ended = Visitor { store: Arc::clone(&through_replica), ..three.0[1].clone() };
    let named = Projection::Named(&["a"]);
    let answer = through_replica.load(ended.credentials(), named, None).await.unwrap();
    assert!(matches!(answer, Lookup::Replaced { .. }), "{answer:?}");

    // And back, with what the replica still holds.
    follows(&tiers.redis, &replica).await;
    tiers.redis.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    let held = entry(&tiers.redis, &tiers, &untouched.id);
    assert!(held.contains_key("~") && held.contains_key("a"), "nothing is stale");
    three.are_seen(&store).await;
    three.are_seen(&through_replica).await;
}

/// Writes something else in place of a value that is cached.
fn plant(tiers: &Tiers<&'static Postgres>, id: &SessionId, name: &str, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let mut held = entry(&tiers.redis, tiers, id).remove(name).expect("it is cached");
    let start = held.len() - old.len();
    assert_eq!(&held[start..], old.as_bytes());
    held.splice(start.., new.bytes());
    let mut connection = redis::Client::open(tiers.redis.url()).unwrap().get_connection().unwrap();
    let mut command = redis::cmd("HSET");
    command.arg(tiers.entry(id)).arg(name).arg(held);
    command.exec(&mut connection).unwrap();
}

/// A checked field is what the store of record says, whatever the cache holds.
// proves: ASVS-8.3.2
#[tokio::test]
async fn a_checked_field_is_confirmed() {
    let tiers = Tiers::new(Flavour::Redis);
    let store = tiers.process().await;
    let visitor = Visitor::begin(&store).await;
    visitor.get("none").await.unwrap();
    let text = Bytes::from_static(b"guest");
    let set = |name, hot| Change::Set(FieldWrite { name, value: &text, ttl: None, hot });
    let changes = [set("role", CachePolicy::Checked), set("theme", CachePolicy::Auto)];
    visitor.change(&changes).await.unwrap();
    assert_eq!(reads(&visitor, "role").await, value("guest"));
    assert_eq!(reads(&visitor, "theme").await, value("guest"));
    plant(&tiers, &visitor.id, "role", "guest", "admin");
    plant(&tiers, &visitor.id, "theme", "guest", "admin");
    assert_eq!(visitor.get("theme").await.unwrap(), value("admin"), "the cache is not read");
    assert_eq!(visitor.get("role").await.unwrap(), value("guest"));

    // A process that has never heard of the field.
    let elsewhere = Visitor { store: tiers.process().await, ..visitor.clone() };
    assert_eq!(elsewhere.get("role").await.unwrap(), value("guest"));
    let Lookup::Found(loaded) = elsewhere.load().await.unwrap() else { panic!("it is gone") };
    let role = loaded.fields.iter().find(|field| field.name == "role").unwrap();
    assert_eq!((Some(role.value.clone()), role.hot), (value("guest"), CachePolicy::Checked));

    // And that it is gone.
    let truth = tiers.cold(&tiers.route()).await.0;
    let truth = Visitor { store: Arc::new(truth), id: visitor.id, secret: visitor.secret };
    truth.change(&[Change::Remove("role")]).await.unwrap();
    assert_eq!(visitor.get("role").await.unwrap(), None);
    truth.delete().await.unwrap();
    let named = Projection::Named(&["role"]);
    let answer = visitor.store.load(visitor.credentials(), named, None).await.unwrap();
    assert!(matches!(answer, Lookup::Ended { .. }), "{answer:?}");
    assert!(visitor.get("theme").await.unwrap().is_some(), "nobody told the cache");
}

/// Also that it is not there, to a process that has only heard that the field is declared so.
// proves: ASVS-8.3.2
#[tokio::test]
async fn the_absence_of_a_checked_field_is_confirmed() {
    let tiers = Tiers::new(Flavour::Redis);
    let [one, other] = [tiers.process().await, tiers.process().await];
    let visitor = Visitor::begin(&one).await;
    assert_eq!(reads(&visitor, "banned").await, None);
    let truth = Arc::new(tiers.cold(&tiers.route()).await.0);
    let truth = Visitor { store: truth, id: visitor.id, secret: visitor.secret };
    truth.set("banned", "yes").await.unwrap();
    assert_eq!(visitor.get("banned").await.unwrap(), None, "nobody told the cache");
    let fields = |loaded| match loaded {
        Lookup::Found(Loaded { fields, .. }) => fields.len(),
        other => panic!("{other:?}"),
    };
    let empty = Visitor::begin(&one).await;
    empty.load().await.unwrap();
    until("it is known to hold nothing", async || {
        entry(&tiers.redis, &tiers, &empty.id).contains_key("~c")
    })
    .await;
    let empty_truth =
        Visitor { store: Arc::clone(&truth.store), id: empty.id, secret: empty.secret };
    empty_truth.set("banned", "yes").await.unwrap();
    assert_eq!(fields(empty.load().await.unwrap()), 0, "nobody told the cache");
    other.hint_cache_policy("banned", CachePolicy::Checked);
    let other = Visitor { store: other, ..visitor.clone() };
    assert_eq!(other.get("banned").await.unwrap(), value("yes"));
    let empty = Visitor { store: Arc::clone(&other.store), ..empty };
    assert_eq!(fields(empty.load().await.unwrap()), 1);
}

/// A field that is never to be in the cache is not there.
// proves: ASVS-14.2.2
#[tokio::test]
async fn what_is_never_cached_is_not_in_the_cache() {
    let tiers = Tiers::new(Flavour::Redis);
    let visitor = Visitor::begin(&tiers.process().await).await;
    let text = Bytes::from_static(b"verifier");
    let never = FieldWrite { name: "oauth", value: &text, ttl: None, hot: CachePolicy::Never };
    visitor.set("a", "1").await.unwrap();
    visitor.change(&[Change::Set(never)]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(reads(&visitor, "oauth").await, value("verifier"));
        let Lookup::Found(loaded) = visitor.load().await.unwrap() else { panic!("it is gone") };
        assert_eq!(loaded.fields.len(), 2);
        let elsewhere = Visitor { store: tiers.process().await, ..visitor.clone() };
        assert_eq!(reads(&elsewhere, "oauth").await, value("verifier"));
        assert_eq!(reads(&elsewhere, "a").await, value("1"));
        let held = entry(&tiers.redis, &tiers, &visitor.id);
        assert!(held.contains_key("a") && !held.contains_key("oauth"), "{held:?}");
    }
}

/// Whatever stands under an entry's key, reads go on, and nothing is made of it.
#[tokio::test]
async fn an_entry_that_others_wrote() {
    let tiers = Tiers::new(Flavour::Valkey);
    let visitor = Visitor::begin(&tiers.process().await).await;
    visitor.set("a", "1").await.unwrap();
    let key = tiers.entry(&visitor.id);
    for foreign in [
        &["SET", &*key, "text"][..],
        &["HSET", &*key, "~", "no record", "a", "no field", "~f", "no fence", "~o", "no ticket"],
        &["HSET", &*key, "~r", "another history", "a", "99999999999999 0 :2"],
    ] {
        tiers.redis.command::<i64>(&["DEL", &key]);
        tiers.redis.command::<redis::Value>(foreign);
        assert_eq!(visitor.get("a").await.unwrap(), value("1"), "{foreign:?}");
        assert_eq!(visitor.get("a").await.unwrap(), value("1"), "{foreign:?}");
    }
    tiers.redis.command::<()>(&["SET", &key, "text"]);
    assert_eq!(visitor.set("a", "2").await.unwrap(), APPLIED);
    assert_eq!(reads(&visitor, "a").await, value("2"));
}
