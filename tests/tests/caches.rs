//! What a cache promises, method by method, on every cache.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ruts::{
    Assurance, Handle, Hot, PrincipalKey, SecretHash, Ttl,
    store::{
        Access, Cache, Fence, Fields, Item, Look, Meta, Record, Scope, SignedIn, Store, StoreError,
        Ticket, Touch,
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
    handle: Handle,
    secret: SecretHash,
}

fn item<'a>(name: &'a str, value: Option<&'a Bytes>) -> Item<'a> {
    Item { name, value, ttl: None, hot: Hot::Auto, life: LONG }
}

fn record(complete: bool) -> Record {
    let meta = Meta {
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
    Record { meta, life: LONG, complete: complete.then_some(LONG) }
}

fn fields<'a>(names: &'a [&'a str]) -> Scope<'a> {
    Scope::Some { names, record: false, touch: None }
}

fn one() -> Bytes {
    Bytes::from_static(b"1")
}

impl<C: Cache> Entry<C> {
    fn new(cache: Arc<C>) -> Self {
        let (handle, secret) = (Handle::from_bytes(random()), SecretHash::from_bytes(random()));
        Self { cache, handle, secret }
    }

    fn access(&self) -> Access<'_> {
        Access { handle: &self.handle, secret: &self.secret }
    }

    async fn look(&self, names: &[&str]) -> Look {
        self.cache.look(self.access(), Fields::Named(names), None).await.unwrap()
    }

    /// What is known of these fields, in order of their names; `None` if not of all.
    async fn knows(&self, names: &[&str]) -> Option<Vec<(String, Bytes)>> {
        match self.look(names).await {
            Look::Hit(loaded) => {
                let stored =
                    loaded.fields.into_iter().map(|field| (field.name.to_string(), field.value));
                let mut stored: Vec<_> = stored.collect();
                stored.sort();
                Some(stored)
            }
            Look::Miss(_) => None,
        }
    }

    async fn ticket(&self) -> Option<Ticket> {
        match self.look(&["a field that nobody knows"]).await {
            Look::Hit(loaded) => panic!("{loaded:?}"),
            Look::Miss(ticket) => ticket,
        }
    }

    async fn fence(&self, scope: Scope<'_>) -> Fence {
        self.cache.fence(&self.handle, scope, LONG).await.unwrap()
    }

    async fn finish(&self, fence: &Fence, items: &[Item<'_>]) {
        self.cache.finish(&self.handle, fence, items).await.unwrap();
    }

    async fn fill(&self, ticket: &Ticket, items: &[Item<'_>]) {
        self.cache.fill(self.access(), ticket, record(false), items).await.unwrap();
    }

    /// Puts "1" into these fields, as a reader would.
    async fn is_filled(&self, names: &[&str]) {
        let ticket = self.ticket().await.expect("nobody writes");
        let value = one();
        let items: Vec<_> = names.iter().map(|name| item(name, Some(&value))).collect();
        self.fill(&ticket, &items).await;
    }
}

async fn a_fill_is_known<C: Cache>(entry: Entry<C>) {
    assert_eq!(entry.knows(&[]).await, None);
    let ticket = entry.ticket().await.unwrap();
    assert_eq!(entry.ticket().await.unwrap().mark, ticket.mark, "all who miss share one");
    let value = Bytes::from_static(b"12 34 :\0\r\n5");
    let lasting = Item {
        ttl: Some(Duration::from_secs(200)),
        hot: Hot::For(Ttl::from_secs(60)),
        ..item("b", Some(&value))
    };
    entry.fill(&ticket, &[item("a", None), lasting]).await;
    assert_eq!(entry.knows(&["a"]).await, Some(vec![]));
    assert_eq!(entry.knows(&["b", "a"]).await, Some(vec![("b".to_owned(), value.clone())]));
    assert_eq!(entry.knows(&["b", "c"]).await, None);
    let Look::Hit(loaded) = entry.look(&["b"]).await else { panic!("it is not known") };
    let within = |told: Duration, secs: u64| {
        let exact = Duration::from_secs(secs);
        assert!(told <= exact + SHORT * 10 && told + SHORT * 10 >= exact, "{told:?}");
    };
    within(loaded.meta.age, 50);
    within(loaded.meta.secret_age, 5);
    within(loaded.meta.idle.unwrap(), 1800);
    assert_eq!(loaded.meta.absolute, None);
    within(loaded.fields[0].ttl.unwrap(), 200);
    assert_eq!(loaded.fields[0].hot, Hot::For(Ttl::from_secs(60)));

    let all = async || entry.cache.look(entry.access(), Fields::All, None).await.unwrap();
    let Look::Miss(Some(ticket)) = all().await else { panic!("nobody said that this is all") };
    let items = [item("b", Some(&value))];
    entry.cache.fill(entry.access(), &ticket, record(true), &items).await.unwrap();
    let Look::Hit(loaded) = all().await else { panic!("it is all there is") };
    assert_eq!(loaded.fields.len(), 1);

    // What is over is in nobody's way.
    entry.fill(&ticket, &[Item { life: SHORT, ..item("c", None) }]).await;
    tokio::time::sleep(SHORT).await;
    let Look::Miss(Some(ticket)) = all().await else { panic!("there may be something new") };
    entry.cache.fill(entry.access(), &ticket, record(true), &items).await.unwrap();
    assert!(matches!(all().await, Look::Hit(_)));
    entry.fence(fields(&["c"])).await;
    assert!(matches!(all().await, Look::Miss(None)), "there may be something new");
}

async fn of_two_fills_the_later_use_stays<C: Cache>(entry: Entry<C>) {
    let ticket = entry.ticket().await.unwrap();
    let with = |idle: Duration, life: Duration| {
        let record = record(false);
        Record { meta: Meta { idle: Some(idle), ..record.meta }, life, ..record }
    };
    let (soon, late) = (Duration::from_secs(600), Duration::from_secs(1800));
    let value = one();
    for (idle, life, name) in [(late, LONG, "a"), (soon, LONG, "b"), (soon, SHORT, "c")] {
        let items = [item(name, Some(&value))];
        entry.cache.fill(entry.access(), &ticket, with(idle, life), &items).await.unwrap();
        let Look::Hit(loaded) = entry.look(&[name]).await else { panic!("{name} is not known") };
        assert!(loaded.meta.idle.unwrap() > soon, "{name}");
    }
    // It is not in the way of one that may be served when it may not.
    entry.cache.evict(&entry.handle).await.unwrap();
    let ticket = entry.ticket().await.unwrap();
    entry.cache.fill(entry.access(), &ticket, with(late, SHORT), &[]).await.unwrap();
    tokio::time::sleep(SHORT).await;
    let ticket = entry.ticket().await.unwrap();
    entry.cache.fill(entry.access(), &ticket, with(soon, LONG), &[]).await.unwrap();
    let Look::Hit(loaded) = entry.look(&[]).await else { panic!("it is not known") };
    assert!(loaded.meta.idle.unwrap() <= soon);
    // Nor in that of another secret's.
    let other = SecretHash::from_bytes(random());
    let access = Access { handle: &entry.handle, secret: &other };
    entry.cache.fill(access, &ticket, with(SHORT, LONG), &[]).await.unwrap();
    let look = entry.cache.look(access, Fields::Named(&[]), None).await.unwrap();
    assert!(matches!(look, Look::Hit(_)), "{look:?}");
}

async fn a_fence_takes_back_what_it_must<C: Cache>(entry: Entry<C>) {
    entry.is_filled(&["a", "b"]).await;
    let ticket = entry.ticket().await.unwrap();
    let fence = entry.fence(fields(&["a"])).await;
    assert_eq!(entry.ticket().await, None, "a write is under way");
    assert_eq!(entry.knows(&["a"]).await, None);
    assert!(entry.knows(&["b"]).await.is_some(), "nobody writes that");
    let value = Bytes::from_static(b"late");
    entry.fill(&ticket, &[item("a", Some(&value))]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "it came too late");
    let value = Bytes::from_static(b"new");
    entry.finish(&fence, &[item("a", Some(&value))]).await;
    assert_eq!(entry.knows(&["a"]).await, Some(vec![("a".to_owned(), value)]));
    let late = Bytes::from_static(b"late");
    entry.fill(&ticket, &[item("a", Some(&late))]).await;
    assert!(entry.knows(&["a"]).await.unwrap()[0].1 != late, "it came too late");
    assert_ne!(entry.ticket().await.unwrap().mark, ticket.mark);

    for scope in [Scope::All, Scope::Some { names: &[], record: true, touch: None }] {
        entry.is_filled(&["a"]).await;
        let fence = entry.fence(scope).await;
        assert_eq!(entry.knows(&["a"]).await, None);
        entry.finish(&fence, &[]).await;
        assert_eq!(entry.knows(&["a"]).await, None);
    }
}

async fn fences_beside_each_other_leave_nothing<C: Cache>(entry: Entry<C>) {
    let value = one();
    let items = [item("a", Some(&value))];
    for first_ends_first in [true, false] {
        entry.is_filled(&["b"]).await;
        let (first, second) =
            (entry.fence(fields(&["a"])).await, entry.fence(fields(&["a"])).await);
        assert_ne!(first.mark, second.mark);
        let order = if first_ends_first { [&first, &second] } else { [&second, &first] };
        entry.finish(order[0], &items).await;
        assert_eq!(entry.ticket().await, None, "the other stands");
        entry.finish(order[1], &items).await;
        assert_eq!(entry.knows(&["a"]).await, None, "nobody knows which came last");
        assert!(entry.knows(&["b"]).await.is_some());
        assert!(entry.ticket().await.is_some());
    }
    // Afterwards one that is alone is alone.
    let fence = entry.fence(fields(&["a"])).await;
    entry.finish(&fence, &items).await;
    assert!(entry.knows(&["a"]).await.is_some());
}

async fn a_finish_without_its_fence_empties_the_entry<C: Cache>(entry: Entry<C>) {
    let value = one();
    let items = [item("a", Some(&value))];
    let gone = entry.fence(fields(&["a"])).await;
    entry.cache.evict(&entry.handle).await.unwrap();
    entry.is_filled(&["a", "b"]).await;
    let ticket = entry.ticket().await.unwrap();
    entry.finish(&gone, &items).await;
    entry.fill(&ticket, &[item("a", Some(&value)), item("b", Some(&value))]).await;
    assert_eq!((entry.knows(&["a"]).await, entry.knows(&["b"]).await), (None, None));

    // One that stands meanwhile goes on standing, and leaves nothing either.
    let gone = entry.fence(fields(&["a"])).await;
    entry.cache.evict(&entry.handle).await.unwrap();
    let stands = entry.fence(fields(&["a"])).await;
    entry.finish(&gone, &items).await;
    assert_eq!(entry.ticket().await, None);
    entry.finish(&stands, &items).await;
    entry.is_filled(&["b"]).await;
    assert_eq!(entry.knows(&["a"]).await, None);

    // So does one that was carried out twice.
    let fence = entry.fence(fields(&["a"])).await;
    entry.finish(&fence, &items).await;
    entry.finish(&fence, &[item("a", None)]).await;
    entry.is_filled(&["b"]).await;
    assert_eq!(entry.knows(&["a"]).await, None);
}

async fn a_fence_falls_by_itself<C: Cache>(entry: Entry<C>) {
    let value = one();
    entry.is_filled(&["b"]).await;
    let fence = entry.cache.fence(&entry.handle, fields(&["a"]), SHORT).await.unwrap();
    assert_eq!(entry.ticket().await, None);
    tokio::time::sleep(SHORT).await;
    assert!(entry.ticket().await.is_some());
    entry.finish(&fence, &[item("a", Some(&value))]).await;
    entry.is_filled(&["b"]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "it had fallen");
}

async fn lives_are_counted_from_the_beginning<C: Cache>(entry: Entry<C>) {
    let value = one();
    let brief = |name| Item { life: SHORT, ..item(name, Some(&value)) };
    let ticket = entry.ticket().await.unwrap();
    tokio::time::sleep(SHORT).await;
    entry.fill(&ticket, &[brief("a"), item("b", Some(&value))]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "its time was over before it came");
    assert!(entry.knows(&["b"]).await.is_some());
    let fence = entry.fence(fields(&["a"])).await;
    tokio::time::sleep(SHORT).await;
    entry.finish(&fence, &[brief("a")]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "its time was over before it came");

    let ticket = entry.ticket().await.unwrap();
    entry.fill(&ticket, &[brief("a")]).await;
    assert!(entry.knows(&["a"]).await.is_some());
    tokio::time::sleep(SHORT).await;
    assert_eq!(entry.knows(&["a"]).await, None);
    let ticket = entry.ticket().await.unwrap();
    let brief = Record { life: SHORT, ..record(false) };
    entry.cache.fill(entry.access(), &ticket, brief, &[]).await.unwrap();
    assert!(entry.knows(&["b"]).await.is_some());
    tokio::time::sleep(SHORT).await;
    assert_eq!(entry.knows(&["b"]).await, None, "the session's own record is over");
}

async fn a_use_that_counts_is_no_hit<C: Cache>(entry: Entry<C>) {
    entry.is_filled(&["a"]).await;
    let touch =
        |idle, after| Some(Touch { idle: Ttl::from_secs(idle), after: Duration::from_secs(after) });
    let hits = async |touch| {
        let look = entry.cache.look(entry.access(), Fields::Named(&["a"]), touch).await.unwrap();
        matches!(look, Look::Hit(_))
    };
    assert!(hits(touch(1800, 60)).await);
    assert!(!hits(touch(1800, 0)).await);
    assert!(!hits(touch(3600, 60)).await);
    let scope = |touch| Scope::Some { names: &[], record: false, touch };
    let fence = entry.fence(scope(touch(1800, 60))).await;
    entry.finish(&fence, &[]).await;
    assert!(hits(None).await, "it moves nothing");
    entry.fence(scope(touch(3600, 60))).await;
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
        let thief = Entry { handle: entry.handle, ..thief };
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
    let fence = entry.fence(fields(&names)).await;
    assert_eq!(entry.knows(&names[..1]).await, None);
    let value = one();
    let items: Vec<_> = names.iter().map(|name| item(name, Some(&value))).collect();
    entry.finish(&fence, &items).await;
    assert_eq!(entry.knows(&names).await.map(|known| known.len()), Some(names.len()));
}

async fn what_is_evicted_is_forgotten<C: Cache>(entry: Entry<C>) {
    entry.is_filled(&["a"]).await;
    let ticket = entry.ticket().await.unwrap();
    entry.cache.evict(&entry.handle).await.unwrap();
    assert_eq!(entry.knows(&["a"]).await, None);
    let value = one();
    entry.fill(&ticket, &[item("a", Some(&value))]).await;
    assert_eq!(entry.knows(&["a"]).await, None, "the ticket is gone too");
    entry.cache.evict(&Handle::from_bytes(random())).await.unwrap();
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

    async fn look(
        &self,
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
    ) -> Result<Look, StoreError> {
        let other = async || {
            let (handle, secret) = (Handle::from_bytes(random()), SecretHash::from_bytes(random()));
            let access = Access { handle: &handle, secret: &secret };
            let look = self.0.look(access, fields, touch).await;
            assert!(matches!(look, Ok(Look::Miss(Some(_)))), "{look:?}");
        };
        let look = self.0.look(access, fields, touch);
        let ((), (), look, ()) = tokio::join!(other(), other(), look, other());
        look
    }

    async fn fence(
        &self,
        handle: &Handle,
        scope: Scope<'_>,
        life: Duration,
    ) -> Result<Fence, StoreError> {
        self.0.fence(handle, scope, life).await
    }

    async fn finish(
        &self,
        handle: &Handle,
        fence: &Fence,
        items: &[Item<'_>],
    ) -> Result<(), StoreError> {
        self.0.finish(handle, fence, items).await
    }

    async fn fill(
        &self,
        access: Access<'_>,
        ticket: &Ticket,
        record: Record,
        items: &[Item<'_>],
    ) -> Result<(), StoreError> {
        self.0.fill(access, ticket, record, items).await
    }

    async fn evict(&self, handle: &Handle) -> Result<(), StoreError> {
        self.0.evict(handle).await
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
        // Looking makes room for the ticket.
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
