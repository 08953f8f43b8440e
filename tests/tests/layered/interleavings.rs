//! A reader or writer is held up between any two of its steps, while another process does something.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    CachePolicy as Policy, SecretHash, Ttl,
    store::{
        AbsoluteDeadline, Change, FieldWrite, Lookup, Projection, SharedCache, Store, TakeField,
        Touch, Update,
    },
};
use ruts_tests::{
    Proxy, Traffic, Visitor, random,
    servers::{Flavour, Postgres},
    tiers::{CachePolicy, Fault, Faulty, Layered, Tiers, until},
};

use crate::{APPLIED, reads, value};

/// What happens while a reader is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Overwritten,
    Removed,
    Taken,
    Rotated,
    Deleted,
    Lapsed,
    /// It is overwritten past the cache, which then is wrong for as long as it may be.
    Unnoticed,
}

const ALL: [Meanwhile; 7] = [
    Meanwhile::Overwritten,
    Meanwhile::Removed,
    Meanwhile::Taken,
    Meanwhile::Rotated,
    Meanwhile::Deleted,
    Meanwhile::Lapsed,
    Meanwhile::Unnoticed,
];

/// How long the field lives that is to lapse, or anything may be served from the cache.
const LIFE: Duration = Duration::from_millis(700);

impl Meanwhile {
    async fn happens(self, tiers: &Tiers<&'static Postgres>, visitor: &Visitor<Layered>) {
        match self {
            Self::Unnoticed => {
                let store = Arc::new(tiers.cold(&tiers.route()).await.0);
                let truth = Visitor { store, id: visitor.id, secret: visitor.secret };
                assert_eq!(truth.set("a", "new").await.unwrap(), APPLIED);
                tokio::time::sleep(LIFE).await;
            }
            Self::Overwritten => assert_eq!(visitor.set("a", "new").await.unwrap(), APPLIED),
            Self::Removed => {
                let removed = visitor.change(&[Change::Remove("a")]).await.unwrap();
                assert!(matches!(removed, Lookup::Found(_)));
            }
            Self::Taken => {
                assert_eq!(visitor.take("a").await.unwrap(), Lookup::Found(value("old")))
            }
            Self::Rotated => {
                let secret = SecretHash::from_bytes(random());
                assert_eq!(visitor.rotate(&secret).await.unwrap(), APPLIED);
            }
            Self::Deleted => assert_eq!(visitor.delete().await.unwrap(), Lookup::Found(())),
            Self::Lapsed => tokio::time::sleep(LIFE).await,
        }
    }

    /// Whether what is read afterwards is right, several times, so that the cache answers too. Another
    /// field comes first, so that nothing is hidden by the session's own record being gone.
    async fn is_seen<S: Store>(self, visitor: &Visitor<S>) -> bool {
        let other = Projection::Named(&["b"]);
        visitor.store.load(visitor.credentials(), other, None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        for _ in 0..4 {
            let named = Projection::Named(&["a"]);
            let answer = visitor.store.load(visitor.credentials(), named, None).await.unwrap();
            let held = match &answer {
                Lookup::Found(loaded) => {
                    Some(loaded.fields.first().map(|field| field.value.clone()))
                }
                _ => None,
            };
            let is_right = match self {
                Self::Overwritten | Self::Unnoticed => held == Some(value("new")),
                Self::Removed | Self::Taken | Self::Lapsed => held == Some(None),
                Self::Rotated => matches!(answer, Lookup::Replaced { .. }),
                Self::Deleted => matches!(answer, Lookup::Ended { .. }),
            };
            if !is_right {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

fn holds(traffic: &Proxy) {
    traffic.set(Traffic::Waits);
}

fn lets_go(traffic: &Proxy) {
    traffic.set(Traffic::Flows);
}

/// Waits until nothing is on its way to the cache any more.
async fn settled(tiers: &Tiers<&'static Postgres>) {
    until("nothing is under way", async || {
        let before = tiers.redis.calls("evalsha");
        tokio::time::sleep(Duration::from_millis(100)).await;
        before == tiers.redis.calls("evalsha")
    })
    .await;
}

/// A session that holds "old" in `a`, and nothing of it is in the cache.
async fn begin(store: &Arc<Layered>, meanwhile: Meanwhile) -> Visitor<Layered> {
    let visitor = Visitor::begin(store).await;
    let life = (meanwhile == Meanwhile::Lapsed).then_some(LIFE);
    visitor.set_for("a", "old", life).await.unwrap();
    visitor
}

/// A reader misses and reads the store of record. Before it fills the cache, something happens. Then its
/// fill arrives. Says whether what is read afterwards is right.
async fn a_fill_comes_late<H: SharedCache>(
    flavour: Flavour,
    meanwhile: Meanwhile,
    wrap: impl FnOnce(CachePolicy) -> H,
) -> bool {
    let tiers = Tiers::new(flavour);
    let (reader, held) = tiers.held_process(wrap).await;
    let reader = match meanwhile {
        Meanwhile::Unnoticed => Arc::new((*reader).clone().with_hot_ttl(LIFE)),
        _ => reader,
    };
    let other = begin(&tiers.process().await, meanwhile).await;
    // The scripts are there, the connections too; the entry is not.
    let first = Visitor { store: Arc::clone(&reader), ..Visitor::new(&reader) };
    first.load().await.unwrap();
    first.create(None).await.unwrap();
    first.load().await.unwrap();
    first.load().await.unwrap();
    tiers.redis.command::<i64>(&["DEL", &tiers.entry(&other.id)]);

    let reader = Visitor { store: reader, id: other.id, secret: other.secret };
    let looks = || tiers.redis.calls("evalsha");
    settled(&tiers).await;
    let before = looks();
    holds(&held.cold);
    let reading = tokio::spawn({
        let reader = reader.clone();
        async move { reader.get("a").await.unwrap() }
    });
    until("the reader has looked", async || looks() > before).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    holds(&held.hot);
    lets_go(&held.cold);
    assert_eq!(reading.await.unwrap(), value("old"), "it came before");
    meanwhile.happens(&tiers, &other).await;

    let before = looks();
    lets_go(&held.hot);
    until("the fill has come", async || looks() > before).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    meanwhile.is_seen(&other).await
}

// proves: ASVS-7.4.1
#[tokio::test]
async fn a_late_fill_changes_nothing() {
    for meanwhile in ALL {
        for flavour in [Flavour::Redis, Flavour::Valkey] {
            assert!(
                a_fill_comes_late(flavour, meanwhile, |hot| hot).await,
                "{meanwhile:?}, on {flavour:?}"
            );
        }
    }
}

/// The test above can fail.
#[tokio::test]
async fn a_late_fill_of_a_careless_cache_is_found() {
    for meanwhile in ALL {
        let careless = |cache| Faulty::new(cache, Fault::Careless(Duration::ZERO), &Arc::default());
        assert!(!a_fill_comes_late(Flavour::Redis, meanwhile, careless).await, "{meanwhile:?}");
    }
}

/// A read that has moved the idle deadline is held up on its way back to the cache, which still tells of the
/// old one. It does not go on before the next read, in another process, is told the new one.
#[tokio::test]
async fn a_moved_deadline_is_known_to_the_next_read() {
    const HOUR: Duration = Duration::from_secs(3600);
    let tiers = Tiers::new(Flavour::Redis);
    let (reader, held) = tiers.held_process(|hot| hot).await;
    let other = Visitor::begin(&tiers.process().await).await;
    let touch = Some(Touch { idle: Ttl::require(HOUR * 3), after: HOUR });
    // The scripts and the connections are there.
    let first = Visitor::begin(&reader).await;
    first.store.load(first.credentials(), Projection::All, touch).await.unwrap();
    let left = async || match other.load().await.unwrap() {
        Lookup::Found(loaded) => loaded.meta.idle.expect("it has an idle deadline"),
        answer => panic!("the session is {answer:?}"),
    };
    assert!(left().await <= HOUR);
    settled(&tiers).await;

    let looks = || tiers.redis.calls("evalsha");
    let before = looks();
    holds(&held.cold);
    let reading = tokio::spawn({
        let reader = Visitor { store: reader, id: other.id, secret: other.secret };
        async move { reader.store.load(reader.credentials(), Projection::All, touch).await.unwrap() }
    });
    until("the reader has looked", async || looks() > before).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    holds(&held.hot);
    lets_go(&held.cold);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(left().await <= HOUR, "the cache does not know");
    assert!(!reading.is_finished());
    lets_go(&held.hot);
    assert!(matches!(reading.await.unwrap(), Lookup::Found(_)));
    assert!(left().await > HOUR * 2);
}

/// Nor does a read that passes the cache by, because what it reads is never there.
#[tokio::test]
async fn a_deadline_moved_past_the_cache_is_known_to_the_next_read() {
    const HOUR: Duration = Duration::from_secs(3600);
    let tiers = Tiers::new(Flavour::Redis);
    let store = tiers.process().await;
    let visitor = Visitor::begin(&store).await;
    let text = Bytes::from_static(b"1");
    let put = |name, hot| Change::Set(FieldWrite { name, value: &text, ttl: None, hot });
    let changes = [put("often", Policy::Auto), put("never", Policy::Never)];
    assert_eq!(visitor.change(&changes).await.unwrap(), APPLIED);
    let left = async |name, touch| {
        let named = Projection::Named(&[name]);
        match visitor.store.load(visitor.credentials(), named, touch).await.unwrap() {
            Lookup::Found(loaded) => loaded.meta.idle.expect("it has an idle deadline"),
            answer => panic!("the session is {answer:?}"),
        }
    };
    reads(&visitor, "often").await;
    assert!(left("often", None).await <= HOUR);
    let touch = Some(Touch { idle: Ttl::require(HOUR * 3), after: HOUR });
    assert!(left("never", touch).await > HOUR * 2);
    assert!(left("often", None).await > HOUR * 2);
}

/// A writer is held up before its commit. The cache forgets its fence, and a reader comes, who reads what
/// is about to be replaced and is held up in turn. The write is finished; then the fill arrives.
#[tokio::test]
async fn a_fill_that_began_when_the_fence_was_forgotten_changes_nothing() {
    for meanwhile in [Meanwhile::Overwritten, Meanwhile::Rotated, Meanwhile::Deleted] {
        let tiers = Arc::new(Tiers::new(Flavour::Redis));
        let (writer, held_writer) = tiers.held_process(|hot| hot).await;
        let (reader, held_reader) = tiers.held_process(|hot| hot).await;
        let observer = begin(&tiers.process().await, meanwhile).await;
        let writer = Visitor { store: writer, ..observer.clone() };
        let reader = Visitor { store: reader, ..observer.clone() };
        writer.get("a").await.unwrap();
        reader.get("a").await.unwrap();
        settled(&tiers).await;
        let looks = || tiers.redis.calls("evalsha");

        holds(&held_writer.cold);
        let before = looks();
        let writing = tokio::spawn({
            let tiers = Arc::clone(&tiers);
            async move { meanwhile.happens(&tiers, &writer).await }
        });
        until("the fence stands", async || looks() > before).await;
        tiers.redis.command::<i64>(&["DEL", &tiers.entry(&observer.id)]);

        let before = looks();
        holds(&held_reader.cold);
        let reading = tokio::spawn(async move { reader.get("a").await.unwrap() });
        until("the reader has looked", async || looks() > before).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        holds(&held_reader.hot);
        lets_go(&held_reader.cold);
        assert_eq!(reading.await.unwrap(), value("old"), "nothing was committed yet");

        lets_go(&held_writer.cold);
        writing.await.unwrap();
        let before = looks();
        lets_go(&held_reader.hot);
        until("the fill has come", async || looks() > before).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(meanwhile.is_seen(&observer).await, "{meanwhile:?}");
    }
}

/// Two writers whose commits and finishes come in opposite orders.
#[tokio::test]
async fn the_last_commit_counts_whoever_finishes_last() {
    let tiers = Tiers::new(Flavour::Redis);
    let (slow, held) = tiers.held_process(|hot| hot).await;
    let quick = Visitor::begin(&tiers.process().await).await;
    quick.set("a", "old").await.unwrap();
    let slow = Visitor { store: slow, ..quick.clone() };
    slow.get("a").await.unwrap();
    settled(&tiers).await;

    // Its fence and its commit pass, its finish is held.
    let commits = tiers.redis.calls("evalsha");
    holds(&held.cold);
    let writing = tokio::spawn({
        let slow = slow.clone();
        async move { slow.set("a", "first").await.unwrap() }
    });
    until("its fence stands", async || tiers.redis.calls("evalsha") > commits).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    holds(&held.hot);
    lets_go(&held.cold);
    until("it has committed", async || quick.get("a").await.unwrap() == value("first")).await;
    assert_eq!(quick.set("a", "second").await.unwrap(), APPLIED);
    assert_eq!(reads(&quick, "a").await, value("second"));
    lets_go(&held.hot);
    assert_eq!(writing.await.unwrap(), APPLIED);
    assert_eq!(reads(&quick, "a").await, value("second"));
    assert_eq!(reads(&slow, "a").await, value("second"));
}

/// A writer whose fence was forgotten commits after one whose fence stands, and finishes before it.
#[tokio::test]
async fn a_writer_without_a_fence_is_not_overlooked_by_one_that_has_one() {
    let tiers = Tiers::new(Flavour::Redis);
    let (first, held_first) = tiers.held_process(|hot| hot).await;
    let (second, held_second) = tiers.held_process(|hot| hot).await;
    let observer = Visitor::begin(&tiers.process().await).await;
    observer.set("a", "old").await.unwrap();
    let first = Visitor { store: first, ..observer.clone() };
    let second = Visitor { store: second, ..observer.clone() };
    first.get("a").await.unwrap();
    second.get("a").await.unwrap();
    settled(&tiers).await;
    let ran = || tiers.redis.calls("evalsha");

    let before = ran();
    holds(&held_first.cold);
    let writing = tokio::spawn(async move { first.set("a", "last").await.unwrap() });
    until("the first fence stands", async || ran() > before).await;
    tiers.redis.command::<i64>(&["DEL", &tiers.entry(&observer.id)]);

    let before = ran();
    holds(&held_second.cold);
    let overtaking = tokio::spawn(async move { second.set("a", "first").await.unwrap() });
    until("the second fence stands", async || ran() > before).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    holds(&held_second.hot);
    lets_go(&held_second.cold);
    let cold = Arc::new(tiers.cold(&tiers.route()).await.0);
    let truth = Visitor { store: cold, id: observer.id, secret: observer.secret };
    until("the second has committed", async || truth.get("a").await.unwrap() == value("first"))
        .await;

    lets_go(&held_first.cold);
    assert_eq!(writing.await.unwrap(), APPLIED);
    lets_go(&held_second.hot);
    assert_eq!(overtaking.await.unwrap(), APPLIED);
    assert_eq!(truth.get("a").await.unwrap(), value("last"));
    // What the second might have left behind comes to light with the session's own record.
    assert_eq!(reads(&observer, "b").await, None);
    assert_eq!(reads(&observer, "a").await, value("last"));
}

/// While a writer is held up before its commit, readers read what is there, and other fields from the
/// cache.
#[tokio::test]
async fn a_write_under_way_keeps_its_own_fields_out_of_the_cache() {
    let tiers = Tiers::new(Flavour::Valkey);
    let (writer, held) = tiers.held_process(|hot| hot).await;
    let (observer, watched) = tiers.held_process(|hot| hot).await;
    let writer = Visitor::begin(&writer).await;
    writer.set("a", "old").await.unwrap();
    writer.set("b", "other").await.unwrap();
    let observer = Visitor { store: observer, ..writer.clone() };
    assert_eq!(reads(&observer, "a").await, value("old"));
    assert_eq!(reads(&observer, "b").await, value("other"));
    settled(&tiers).await;

    let before = tiers.redis.calls("evalsha");
    holds(&held.cold);
    let writing = tokio::spawn(async move { writer.set("a", "new").await.unwrap() });
    until("the fence stands", async || tiers.redis.calls("evalsha") > before).await;
    watched.cold.take_requests();
    assert_eq!(reads(&observer, "b").await, value("other"));
    assert_eq!(watched.cold.take_requests().len(), 0, "another field went out of the cache");
    assert_eq!(reads(&observer, "a").await, value("old"));
    assert!(watched.cold.take_requests().len() >= 4, "what is being written was cached");
    lets_go(&held.cold);
    assert_eq!(writing.await.unwrap(), APPLIED);
    assert_eq!(reads(&observer, "a").await, value("new"));
}

/// What was written is in the cache, and no longer than it lives.
#[tokio::test]
async fn a_value_in_the_cache_ends_with_its_lifetime() {
    let tiers = Tiers::new(Flavour::Redis);
    let visitor = Visitor::begin(&tiers.process().await).await;
    visitor.get("a").await.unwrap();
    visitor.set_for("a", "1", Some(LIFE)).await.unwrap();
    assert_eq!(reads(&visitor, "a").await, value("1"));
    tokio::time::sleep(LIFE).await;
    assert_eq!(reads(&visitor, "a").await, None);
}

/// The cache knows of every write that shortens a session's life, and of a use that does so.
// proves: ASVS-7.3.1 NIST-5.1.5
#[tokio::test]
async fn a_session_in_the_cache_ends_with_its_deadlines() {
    let tiers = Tiers::new(Flavour::Redis);
    let store = tiers.process().await;
    let touch = Some(Touch { idle: Ttl::require(LIFE), after: Duration::ZERO });
    let begin = async || {
        let visitor = begin(&store, Meanwhile::Overwritten).await;
        assert_eq!(reads(&visitor, "a").await, value("old"));
        visitor
    };
    let (written, used, taken) = (begin().await, begin().await, begin().await);
    let bounded = begin().await;
    let update = Update { touch, ..Update::default() };
    assert_eq!(store.update(written.credentials(), update).await.unwrap(), APPLIED);
    let absolute = Some(AbsoluteDeadline { from_now: Ttl::require(LIFE), from_creation: None });
    let update = Update { absolute, ..Update::default() };
    assert_eq!(store.update(bounded.credentials(), update).await.unwrap(), APPLIED);
    store.load(used.credentials(), Projection::All, touch).await.unwrap();
    store
        .take(taken.credentials(), TakeField { name: "b", rotate: None, touch, sign_out: false })
        .await
        .unwrap();
    tokio::time::sleep(LIFE).await;
    for visitor in [written, used, taken, bounded] {
        let named = Projection::Named(&["a"]);
        let answer = store.load(visitor.credentials(), named, None).await.unwrap();
        assert_eq!(answer, Lookup::NotFound);
    }
}

/// A take that rotates is a rotation to the cache too.
#[tokio::test]
async fn a_secret_that_a_take_replaced_opens_nothing() {
    let tiers = Tiers::new(Flavour::Valkey);
    let store = tiers.process().await;
    let visitor = begin(&store, Meanwhile::Overwritten).await;
    assert_eq!(reads(&visitor, "a").await, value("old"));
    let secret = SecretHash::from_bytes(random());
    let take = TakeField { name: "b", rotate: Some(&secret), touch: None, sign_out: false };
    assert_eq!(store.take(visitor.credentials(), take).await.unwrap(), Lookup::Found(None));
    for _ in 0..3 {
        assert!(Meanwhile::Rotated.is_seen(&visitor).await);
        assert_eq!(reads(&Visitor { secret, ..visitor.clone() }, "a").await, value("old"));
    }
}

/// What is there is known for a while only, and that there is nothing else.
#[tokio::test]
async fn an_entry_is_right_for_a_while() {
    let tiers = Tiers::new(Flavour::Redis);
    let store = Arc::new((*tiers.process().await).clone().with_hot_ttl(LIFE));
    let visitor = Visitor::begin(&store).await;
    let truth = Arc::new(tiers.cold(&tiers.route()).await.0);
    let truth = Visitor { store: truth, id: visitor.id, secret: visitor.secret };
    let renewed = Visitor::begin(&store).await;
    let renewed_truth =
        Visitor { store: Arc::clone(&truth.store), id: renewed.id, secret: renewed.secret };
    renewed.set("c", "old").await.unwrap();
    assert_eq!(reads(&renewed, "c").await, value("old"));
    visitor.load().await.unwrap();
    settled(&tiers).await;
    truth.set("a", "new").await.unwrap();
    renewed_truth.set("c", "new").await.unwrap();
    tokio::time::sleep(LIFE).await;
    // This renews what is known of the session itself.
    assert_eq!(reads(&renewed, "b").await, None);
    assert_eq!(reads(&renewed, "c").await, value("new"));
    assert_eq!(reads(&visitor, "b").await, None);
    let Lookup::Found(loaded) = visitor.load().await.unwrap() else { panic!("it is gone") };
    assert_eq!(loaded.fields.len(), 1);
}

/// The cache opens a session to its own secret only.
#[tokio::test]
async fn a_wrong_secret_opens_nothing_that_is_cached() {
    let tiers = Tiers::new(Flavour::Redis);
    let store = tiers.process().await;
    let visitor = begin(&store, Meanwhile::Overwritten).await;
    assert_eq!(reads(&visitor, "a").await, value("old"));
    let thief = Visitor { secret: SecretHash::from_bytes(random()), ..visitor.clone() };
    for _ in 0..3 {
        let named = Projection::Named(&["a"]);
        let answer = store.load(thief.credentials(), named, None).await.unwrap();
        assert_eq!(answer, Lookup::NotFound);
        assert_eq!(reads(&visitor, "a").await, value("old"));
    }
}

/// A request that is dropped halfway leaves nothing behind that lies.
#[tokio::test]
async fn a_write_that_is_dropped_leaves_the_truth_to_the_store_of_record() {
    let tiers = Tiers::new(Flavour::Redis);
    let (writer, held) = tiers.held_process(|hot| hot).await;
    let writer = Visitor::begin(&writer).await;
    writer.set("a", "old").await.unwrap();
    let observer = Visitor { store: tiers.process().await, ..writer.clone() };
    assert_eq!(reads(&observer, "a").await, value("old"));
    settled(&tiers).await;

    let before = tiers.redis.calls("evalsha");
    holds(&held.cold);
    let writing = tokio::spawn(async move { writer.set("a", "new").await });
    until("the fence stands", async || tiers.redis.calls("evalsha") > before).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    writing.abort();
    assert!(writing.await.is_err());
    assert_eq!(reads(&observer, "a").await, value("old"));
    lets_go(&held.cold);
    until("the statement is carried out", async || {
        observer.get("a").await.unwrap() == value("new")
    })
    .await;
    assert_eq!(reads(&observer, "a").await, value("new"));
}
