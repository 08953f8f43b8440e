//! The contract of a cache, method by method, on every cache.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        Cache, CacheLookup, CachePolicy, CachedField, CachedRecord, Credentials, InvalidationScope,
        Lease, Projection, SessionMeta, SignedIn, Store, StoreError, Touch, WriteIntent,
        memory::MemoryCache,
        redis::{RedisClient, RedisStore},
    },
    token::{SecretHash, SessionId},
};
use ruts_tests_stores::{
    backends::{self, Pair},
    servers::{Flavour, Redis},
};
use ruts_tests_support::{delegate_cache, random};

/// A lifetime that is longer than any test.
const LONG: Duration = Duration::from_secs(300);
/// A lifetime that is longer than an operation, but short enough to wait for.
const SHORT: Duration = Duration::from_secs(1);
/// Maximum difference of two durations that count as equal.
const TOLERANCE: Duration = Duration::from_secs(20);

/// A cache entry, with short methods for the operations of the checks.
struct Entry<C> {
    cache: Arc<C>,
    id: SessionId,
    secret: SecretHash,
}

fn field<'a>(name: &'a str, value: Option<&'a Bytes>) -> CachedField<'a> {
    CachedField::new(name, value, LONG)
}

fn meta(idle: Duration) -> SessionMeta {
    let principal = PrincipalKey::from_bytes([7; 32]);
    let mut meta = SessionMeta::default();
    meta.age = Duration::from_secs(50);
    meta.secret_age = Duration::from_secs(5);
    meta.idle_for = Duration::from_secs(3);
    meta.idle_remaining = Some(idle);
    meta.signed_in = Some(SignedIn::new(principal, Assurance::Aal2, Duration::from_secs(4)));
    meta
}

fn record() -> CachedRecord {
    CachedRecord::new(meta(Duration::from_secs(1800)), LONG)
}

fn fields<'a>(names: &'a [&'a str]) -> InvalidationScope<'a> {
    InvalidationScope::Some { names, record: false, touch: None }
}

fn one() -> Bytes {
    Bytes::from_static(b"1")
}

impl<C: Cache> Entry<C> {
    fn new(cache: Arc<C>) -> Self {
        let (id, secret) = (SessionId::from_bytes(random()), SecretHash::from_bytes(random()));
        Self { cache, id, secret }
    }

    fn credentials(&self) -> Credentials<'_> {
        Credentials::new(&self.id, &self.secret)
    }

    async fn lookup(&self, names: &[&str]) -> CacheLookup {
        self.lookup_with(Projection::Named(names), None).await
    }

    async fn lookup_with(&self, fields: Projection<'_>, touch: Option<Touch>) -> CacheLookup {
        self.cache.lookup(self.credentials(), fields, touch).await.unwrap()
    }

    async fn is_hit(&self, names: &[&str]) -> bool {
        matches!(self.lookup(names).await, CacheLookup::Hit(_))
    }

    /// Returns the fields of a hit, ordered by name, or `None` for a miss.
    async fn get(&self, names: &[&str]) -> Option<Vec<(String, Bytes)>> {
        let CacheLookup::Hit(loaded) = self.lookup(names).await else { return None };
        let fields = loaded.fields.into_iter();
        let mut fields: Vec<_> =
            fields.map(|field| (field.name.to_string(), field.value)).collect();
        fields.sort();
        Some(fields)
    }

    async fn lease(&self) -> Option<Lease> {
        match self.lookup(&["an unknown field"]).await {
            CacheLookup::Miss(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    async fn begin_write(&self, scope: InvalidationScope<'_>) -> WriteIntent {
        self.cache.begin_write(&self.id, scope, LONG).await.unwrap()
    }

    async fn finish_write(&self, intent: &WriteIntent, fields: &[CachedField<'_>]) {
        self.cache.finish_write(&self.id, intent, fields).await.unwrap();
    }

    async fn fill(&self, lease: &Lease, fields: &[CachedField<'_>]) {
        self.fill_with(lease, record(), fields).await;
    }

    async fn fill_with(&self, lease: &Lease, record: CachedRecord, fields: &[CachedField<'_>]) {
        self.cache.fill(self.credentials(), lease, record, fields).await.unwrap();
    }

    /// Stores "1" in these fields, as a reader would.
    async fn fill_ones(&self, names: &[&str]) {
        let lease =
            self.lease().await.expect("a lease should be granted, because no write is in progress");
        let value = one();
        let fields: Vec<_> = names.iter().map(|name| field(name, Some(&value))).collect();
        self.fill(&lease, &fields).await;
    }
}

async fn a_fill_is_found<C: Cache>(entry: Entry<C>) {
    assert_eq!(entry.get(&[]).await, None);
    let lease = entry.lease().await.unwrap();
    assert_eq!(
        entry.lease().await.unwrap().mark,
        lease.mark,
        "readers that miss should share a lease"
    );
    let value = Bytes::from_static(b"12 34 :\0\r\n5");
    let expiring = field("b", Some(&value))
        .ttl(Duration::from_secs(200))
        .cache_policy(CachePolicy::MaxAge(Ttl::from_secs(60)));
    entry.fill(&lease, &[field("a", None), expiring]).await;
    assert_eq!(entry.get(&["a"]).await, Some(vec![]));
    assert_eq!(entry.get(&["b", "a"]).await, Some(vec![("b".to_owned(), value.clone())]));
    assert_eq!(entry.get(&["b", "c"]).await, None);
    let CacheLookup::Hit(loaded) = entry.lookup(&["b"]).await else {
        panic!("the lookup was a miss")
    };
    let assert_about = |time: Duration, seconds: u64| {
        let difference = time.abs_diff(Duration::from_secs(seconds));
        assert!(difference <= TOLERANCE, "the time should be about {seconds} s, but is {time:?}");
    };
    assert_about(loaded.meta.age, 50);
    assert_about(loaded.meta.secret_age, 5);
    assert_about(loaded.meta.idle_remaining.unwrap(), 1800);
    assert_eq!(loaded.meta.absolute_remaining, None);
    assert_about(loaded.fields[0].ttl.unwrap(), 200);
    assert_eq!(loaded.fields[0].cache_policy, CachePolicy::MaxAge(Ttl::from_secs(60)));
}

async fn a_complete_entry_answers_a_read_of_all_fields<C: Cache>(entry: Entry<C>) {
    let all = async || entry.lookup_with(Projection::All, None).await;
    let value = one();
    let only = [field("b", Some(&value))];
    let lease = entry.lease().await.unwrap();
    entry.fill(&lease, &only).await;
    let CacheLookup::Miss(Some(lease)) = all().await else {
        panic!("an incomplete entry should be a miss with a lease")
    };
    entry.fill_with(&lease, record().complete(LONG), &only).await;
    let CacheLookup::Hit(loaded) = all().await else { panic!("a complete entry should be a hit") };
    assert_eq!(loaded.fields.len(), 1);

    // When the cached absence of `c` is outdated, `c` may exist. A complete fill without `c` shows
    // that `c` does not exist.
    entry.fill(&lease, &[CachedField::new("c", None, SHORT)]).await;
    tokio::time::sleep(SHORT).await;
    let CacheLookup::Miss(Some(lease)) = all().await else {
        panic!("an entry with an outdated field should be a miss with a lease")
    };
    entry.fill_with(&lease, record().complete(LONG), &only).await;
    assert!(matches!(all().await, CacheLookup::Hit(_)));
    entry.begin_write(fields(&["c"])).await;
    assert!(
        matches!(all().await, CacheLookup::Miss(None)),
        "no lease should be granted, because a write may add a field"
    );
}

async fn the_fill_with_the_later_use_stays<C: Cache>(entry: Entry<C>) {
    let lease = entry.lease().await.unwrap();
    let (sooner, later) = (Duration::from_secs(600), Duration::from_secs(1800));
    let value = one();
    for (idle, life, name) in [(later, LONG, "a"), (sooner, LONG, "b"), (sooner, SHORT, "c")] {
        let record = CachedRecord::new(meta(idle), life);
        entry.fill_with(&lease, record, &[field(name, Some(&value))]).await;
        let CacheLookup::Hit(loaded) = entry.lookup(&[name]).await else {
            panic!("{name}: the lookup was a miss")
        };
        assert!(loaded.meta.idle_remaining.unwrap() > sooner, "{name}");
    }
    // An outdated record is replaced in any case.
    entry.cache.evict(&entry.id).await.unwrap();
    let lease = entry.lease().await.unwrap();
    entry.fill_with(&lease, CachedRecord::new(meta(later), SHORT), &[]).await;
    tokio::time::sleep(SHORT).await;
    let lease = entry.lease().await.unwrap();
    entry.fill_with(&lease, CachedRecord::new(meta(sooner), LONG), &[]).await;
    let CacheLookup::Hit(loaded) = entry.lookup(&[]).await else { panic!("the lookup was a miss") };
    assert!(loaded.meta.idle_remaining.unwrap() <= sooner);
    // The record of a different secret is replaced, too.
    let other = SecretHash::from_bytes(random());
    let credentials = Credentials::new(&entry.id, &other);
    let record = CachedRecord::new(meta(SHORT), LONG);
    entry.cache.fill(credentials, &lease, record, &[]).await.unwrap();
    let lookup = entry.cache.lookup(credentials, Projection::Named(&[]), None).await.unwrap();
    assert!(matches!(lookup, CacheLookup::Hit(_)), "{lookup:?}");
}

async fn a_write_intent_invalidates_its_scope<C: Cache>(entry: Entry<C>) {
    entry.fill_ones(&["a", "b"]).await;
    let lease = entry.lease().await.unwrap();
    let intent = entry.begin_write(fields(&["a"])).await;
    assert_eq!(
        entry.lease().await,
        None,
        "no lease should be granted while a write is in progress"
    );
    assert_eq!(entry.get(&["a"]).await, None);
    assert!(entry.is_hit(&["b"]).await, "a field outside the scope should stay");
    let late = Bytes::from_static(b"late");
    entry.fill(&lease, &[field("a", Some(&late))]).await;
    assert_eq!(entry.get(&["a"]).await, None, "a fill with an invalid lease should store nothing");
    let new = Bytes::from_static(b"new");
    entry.finish_write(&intent, &[field("a", Some(&new))]).await;
    assert_eq!(entry.get(&["a"]).await, Some(vec![("a".to_owned(), new.clone())]));
    entry.fill(&lease, &[field("a", Some(&late))]).await;
    assert_eq!(
        entry.get(&["a"]).await.unwrap()[0].1,
        new,
        "a fill with an invalid lease should not replace the value"
    );
    assert_ne!(entry.lease().await.unwrap().mark, lease.mark);

    let record_alone = InvalidationScope::Some { names: &[], record: true, touch: None };
    for scope in [InvalidationScope::All, record_alone] {
        entry.fill_ones(&["a"]).await;
        let intent = entry.begin_write(scope).await;
        assert_eq!(entry.get(&["a"]).await, None);
        entry.finish_write(&intent, &[]).await;
        assert_eq!(entry.get(&["a"]).await, None);
    }
}

async fn overlapping_write_intents_store_nothing<C: Cache>(entry: Entry<C>) {
    let value = one();
    let values = [field("a", Some(&value))];
    for first_ends_first in [true, false] {
        entry.fill_ones(&["b"]).await;
        let first = entry.begin_write(fields(&["a"])).await;
        let second = entry.begin_write(fields(&["a"])).await;
        assert_ne!(first.mark, second.mark);
        let order = if first_ends_first { [&first, &second] } else { [&second, &first] };
        entry.finish_write(order[0], &values).await;
        assert_eq!(
            entry.lease().await,
            None,
            "no lease should be granted while the other write is in progress"
        );
        entry.finish_write(order[1], &values).await;
        assert_eq!(
            entry.get(&["a"]).await,
            None,
            "the field should not be cached, because either write may have been the last"
        );
        assert!(entry.is_hit(&["b"]).await);
        assert!(entry.lease().await.is_some());
    }
    // A later write does not overlap.
    let intent = entry.begin_write(fields(&["a"])).await;
    entry.finish_write(&intent, &values).await;
    assert!(entry.is_hit(&["a"]).await);
}

async fn a_finish_without_its_intent_empties_the_entry<C: Cache>(entry: Entry<C>) {
    let value = one();
    let values = [field("a", Some(&value))];
    let gone = entry.begin_write(fields(&["a"])).await;
    entry.finish_write(&gone, &[]).await;
    entry.fill_ones(&["a", "b"]).await;
    let lease = entry.lease().await.unwrap();
    entry.finish_write(&gone, &values).await;
    entry.fill(&lease, &[field("a", Some(&value)), field("b", Some(&value))]).await;
    assert_eq!((entry.get(&["a"]).await, entry.get(&["b"]).await), (None, None));

    // Another intent stays, but its finish stores nothing either.
    let gone = entry.begin_write(fields(&["a"])).await;
    entry.finish_write(&gone, &[]).await;
    let other = entry.begin_write(fields(&["a"])).await;
    entry.finish_write(&gone, &values).await;
    assert_eq!(entry.lease().await, None);
    entry.finish_write(&other, &values).await;
    entry.fill_ones(&["b"]).await;
    assert_eq!(entry.get(&["a"]).await, None);

    // A finish that is carried out twice finds no intent the second time.
    let intent = entry.begin_write(fields(&["a"])).await;
    entry.finish_write(&intent, &values).await;
    entry.finish_write(&intent, &[field("a", None)]).await;
    entry.fill_ones(&["b"]).await;
    assert_eq!(entry.get(&["a"]).await, None);
}

async fn a_write_intent_expires<C: Cache>(entry: Entry<C>) {
    let value = one();
    entry.fill_ones(&["b"]).await;
    let intent = entry.cache.begin_write(&entry.id, fields(&["a"]), SHORT).await.unwrap();
    assert_eq!(entry.lease().await, None);
    tokio::time::sleep(SHORT).await;
    assert!(entry.lease().await.is_some());
    entry.finish_write(&intent, &[field("a", Some(&value))]).await;
    entry.fill_ones(&["b"]).await;
    assert_eq!(
        entry.get(&["a"]).await,
        None,
        "a finish should store nothing after its intent has expired"
    );
}

/// Many write intents of an entry are merged. Until the last of them expires, no reader fills the
/// entry, even if all writes have finished.
async fn many_write_intents_are_merged<C: Cache>(entry: Entry<C>) {
    let value = one();
    let values = [field("a", Some(&value))];
    entry.fill_ones(&["b"]).await;
    let begin_40 = async |ttl| {
        let mut intents = Vec::new();
        for _ in 0..40 {
            let intent = entry.cache.begin_write(&entry.id, fields(&["a"]), ttl).await;
            intents.push(intent.unwrap());
        }
        intents
    };
    begin_40(SHORT).await;
    assert!(entry.is_hit(&["b"]).await, "fields of no write should stay");
    tokio::time::sleep(SHORT).await;
    assert!(entry.lease().await.is_some(), "merged intents should expire");

    for intent in begin_40(LONG).await {
        entry.finish_write(&intent, &values).await;
        assert_eq!(entry.get(&["a"]).await, None);
    }
    assert!(entry.lease().await.is_none(), "merged intents should stay until they expire");
    let intent = entry.begin_write(fields(&["a"])).await;
    entry.finish_write(&intent, &values).await;
    assert_eq!(entry.get(&["a"]).await, None, "a write should overlap with merged intents");
}

async fn lifetimes_count_from_the_lease_or_intent<C: Cache>(entry: Entry<C>) {
    let value = one();
    let brief = |name| CachedField::new(name, Some(&value), SHORT);
    let lease = entry.lease().await.unwrap();
    tokio::time::sleep(SHORT).await;
    entry.fill(&lease, &[brief("a"), field("b", Some(&value))]).await;
    assert_eq!(
        entry.get(&["a"]).await,
        None,
        "a field whose lifetime ended before the fill should not be stored"
    );
    assert!(entry.is_hit(&["b"]).await);
    let intent = entry.begin_write(fields(&["a"])).await;
    tokio::time::sleep(SHORT).await;
    entry.finish_write(&intent, &[brief("a")]).await;
    assert_eq!(
        entry.get(&["a"]).await,
        None,
        "a field whose lifetime ended before the finish should not be stored"
    );

    let lease = entry.lease().await.unwrap();
    entry.fill(&lease, &[brief("a")]).await;
    assert!(entry.is_hit(&["a"]).await);
    tokio::time::sleep(SHORT).await;
    assert_eq!(entry.get(&["a"]).await, None);
    let lease = entry.lease().await.unwrap();
    let record = CachedRecord::new(meta(Duration::from_secs(1800)), SHORT);
    entry.fill_with(&lease, record, &[]).await;
    assert!(entry.is_hit(&["b"]).await);
    tokio::time::sleep(SHORT).await;
    assert_eq!(entry.get(&["b"]).await, None, "an outdated record should not be served");
}

async fn a_touch_that_is_due_is_a_miss<C: Cache>(entry: Entry<C>) {
    entry.fill_ones(&["a"]).await;
    let touch = |idle, after| Some(Touch::new(Ttl::from_secs(idle), Duration::from_secs(after)));
    let is_hit = async |touch| {
        let lookup = entry.lookup_with(Projection::Named(&["a"]), touch).await;
        matches!(lookup, CacheLookup::Hit(_))
    };
    assert!(is_hit(touch(1800, 60)).await);
    assert!(!is_hit(touch(1800, 0)).await);
    assert!(!is_hit(touch(3600, 60)).await);
    let scope = |touch| InvalidationScope::Some { names: &[], record: false, touch };
    let intent = entry.begin_write(scope(touch(1800, 60))).await;
    entry.finish_write(&intent, &[]).await;
    assert!(
        is_hit(None).await,
        "a write with a touch that moves no deadline should leave the entry"
    );
    entry.begin_write(scope(touch(3600, 60))).await;
    assert!(!is_hit(None).await);
}

async fn a_wrong_secret_is_a_miss<C: Cache>(entry: Entry<C>) {
    // A secret hash can contain any bytes, so several are tried.
    for _ in 0..64 {
        let entry = Entry::new(Arc::clone(&entry.cache));
        entry.fill_ones(&["a"]).await;
        let thief = Entry { id: entry.id, ..Entry::new(Arc::clone(&entry.cache)) };
        assert_eq!(thief.get(&["a"]).await, None);
        assert!(entry.is_hit(&["a"]).await);
    }
}

async fn any_names_and_many_of_them_are_kept<C: Cache>(entry: Entry<C>) {
    let odd = [" ", ";", "a b", "\n", "12 34 5", "+;", "\u{fc}", "-", "*", "="];
    let many: Vec<String> = (0..3000).map(|number| format!("field {number}")).collect();
    let names: Vec<&str> = odd.into_iter().chain(many.iter().map(|name| &**name)).collect();
    entry.fill_ones(&names).await;
    assert_eq!(entry.get(&names).await.map(|known| known.len()), Some(names.len()));
    let intent = entry.begin_write(fields(&names)).await;
    assert_eq!(entry.get(&names[..1]).await, None);
    let value = one();
    let values: Vec<_> = names.iter().map(|name| field(name, Some(&value))).collect();
    entry.finish_write(&intent, &values).await;
    assert_eq!(entry.get(&names).await.map(|known| known.len()), Some(names.len()));
}

async fn an_evicted_entry_is_empty<C: Cache>(entry: Entry<C>) {
    entry.fill_ones(&["a"]).await;
    let lease = entry.lease().await.unwrap();
    entry.cache.evict(&entry.id).await.unwrap();
    assert_eq!(entry.get(&["a"]).await, None);
    let value = one();
    entry.fill(&lease, &[field("a", Some(&value))]).await;
    assert_eq!(entry.get(&["a"]).await, None, "the eviction should also remove the lease");
    entry.cache.evict(&SessionId::from_bytes(random())).await.unwrap();
    entry.cache.check().await.unwrap();
}

/// The write in progress may have reached the origin before the write that evicts.
async fn an_eviction_keeps_write_intents<C: Cache>(entry: Entry<C>) {
    entry.fill_ones(&["a"]).await;
    let intent = entry.begin_write(fields(&["b"])).await;
    entry.cache.evict(&entry.id).await.unwrap();
    assert_eq!(entry.get(&["a"]).await, None);
    assert!(
        entry.lease().await.is_none(),
        "no lease should be granted while the write is in progress"
    );
    let value = one();
    entry.finish_write(&intent, &[field("b", Some(&value))]).await;
    entry.fill_ones(&["a"]).await;
    assert!(entry.is_hit(&["a"]).await);
    assert_eq!(
        entry.get(&["b"]).await,
        None,
        "a write that overlapped with an eviction should store nothing"
    );
}

async fn a_cleared_cache_is_empty<C: Cache>(entry: Entry<C>) {
    entry.fill_ones(&["a"]).await;
    entry.cache.clear().await.unwrap();
    assert_eq!(entry.get(&["a"]).await, None);
    entry.fill_ones(&["a"]).await;
    assert!(entry.is_hit(&["a"]).await);
}

macro_rules! caches {
    ($($cache:ident = $backend:expr;)+) => {
        $(mod $cache {
            use super::*;

            caches!($backend =>
                a_fill_is_found
                a_complete_entry_answers_a_read_of_all_fields
                the_fill_with_the_later_use_stays
                a_write_intent_invalidates_its_scope
                overlapping_write_intents_store_nothing
                a_finish_without_its_intent_empties_the_entry
                a_write_intent_expires
                many_write_intents_are_merged
                lifetimes_count_from_the_lease_or_intent
                a_touch_that_is_due_is_a_miss
                a_wrong_secret_is_a_miss
                any_names_and_many_of_them_are_kept
                an_evicted_entry_is_empty
                an_eviction_keeps_write_intents
                a_cleared_cache_is_empty
            );
        })+
    };
    ($backend:expr => $($check:ident)+) => {
        $(#[tokio::test]
        async fn $check() {
            let backend = $backend;
            super::$check(Entry::new(backend.cache())).await;
        })+
    };
}

/// The backend of a cache. It has to outlive the cache.
trait Backend {
    type Cache: Cache;

    fn cache(&self) -> Arc<Self::Cache>;
}

struct InMemory;

impl Backend for InMemory {
    type Cache = MemoryCache;

    fn cache(&self) -> Arc<MemoryCache> {
        Arc::new(MemoryCache::new(1000))
    }
}

impl<C: Cache + Store> Backend for Pair<C> {
    type Cache = C;

    fn cache(&self) -> Arc<C> {
        self.next()
    }
}

/// A cache that sends other lookups before and after each lookup, so that the server gets batches.
struct Batched<C>(C);

#[deny(clippy::missing_trait_methods)]
impl<C: Cache> Cache for Batched<C> {
    delegate_cache!(self.0: begin_write finish_write fill evict clear check);

    fn name(&self) -> &'static str {
        Cache::name(&self.0)
    }

    async fn lookup(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<CacheLookup, StoreError> {
        let other = async || {
            let (id, secret) = (SessionId::from_bytes(random()), SecretHash::from_bytes(random()));
            let lookup = self.0.lookup(Credentials::new(&id, &secret), fields, touch).await;
            assert!(matches!(lookup, Ok(CacheLookup::Miss(Some(_)))), "{lookup:?}");
        };
        let lookup = self.0.lookup(credentials, fields, touch);
        let ((), (), lookup, ()) = tokio::join!(other(), other(), lookup, other());
        lookup
    }
}

impl<C: RedisClient> Backend for Batched<Pair<RedisStore<C>>> {
    type Cache = Batched<RedisStore<C>>;

    fn cache(&self) -> Arc<Self::Cache> {
        Arc::new(Batched((*self.0.next()).clone()))
    }
}

caches! {
    in_memory = super::InMemory;
    redis = backends::redis_through_fred().await;
    valkey = backends::valkey_through_fred().await;
    cluster = backends::cluster_through_redis_rs().await;
    batched_redis = super::Batched(backends::redis_one_in_flight().await);
    batched_valkey = super::Batched(backends::valkey_one_in_flight().await);
}

/// A server may evict the key that identifies the history of the cache. An entry is valid only in
/// its own history.
#[tokio::test]
async fn no_entry_returns_after_the_server_evicts_the_history() {
    let server = Redis::start(Flavour::Redis, &[]);
    let client = backends::fred_client(server.url()).await;
    let cache = Arc::new(backends::redis_store(client, &server.prefix()));
    let evict_history = || {
        let keys: Vec<String> = server.command(&["KEYS", "*}:hot"]);
        assert_eq!(keys.len(), 1);
        assert_eq!(server.command::<u32>(&["DEL", &keys[0]]), 1);
    };
    let entry = Entry::new(cache);
    entry.fill_ones(&["a"]).await;
    assert!(entry.is_hit(&["a"]).await);
    evict_history();
    assert_eq!(entry.get(&["a"]).await, None);
    // After a clear, the next history must differ from both earlier ones.
    entry.fill_ones(&["a"]).await;
    entry.cache.clear().await.unwrap();
    assert_eq!(entry.get(&["a"]).await, None);
    evict_history();
    assert_eq!(entry.get(&["a"]).await, None);
}

/// A script that begins, finishes or evicts reads all write intents of the entry.
#[tokio::test]
async fn write_intents_of_an_entry_take_bounded_memory() {
    let server = Redis::start(Flavour::Redis, &[]);
    let client = backends::fred_client(server.url()).await;
    let entry = Entry::new(Arc::new(backends::redis_store(client, &server.prefix())));
    let mut longest = 0;
    for round in 0..300 {
        let intent = entry.begin_write(fields(&["a"])).await;
        if round % 7 == 0 {
            entry.finish_write(&intent, &[]).await;
        }
        let keys: Vec<String> = server.command(&["KEYS", "*:hot"]);
        for key in keys.iter().filter(|key| !key.ends_with("}:hot")) {
            longest = longest.max(server.command::<usize>(&["HSTRLEN", key, "~f"]));
        }
    }
    assert!(
        (500..1500).contains(&longest),
        "17 intents should take about a kilobyte, not {longest}"
    );
}

#[tokio::test]
async fn a_memory_cache_keeps_to_its_capacity() {
    let cache = Arc::new(MemoryCache::new(16));
    let entries: Vec<_> = (0..500).map(|_| Entry::new(Arc::clone(&cache))).collect();
    for entry in &entries {
        entry.fill_ones(&["a"]).await;
        assert!(entry.is_hit(&["a"]).await);
    }
    let mut hits = 0;
    for entry in &entries {
        // A miss issues a lease, which takes the place of an entry.
        hits += usize::from(entry.is_hit(&["a"]).await);
    }
    assert!(hits <= 16, "{hits}");
}

#[tokio::test]
async fn a_memory_cache_of_any_capacity_works() {
    for capacity in [0, 1, usize::MAX] {
        let cache = Arc::new(MemoryCache::new(capacity));
        assert!(format!("{cache:?}").contains("capacity"));
        for _ in 0..100 {
            let entry = Entry::new(Arc::clone(&cache));
            entry.fill_ones(&["a"]).await;
            assert!(entry.is_hit(&["a"]).await, "{capacity}");
        }
    }
}

#[tokio::test]
async fn a_full_memory_cache_caches_new_sessions() {
    let cache = Arc::new(MemoryCache::new(1024));
    let mut newest = Vec::new();
    for _ in 0..8 {
        newest = (0..1024).map(|_| Entry::new(Arc::clone(&cache))).collect();
        for entry in &newest {
            entry.fill_ones(&["a"]).await;
        }
    }
    let mut hits = 0;
    for entry in newest.iter().rev().take(64) {
        hits += usize::from(entry.is_hit(&["a"]).await);
    }
    assert!(hits > 40, "more than 40 of the last 64 entries should be hits, but {hits} are");
}
