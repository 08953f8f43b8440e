//! Simulated processes read and write the same sessions while both tiers fail, lose data and come
//! back. The history of each session shows whether any read was stale.

use std::{
    collections::HashMap,
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ruts::{
    store::{
        Projection, Refused, Store, StoreErrorKind, StoreResult, Updated, Written,
        layered::LayeredStore,
    },
    token::SecretHash,
};
use ruts_tests_stores::{
    servers::{Flavour, Postgres, Redis},
    tiers::{CacheFault, FaultyCache, Layered, Tiers},
};
use ruts_tests_support::{LONG_TIMEOUT, TestSession, random};
use tokio::{task::JoinSet, time::sleep};

use crate::history::{Register, Span};

const PROCESSES: usize = 3;
const SESSIONS: usize = 4;
const NAMES: [&str; 2] = ["a", "b"];
const CACHE_TIMEOUT: Duration = Duration::from_millis(300);

/// Two more registers: whether the session has ended, and whether its secret was replaced.
const ENDED: &str = "ended";
const ROTATED: &str = "rotated";

/// A session that all processes use, and its history.
struct Subject {
    session: TestSession<()>,
    history: Mutex<HashMap<&'static str, Register>>,
}

impl Subject {
    fn new(session: &TestSession<impl Store>) -> Self {
        let registers =
            [NAMES[0], NAMES[1], ENDED, ROTATED].map(|name| (name, Register::default()));
        Self { session: session.through(&Arc::new(())), history: Mutex::new(registers.into()) }
    }

    fn note(&self, name: &'static str, note: impl FnOnce(&mut Register)) {
        note(
            self.history
                .lock()
                .unwrap()
                .get_mut(name)
                .expect("the session should have this register"),
        );
    }
}

/// The state that all processes share.
struct World {
    subjects: Vec<Mutex<Arc<Subject>>>,
    former: Mutex<Vec<Arc<Subject>>>,
    last_number: AtomicU64,
    /// Whether the origin is up.
    origin_is_up: AtomicBool,
    stop: AtomicBool,
}

impl World {
    fn is_running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Returns a random session, and its place.
    fn subject(&self) -> (usize, Arc<Subject>) {
        let place = usize::from(random::<1>()[0]) % SESSIONS;
        (place, Arc::clone(&self.subjects[place].lock().unwrap()))
    }

    fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Reads a session, and returns whether there was an answer.
async fn read<S: Store>(world: &World, store: &Arc<S>) -> bool {
    let (_, subject) = world.subject();
    let was_up = world.origin_is_up.load(Ordering::SeqCst);
    let session = subject.session.through(store);
    let begun = Instant::now();
    let names: &[&'static str] = match random::<1>()[0] % 4 {
        0 => &NAMES[..1],
        1 => &NAMES[1..],
        _ => &NAMES,
    };
    let is_all = random::<1>()[0] < 32;
    let fields = if is_all { Projection::All } else { Projection::Named(names) };
    let answer = match session.load_fields(fields, None).await {
        Ok(answer) => answer,
        Err(error) => {
            let is_up = was_up && world.origin_is_up.load(Ordering::SeqCst);
            assert!(!is_up, "a read should succeed while the origin is up: {error:?}");
            return false;
        }
    };
    let span = Span { begun, ended: Instant::now() };
    let (ended, rotated) = match &answer {
        Ok(_) => (0, 0),
        Err(Refused::Deleted { .. }) => (1, 0),
        Err(Refused::Replaced { .. }) => (0, 1),
        Err(other) => panic!("{other:?}"),
    };
    subject.note(ENDED, |register| register.read(ended, span));
    if ended == 0 {
        subject.note(ROTATED, |register| register.read(rotated, span));
    }
    if let Ok(loaded) = answer {
        for name in if is_all { &NAMES } else { names } {
            let field = loaded.fields.iter().find(|field| field.name == *name);
            let number = |value: &[u8]| std::str::from_utf8(value).unwrap().parse().unwrap();
            let number = field.map_or(0, |field| number(&field.value));
            subject.note(name, |register| register.read(number, span));
        }
    }
    true
}

async fn write<S: Store>(world: &World, store: &Arc<S>) {
    let (place, subject) = world.subject();
    let session = subject.session.through(store);
    let choice = random::<1>()[0];
    let (name, value) = match choice {
        0..4 => (ENDED, 1),
        4..8 => (ROTATED, 1),
        _ => (NAMES[usize::from(choice) % 2], world.next_number()),
    };
    subject.note(name, |register| register.begin(value));
    let is_confirmed = match name {
        ENDED => session.delete().await.is_ok_and(|deleted| is_confirmed(deleted, |()| true)),
        ROTATED => is_applied(session.rotate(&SecretHash::from_bytes(random())).await),
        name => is_applied(session.set(name, &value.to_string()).await),
    };
    if is_confirmed {
        subject.note(name, |register| register.confirm(value));
    }
    if name == ENDED || name == ROTATED {
        // Other processes use this session for another 20 ms. Then a new session takes its place.
        sleep(Duration::from_millis(20)).await;
        let next = TestSession::new(store);
        if next.create(None).await.is_ok() {
            let mut current = world.subjects[place].lock().unwrap();
            if Arc::ptr_eq(&current, &subject) {
                let former = std::mem::replace(&mut *current, Arc::new(Subject::new(&next)));
                world.former.lock().unwrap().push(former);
            }
        }
    }
}

/// Returns whether a write was carried out and no cache is stale.
fn is_confirmed<T>(answer: Result<Written<T>, Refused>, is_done: impl FnOnce(T) -> bool) -> bool {
    answer.is_ok_and(|written| written.stale_for.is_none() && is_done(written.answer))
}

fn is_applied(answer: StoreResult<Written<Updated>>) -> bool {
    match answer {
        Ok(answer) => is_confirmed(answer, |updated| matches!(updated, Updated::Applied { .. })),
        Err(error) => {
            let kinds = [StoreErrorKind::Unavailable, StoreErrorKind::OutcomeUnknown];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            false
        }
    }
}

#[derive(Debug, Default)]
struct Report {
    reads: usize,
    failed_reads: usize,
    writes: usize,
    hits: usize,
    violations: Vec<String>,
}

/// Runs all processes for `time`, and calls `fault` repeatedly during this time.
async fn run(
    tiers: &Tiers<Arc<Postgres>>,
    time: Duration,
    cache_fault: CacheFault,
    mut fault: impl AsyncFnMut(u32, &AtomicBool),
) -> Report {
    let hits = Arc::new(AtomicUsize::new(0));
    let mut stores: Vec<Arc<Layered<FaultyCache>>> = Vec::new();
    for _ in 0..PROCESSES {
        let origin = tiers.origin_builder(tiers.postgres.pool(6)).timeout(LONG_TIMEOUT);
        let cache = FaultyCache::new(tiers.cache(&tiers.urls()).await, cache_fault, &hits);
        let builder = LayeredStore::builder(cache, origin.build().await.unwrap());
        let builder = builder.cache_timeout(CACHE_TIMEOUT).origin_timeout(LONG_TIMEOUT * 2);
        stores.push(Arc::new(builder.build()));
    }
    let mut subjects = Vec::new();
    for _ in 0..SESSIONS {
        let session = TestSession::new(&stores[0]);
        session.create(None).await.unwrap();
        subjects.push(Mutex::new(Arc::new(Subject::new(&session))));
    }
    let world = Arc::new(World {
        subjects,
        former: Mutex::default(),
        // 1 stands for an end or a rotation.
        last_number: AtomicU64::new(1),
        origin_is_up: AtomicBool::new(true),
        stop: AtomicBool::new(false),
    });
    let mut tasks: JoinSet<(usize, usize)> = JoinSet::new();
    for store in &stores {
        for _ in 0..2 {
            let (world, store) = (Arc::clone(&world), Arc::clone(store));
            tasks.spawn(async move {
                let mut failed = 0;
                while world.is_running() {
                    failed += usize::from(!read(&world, &store).await);
                    tokio::task::yield_now().await;
                }
                (failed, 0)
            });
        }
        let (world, store) = (Arc::clone(&world), Arc::clone(store));
        tasks.spawn(async move {
            let mut writes = 0;
            while world.is_running() {
                write(&world, &store).await;
                writes += 1;
                sleep(Duration::from_millis(u64::from(random::<1>()[0] % 8))).await;
            }
            (0, writes)
        });
    }
    let begun = Instant::now();
    for number in 0.. {
        if begun.elapsed() > time {
            break;
        }
        fault(number, &world.origin_is_up).await;
    }
    world.stop.store(true, Ordering::Relaxed);
    let mut report = Report::default();
    for (failed, writes) in tasks.join_all().await {
        report.failed_reads += failed;
        report.writes += writes;
    }
    report.hits = hits.load(Ordering::Relaxed);
    let mut all = std::mem::take(&mut *world.former.lock().unwrap());
    all.extend(world.subjects.iter().map(|subject| Arc::clone(&subject.lock().unwrap())));
    for subject in all {
        for (name, register) in &*subject.history.lock().unwrap() {
            report.reads += register.count();
            let violations = register.violations().into_iter();
            report.violations.extend(violations.map(|violation| format!("{name}: {violation}")));
        }
    }
    report
}

fn tiers() -> Tiers<Arc<Postgres>> {
    let durable = ["fsync=on", "synchronous_commit=on", "full_page_writes=on"];
    Tiers::on(Redis::start(Flavour::Redis, &[]), Arc::new(Postgres::start(&durable)))
}

/// Returns the duration of the soak: `SOAK_SECONDS`, or 60 s.
fn duration() -> Duration {
    let seconds = env::var("SOAK_SECONDS").map_or(60, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_stale_while_everything_fails() {
    let tiers = tiers();
    let pause = |millis| sleep(Duration::from_millis(millis));
    let report = run(&tiers, duration(), CacheFault::None, async |number, origin_is_up| {
        pause(400 + u64::from(random::<1>()[0])).await;
        let (redis, postgres) = (&tiers.redis, &tiers.postgres);
        match number % 7 {
            0 => tokio::task::block_in_place(|| redis.command::<()>(&["FLUSHALL"])),
            1 => {
                tokio::task::block_in_place(|| redis.pause());
                pause(CACHE_TIMEOUT.as_millis() as u64 + 300).await;
                tokio::task::block_in_place(|| redis.resume());
            }
            2 => {
                tokio::task::block_in_place(|| redis.kill());
                pause(500).await;
                tokio::task::block_in_place(|| redis.restart());
            }
            3 => tokio::task::block_in_place(|| redis.command::<()>(&["SAVE"])),
            // The server restarts with the data that it saved at the previous fault.
            4 => tokio::task::block_in_place(|| {
                redis.kill();
                redis.restart();
            }),
            5 => tokio::task::block_in_place(|| {
                redis.command::<()>(&["CLIENT", "KILL", "TYPE", "normal"])
            }),
            _ => {
                origin_is_up.store(false, Ordering::SeqCst);
                tokio::task::block_in_place(|| postgres.kill());
                pause(200).await;
                tokio::task::block_in_place(|| postgres.restart());
                pause(2500).await;
                origin_is_up.store(true, Ordering::SeqCst);
            }
        }
    })
    .await;
    println!("{report:?}");
    assert_eq!(report.violations, [] as [String; 0]);
    assert!(report.reads > 1000 && report.writes > 100 && report.hits > 100, "{report:?}");
}

/// Checks that the test above can fail: even without further faults, it finds stale reads of this
/// cache.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_without_leases_is_found() {
    let tiers = tiers();
    let fault = CacheFault::IgnoresLeases(Duration::from_millis(2));
    let report = run(&tiers, Duration::from_secs(4), fault, async |_, _| {
        sleep(Duration::from_millis(100)).await;
    })
    .await;
    println!("{} reads, {} violations", report.reads, report.violations.len());
    assert!(!report.violations.is_empty(), "{report:?}");
}
