//! What a cache promises, method by method, on every cache.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    Assurance, CachePolicy, PrincipalKey, SecretHash, SessionId, Ttl,
    store::{
        Cache, CacheLookup, CachedField, CachedRecord, Credentials, InvalidationScope, Lease,
        Projection, SessionMeta, SignedIn, Store, StoreError, Touch, WriteIntent,
        memory::MemoryCache,
        redis::{RedisClient, RedisStore},
    },
};
use ruts_tests::{
    backends::{self, Pair},
    random,
    servers::{Flavour, Redis},
};

const LONG: Duration = Duration::from_secs(300);
const SHORT: Duration = Duration::from_millis(400);

/// One entry of a cache, and short words for what is done with it.
struct Entry<C> {
    cache: Arc<C>,
    id: SessionId,
    secret: SecretHash,
}

fn item<'a>(name: &'a str, value: Option<&'a Bytes>) -> CachedField<'a> {
    CachedField { name, value, ttl: None, hot: CachePolicy::Auto, life: LONG }
}

fn record(complete: bool) -> CachedRecord {
    let meta = SessionMeta {
        age: Duration::from_secs(50),
        secret_age: Duration::from_secs(5),
        unused: Duration::from_secs(3),
        idle: Some(Duration::from_secs(1800)),
        absolute: None,
        signed_in: Some(SignedIn {
            principal: PrincipalKey::from_bytes([7; 32]),
            assurance: Assurance::Aal2,
            ago: Duration::from_secs(4),
        }),
        by_former: false,
    };
    CachedRecord { meta, life: LONG, complete: complete.then_some(LONG) }
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
        Credentials { id: &self.id, secret: &self.secret }
    }

    async fn lookup(&self, names: &[&str]) -> CacheLookup {
        self.cache.lookup(self.credentials(), Projection::Named(names), None).await.unwrap()
    }

    /// What is known of these fields, in order of their names; `None` if not of all.
    async fn knows(&self, names: &[&str]) -> Option<Vec<(String, Bytes)>> {
        match self.lookup(names).await {
            CacheLookup::Hit(loaded) => {
                let stored =
                    loaded.fields.into_iter().map(|field| (field.name.to_string(), field.value));
                let mut stored: Vec<_> = stored.collect();
                stored.sort();
                Some(stored)
            }
            CacheLookup::Miss(_) => None,
        }
    }

    async fn lease(&self) -> Option<Lease> {
        match self.lookup(&["a field that nobody knows"]).await {
            CacheLookup::Hit(loaded) => panic!("{loaded:?}"),
            CacheLookup::Miss(lease) => lease,
        }
    }

    async fn begin_write(&self, scope: InvalidationScope<'_>) -> WriteIntent {
        self.cache.begin_write(&self.id, scope, LONG).await.unwrap()
    }

    async fn finish_write(&self, intent: &WriteIntent, items: &[CachedField<'_>]) {
        self.cache.finish_write(&self.id, intent, items).await.unwrap();
    }

    async fn fill(&self, lease: &Lease, items: &[CachedField<'_>]) {
        self.cache.fill(self.credentials(), lease, record(false), items).await.unwrap();
    }

    /// Puts "1" into these fields, as a reader would.
    async fn is_filled(&self, names: &[&str]) {
        let lease = self.lease().await.expect("nobody writes");
        let value = one();
        let items: Vec<_> = names.iter().map(|name| item(name, Some(&value))).collect();
        self.fill(&lease, &items).await;
    }
}

async fn a_fill_is_known<C: Cache>(entry: Entry<C>) {
    assert_eq!(entry.knows(&[]).await, None);
    let lease = entry.lease().await.unwrap();
    assert_eq!(entry.lease().await.unwrap().mark, lease.mark, "all who miss share one");
    let value = Bytes::from_static(b"12 34 :\0\r\n5");
    let lasting = CachedField {
        ttl: Some(Duration::from_secs(200)),
        hot: CachePolicy::For(Ttl::from_secs(60)),
        ..item("b", Some(&value))
    };
    entry.fill(&lease, &[item("a", None), lasting]).await;
    assert_eq!(entry.knows(&["a"]).await, Some(vec![]));
    assert_eq!(entry.knows(&["b", "a"]).await, Some(vec![("b".to_owned(), value.clone())]));
    assert_eq!(entry.knows(&["b", "c"]).await, None);
    let CacheLookup::Hit(loaded) = entry.lookup(&["b"]).await else { panic!("it is not known") };
    let within = |told: Duration, secs: u64| {
        let exact = Duration::from_secs(secs);
        assert!(told <= exact + SHORT * 10 && told + SHORT * 10 >= exact, "{told:?}");
    };
    within(loaded.meta.age, 50);
    within(loaded.meta.secret_age, 5);
    within(loaded.meta.idle.unwrap(), 1800);
    assert_eq!(loaded.meta.absolute, None);
    within(loaded.fields[0].ttl.unwrap(), 200);
    assert_eq!(loaded.fields[0].hot, CachePolicy::For(Ttl::from_secs(60)));

    let all =
        async || entry.cache.lookup(entry.credentials(), Projection::All, None).await.unwrap();
    let CacheLookup::Miss(Some(lease)) = all().await else {
        panic!("nobody said that this is all")
    };
    let items = [item("b", Some(&value))];
    entry.cache.fill(entry.credentials(), &lease, record(true), &items).await.unwrap();
    let CacheLookup::Hit(loaded) = all().await else { panic!("it is all there is") };
    assert_eq!(loaded.fields.len(), 1);

    // What is over is in nobody's way.
    entry.fill(&lease, &[CachedField { life: SHORT, ..item("c", None) }]).await;
    tokio::time::sleep(SHORT).await;
    let CacheLookup::Miss(Some(lease)) = all().await else { panic!("there may be something new") };
    entry.cache.fill(entry.credentials(), &lease, record(true), &items).await.unwrap();
    assert!(matches!(all().await, CacheLookup::Hit(_)));
    entry.begin_write(fields(&["c"])).await;
    assert!(matches!(all().await, CacheLookup::Miss(None)), "there may be something new");
}

async fn of_two_fills_the_later_use_stays<C: Cache>(entry: Entry<C>) {
    let lease = entry.lease().await.unwrap();
    let with = |idle: Duration, life: Duration| {
        let record = record(false);
        CachedRecord { meta: SessionMeta { idle: Some(idle), ..record.meta }, life, ..record }
    };
    let (soon, late) = (Duration::from_secs(600), Duration::from_secs(1800));
    let value = one();
    for (idle, life, name) in [(late, LONG, "a"), (soon, LONG, "b"), (soon, SHORT, "c")] {
        let items = [item(name, Some(&value))];
        entry.cache.fill(entry.credentials(), &lease, with(idle, life), &items).await.unwrap();
        let CacheLookup::Hit(loaded) = entry.lookup(&[name]).await else {
            panic!("{name} is not known")
        };
        assert!(loaded.meta.idle.unwrap() > soon, "{name}");
    }
    // It is not in the way of one that may be served when it may not.
    entry.cache.evict(&entry.id).await.unwrap();
    let lease = entry.lease().await.unwrap();
    entry.cache.fill(entry.credentials(), &lease, with(late, SHORT), &[]).await.unwrap();
    tokio::time::sleep(SHORT).await;
    let lease = entry.lease().await.unwrap();
    entry.cache.fill(entry.credentials(), &lease, with(soon, LONG), &[]).await.unwrap();
    let CacheLookup::Hit(loaded) = entry.lookup(&[]).await else { panic!("it is not known") };
    assert!(loaded.meta.idle.unwrap() <= soon);
    // Nor in that of another secret's.
    let other = SecretHash::from_bytes(random());
    let credentials = Credentials { id: &entry.id, secret: &other };
    entry.cache.fill(credentials, &lease, with(SHORT, LONG), &[]).await.unwrap();
    let look = entry.cache.lookup(credentials, Projection::Named(&[]), None).await.unwrap();
    assert!(matches!(look, CacheLookup::Hit(_)), "{look:?}");
}

async fn a_fence_takes_back_what_it_must<C: Cache>(entry: Entry<C>) {
    entry.is_filled(&["a", "b"]).await;
    let lease = entry.lease().await.unwrap();
    let intent = entry.begin_write(fields(&["a"])).await;
    assert_eq!(entry.lease().await, None, "a write is under way");
    assert_eq!(entry.knows(&["a"]).await, None);
    assert!(entry.knows(&["b"]).await.is_some(), "nobody writes that");
    let value = Bytes::from_static(b"late");
    entry.fill(&lease, &[item("a", Some(&value))]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "it came too late");
    let value = Bytes::from_static(b"new");
    entry.finish_write(&intent, &[item("a", Some(&value))]).await;
    assert_eq!(entry.knows(&["a"]).await, Some(vec![("a".to_owned(), value)]));
    let late = Bytes::from_static(b"late");
    entry.fill(&lease, &[item("a", Some(&late))]).await;
    assert!(entry.knows(&["a"]).await.unwrap()[0].1 != late, "it came too late");
    assert_ne!(entry.lease().await.unwrap().mark, lease.mark);

    for scope in
        [InvalidationScope::All, InvalidationScope::Some { names: &[], record: true, touch: None }]
    {
        entry.is_filled(&["a"]).await;
        let intent = entry.begin_write(scope).await;
        assert_eq!(entry.knows(&["a"]).await, None);
        entry.finish_write(&intent, &[]).await;
        assert_eq!(entry.knows(&["a"]).await, None);
    }
}

async fn fences_beside_each_other_leave_nothing<C: Cache>(entry: Entry<C>) {
    let value = one();
    let items = [item("a", Some(&value))];
    for first_ends_first in [true, false] {
        entry.is_filled(&["b"]).await;
        let (first, second) =
            (entry.begin_write(fields(&["a"])).await, entry.begin_write(fields(&["a"])).await);
        assert_ne!(first.mark, second.mark);
        let order = if first_ends_first { [&first, &second] } else { [&second, &first] };
        entry.finish_write(order[0], &items).await;
        assert_eq!(entry.lease().await, None, "the other stands");
        entry.finish_write(order[1], &items).await;
        assert_eq!(entry.knows(&["a"]).await, None, "nobody knows which came last");
        assert!(entry.knows(&["b"]).await.is_some());
        assert!(entry.lease().await.is_some());
    }
    // Afterwards one that is alone is alone.
    let intent = entry.begin_write(fields(&["a"])).await;
    entry.finish_write(&intent, &items).await;
    assert!(entry.knows(&["a"]).await.is_some());
}

async fn a_finish_without_its_fence_empties_the_entry<C: Cache>(entry: Entry<C>) {
    let value = one();
    let items = [item("a", Some(&value))];
    let gone = entry.begin_write(fields(&["a"])).await;
    entry.cache.evict(&entry.id).await.unwrap();
    entry.is_filled(&["a", "b"]).await;
    let lease = entry.lease().await.unwrap();
    entry.finish_write(&gone, &items).await;
    entry.fill(&lease, &[item("a", Some(&value)), item("b", Some(&value))]).await;
    assert_eq!((entry.knows(&["a"]).await, entry.knows(&["b"]).await), (None, None));

    // One that stands meanwhile goes on standing, and leaves nothing either.
    let gone = entry.begin_write(fields(&["a"])).await;
    entry.cache.evict(&entry.id).await.unwrap();
    let stands = entry.begin_write(fields(&["a"])).await;
    entry.finish_write(&gone, &items).await;
    assert_eq!(entry.lease().await, None);
    entry.finish_write(&stands, &items).await;
    entry.is_filled(&["b"]).await;
    assert_eq!(entry.knows(&["a"]).await, None);

    // So does one that was carried out twice.
    let intent = entry.begin_write(fields(&["a"])).await;
    entry.finish_write(&intent, &items).await;
    entry.finish_write(&intent, &[item("a", None)]).await;
    entry.is_filled(&["b"]).await;
    assert_eq!(entry.knows(&["a"]).await, None);
}

async fn a_fence_falls_by_itself<C: Cache>(entry: Entry<C>) {
    let value = one();
    entry.is_filled(&["b"]).await;
    let intent = entry.cache.begin_write(&entry.id, fields(&["a"]), SHORT).await.unwrap();
    assert_eq!(entry.lease().await, None);
    tokio::time::sleep(SHORT).await;
    assert!(entry.lease().await.is_some());
    entry.finish_write(&intent, &[item("a", Some(&value))]).await;
    entry.is_filled(&["b"]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "it had fallen");
}

async fn lives_are_counted_from_the_beginning<C: Cache>(entry: Entry<C>) {
    let value = one();
    let brief = |name| CachedField { life: SHORT, ..item(name, Some(&value)) };
    let lease = entry.lease().await.unwrap();
    tokio::time::sleep(SHORT).await;
    entry.fill(&lease, &[brief("a"), item("b", Some(&value))]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "its time was over before it came");
    assert!(entry.knows(&["b"]).await.is_some());
    let intent = entry.begin_write(fields(&["a"])).await;
    tokio::time::sleep(SHORT).await;
    entry.finish_write(&intent, &[brief("a")]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "its time was over before it came");

    let lease = entry.lease().await.unwrap();
    entry.fill(&lease, &[brief("a")]).await;
    assert!(entry.knows(&["a"]).await.is_some());
    tokio::time::sleep(SHORT).await;
    assert_eq!(entry.knows(&["a"]).await, None);
    let lease = entry.lease().await.unwrap();
    let brief = CachedRecord { life: SHORT, ..record(false) };
    entry.cache.fill(entry.credentials(), &lease, brief, &[]).await.unwrap();
    assert!(entry.knows(&["b"]).await.is_some());
    tokio::time::sleep(SHORT).await;
    assert_eq!(entry.knows(&["b"]).await, None, "the session's own record is over");
}

async fn a_use_that_counts_is_no_hit<C: Cache>(entry: Entry<C>) {
    entry.is_filled(&["a"]).await;
    let touch =
        |idle, after| Some(Touch { idle: Ttl::from_secs(idle), after: Duration::from_secs(after) });
    let hits = async |touch| {
        let look = entry
            .cache
            .lookup(entry.credentials(), Projection::Named(&["a"]), touch)
            .await
            .unwrap();
        matches!(look, CacheLookup::Hit(_))
    };
    assert!(hits(touch(1800, 60)).await);
    assert!(!hits(touch(1800, 0)).await);
    assert!(!hits(touch(3600, 60)).await);
    let scope = |touch| InvalidationScope::Some { names: &[], record: false, touch };
    let intent = entry.begin_write(scope(touch(1800, 60))).await;
    entry.finish_write(&intent, &[]).await;
    assert!(hits(None).await, "it moves nothing");
    entry.begin_write(scope(touch(3600, 60))).await;
    assert!(!hits(None).await);
}

async fn only_the_secret_opens_an_entry<C: Cache>(entry: Entry<C>) {
    for _ in 0..64 {
        let entry = Entry::new(Arc::clone(&entry.cache));
        entry.is_filled(&["a"]).await;
        let thief = Entry {
            secret: SecretHash::from_bytes(random()),
            ..Entry::new(Arc::clone(&entry.cache))
        };
        let thief = Entry { id: entry.id, ..thief };
        assert_eq!(thief.knows(&["a"]).await, None);
        assert!(entry.knows(&["a"]).await.is_some(), "any bytes can be a secret");
    }
}

async fn any_names_and_many<C: Cache>(entry: Entry<C>) {
    let odd = [" ", ";", "a b", "\n", "12 34 5", "+;", "\u{fc}", "-", "*", "="];
    let many: Vec<String> = (0..3000).map(|number| format!("field {number}")).collect();
    let names: Vec<&str> = odd.into_iter().chain(many.iter().map(|name| &**name)).collect();
    entry.is_filled(&names).await;
    assert_eq!(entry.knows(&names).await.map(|known| known.len()), Some(names.len()));
    let intent = entry.begin_write(fields(&names)).await;
    assert_eq!(entry.knows(&names[..1]).await, None);
    let value = one();
    let items: Vec<_> = names.iter().map(|name| item(name, Some(&value))).collect();
    entry.finish_write(&intent, &items).await;
    assert_eq!(entry.knows(&names).await.map(|known| known.len()), Some(names.len()));
}

async fn what_is_evicted_is_forgotten<C: Cache>(entry: Entry<C>) {
    entry.is_filled(&["a"]).await;
    let lease = entry.lease().await.unwrap();
    entry.cache.evict(&entry.id).await.unwrap();
    assert_eq!(entry.knows(&["a"]).await, None);
    let value = one();
    entry.fill(&lease, &[item("a", Some(&value))]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "the lease is gone too");
    entry.cache.evict(&SessionId::from_bytes(random())).await.unwrap();
    entry.cache.check().await.unwrap();
}

async fn what_was_cleared_stays_forgotten<C: Cache>(entry: Entry<C>) {
    entry.is_filled(&["a"]).await;
    entry.cache.clear().await.unwrap();
    assert_eq!(entry.knows(&["a"]).await, None);
    entry.is_filled(&["a"]).await;
    assert!(entry.knows(&["a"]).await.is_some());
}

async fn memory() -> Arc<MemoryCache> {
    Arc::new(MemoryCache::new(1000))
}

macro_rules! caches {
    ($($cache:ident = $backend:expr;)+) => {
        $(mod $cache {
            use super::*;

            caches!($backend =>
                a_fill_is_known
                of_two_fills_the_later_use_stays
                a_fence_takes_back_what_it_must
                fences_beside_each_other_leave_nothing
                a_finish_without_its_fence_empties_the_entry
                a_fence_falls_by_itself
                lives_are_counted_from_the_beginning
                a_use_that_counts_is_no_hit
                only_the_secret_opens_an_entry
                any_names_and_many
                what_is_evicted_is_forgotten
                what_was_cleared_stays_forgotten
            );
        })+
    };
    ($backend:expr => $($check:ident)+) => {
        $(#[tokio::test]
        async fn $check() {
            let backend = $backend;
            super::$check(Entry::new(cache(&backend))).await;
        })+
    };
}

/// The cache of a backend, which lives as long as that does.
fn cache<B: Backend>(backend: &B) -> Arc<B::Cache> {
    backend.cache()
}

trait Backend {
    type Cache: Cache;

    fn cache(&self) -> Arc<Self::Cache>;
}

impl Backend for Arc<MemoryCache> {
    type Cache = MemoryCache;

    fn cache(&self) -> Self {
        Self::clone(self)
    }
}

/// A cache none of whose looks goes to the server alone: others are before and behind each.
struct Crowded<C>(C);

#[deny(clippy::missing_trait_methods)]
impl<C: Cache> Cache for Crowded<C> {
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
            let credentials = Credentials { id: &id, secret: &secret };
            let look = self.0.lookup(credentials, fields, touch).await;
            assert!(matches!(look, Ok(CacheLookup::Miss(Some(_)))), "{look:?}");
        };
        let look = self.0.lookup(credentials, fields, touch);
        let ((), (), look, ()) = tokio::join!(other(), other(), look, other());
        look
    }

    async fn begin_write(
        &self,
        id: &SessionId,
        scope: InvalidationScope<'_>,
        life: Duration,
    ) -> Result<WriteIntent, StoreError> {
        self.0.begin_write(id, scope, life).await
    }

    async fn finish_write(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        self.0.finish_write(id, intent, items).await
    }

    async fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        self.0.fill(credentials, lease, record, items).await
    }

    async fn evict(&self, id: &SessionId) -> Result<(), StoreError> {
        self.0.evict(id).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.0.clear().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        Cache::check(&self.0).await
    }
}

impl<C: RedisClient> Backend for Crowded<Pair<RedisStore<C>>> {
    type Cache = Crowded<RedisStore<C>>;

    fn cache(&self) -> Arc<Self::Cache> {
        Arc::new(Crowded((*self.0.next()).clone().with_in_flight(1)))
    }
}

impl<C: Cache + Store> Backend for Pair<C> {
    type Cache = C;

    fn cache(&self) -> Arc<C> {
        self.next()
    }
}

caches! {
    in_memory = memory().await;
    redis = backends::redis_through_fred().await;
    valkey = backends::valkey_through_fred().await;
    cluster = backends::cluster_through_redis_rs().await;
    crowded_redis = super::Crowded(backends::redis_through_fred().await);
    crowded_valkey = super::Crowded(backends::valkey_through_fred().await);
}

/// A cache evicts what it likes, also what says since when its entries are known.
#[tokio::test]
async fn no_entry_comes_back_when_the_cache_forgets_what_it_has_forgotten() {
    let server = Redis::start(Flavour::Redis, &[]);
    let client = backends::fred_client(server.url()).await;
    let cache = Arc::new(backends::redis_store(client, &server.prefix()));
    let forget = || {
        let keys: Vec<String> = server.command(&["KEYS", "*}:hot"]);
        assert_eq!(keys.len(), 1);
        assert_eq!(server.command::<u32>(&["DEL", &keys[0]]), 1);
    };
    let entry = Entry::new(cache);
    entry.is_filled(&["a"]).await;
    assert!(entry.knows(&["a"]).await.is_some());
    forget();
    assert_eq!(entry.knows(&["a"]).await, None);
    // Forgotten twice in the same way, as it were.
    entry.is_filled(&["a"]).await;
    entry.cache.clear().await.unwrap();
    let other = Entry { cache: Arc::clone(&entry.cache), ..entry };
    assert_eq!(other.knows(&["a"]).await, None);
    forget();
    assert_eq!(other.knows(&["a"]).await, None);
}

/// A full cache makes room, and stays right.
#[tokio::test]
async fn memory_is_bounded() {
    let cache = Arc::new(MemoryCache::new(16));
    let entries: Vec<_> = (0..500).map(|_| Entry::new(Arc::clone(&cache))).collect();
    for entry in &entries {
        entry.is_filled(&["a"]).await;
        assert!(entry.knows(&["a"]).await.is_some());
    }
    let mut known = 0;
    for entry in &entries {
        // Looking makes room for the lease.
        known += usize::from(entry.knows(&["a"]).await.is_some());
    }
    assert!(known <= 16, "{known}");
}

/// It is the new sessions that matter.
#[tokio::test]
async fn a_full_memory_cache_goes_on_caching() {
    let cache = Arc::new(MemoryCache::new(1024));
    let mut newest = Vec::new();
    for _ in 0..8 {
        newest = (0..1024).map(|_| Entry::new(Arc::clone(&cache))).collect();
        for entry in &newest {
            entry.is_filled(&["a"]).await;
        }
    }
    let mut known = 0;
    for entry in newest.iter().rev().take(64) {
        known += usize::from(entry.knows(&["a"]).await.is_some());
    }
    assert!(known > 40, "{known} of the last 64");
}
