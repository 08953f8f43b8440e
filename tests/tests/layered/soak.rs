//! Processes that read and write the same sessions while both tiers fail, forget and come back. Every read
//! is checked against the history.

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
    SecretHash,
    store::{
        Lookup, Projection, Store, StoreErrorKind, Updated, layered::LayeredStore,
        postgres::PostgresStoreBuilder,
    },
};
use ruts_tests::{
    Visitor, random,
    servers::{Flavour, Postgres, Redis},
    tiers::{Fault, Faulty, Layered, Tiers},
};
use tokio::task::JoinSet;

use crate::history::{Register, Span};

const PROCESSES: usize = 3;
const SESSIONS: usize = 4;
const NAMES: [&str; 2] = ["a", "b"];
const HOT_TIMEOUT: Duration = Duration::from_millis(300);
const COLD_TIMEOUT: Duration = Duration::from_secs(2);

/// A session as all processes know it, and what was asked of it.
struct Subject {
    visitor: Visitor<()>,
    history: Mutex<HashMap<&'static str, Register>>,
}

/// What is a register besides the fields: whether the session has ended, and whether its secret was replaced.
const ENDED: &str = "ended";
const ROTATED: &str = "rotated";

impl Subject {
    fn new(visitor: &Visitor<impl Store>) -> Self {
        let Visitor { id, secret, .. } = *visitor;
        let registers =
            [NAMES[0], NAMES[1], ENDED, ROTATED].map(|name| (name, Register::default()));
        Self {
            visitor: Visitor { store: Arc::new(()), id, secret },
            history: Mutex::new(registers.into()),
        }
    }

    fn note(&self, name: &'static str, note: impl FnOnce(&mut Register)) {
        note(self.history.lock().unwrap().get_mut(name).expect("they are all there"));
    }

    fn through<S: Store>(&self, store: &Arc<S>) -> Visitor<S> {
        let Visitor { id, secret, .. } = self.visitor;
        Visitor { store: Arc::clone(store), id, secret }
    }
}

/// What everybody shares.
struct World {
    subjects: Vec<Mutex<Arc<Subject>>>,
    done: Mutex<Vec<Arc<Subject>>>,
    numbers: AtomicU64,
    /// The store of record is up, and everybody may know.
    is_sound: AtomicBool,
    stop: AtomicBool,
}

impl World {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn subject(&self) -> (usize, Arc<Subject>) {
        let place = usize::from(random::<1>()[0]) % SESSIONS;
        (place, Arc::clone(&self.subjects[place].lock().unwrap()))
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Reads, and says whether there was an answer.
async fn read<S: Store>(world: &World, store: &Arc<S>) -> bool {
    let (_, subject) = world.subject();
    let is_sound = world.is_sound.load(Ordering::SeqCst);
    let visitor = subject.through(store);
    let begun = Instant::now();
    let named: &[&'static str] = match random::<1>()[0] % 4 {
        0 => &NAMES[..1],
        1 => &NAMES[1..],
        _ => &NAMES,
    };
    let fields = if random::<1>()[0] < 32 { Projection::All } else { Projection::Named(named) };
    let answer = match visitor.store.load(visitor.credentials(), fields, None).await {
        Ok(answer) => answer,
        Err(error) => {
            let is_sound = is_sound && world.is_sound.load(Ordering::SeqCst);
            assert!(!is_sound, "a read failed although the store of record is up: {error:?}");
            return false;
        }
    };
    let span = Span { begun, ended: Instant::now() };
    let said = match answer {
        Lookup::Found(_) => [0, 0],
        Lookup::Ended { .. } => [1, 0],
        Lookup::Replaced { .. } => [0, 1],
        other => panic!("{other:?}"),
    };
    subject.note(ENDED, |register| register.read(said[0], span));
    if said[0] == 0 {
        subject.note(ROTATED, |register| register.read(said[1], span));
    }
    if let Lookup::Found(loaded) = answer {
        let named = if matches!(fields, Projection::All) { &NAMES } else { named };
        for name in named {
            let held = loaded.fields.iter().find(|field| field.name == *name);
            let held =
                held.map_or(0, |field| std::str::from_utf8(&field.value).unwrap().parse().unwrap());
            subject.note(name, |register| register.read(held, span));
        }
    }
    true
}

async fn write<S: Store>(world: &World, store: &Arc<S>) {
    let (place, subject) = world.subject();
    let visitor = subject.through(store);
    let choice = random::<1>()[0];
    let (name, value) = match choice {
        0..4 => (ENDED, 1),
        4..8 => (ROTATED, 1),
        _ => (NAMES[usize::from(choice) % 2], world.number()),
    };
    if value == 1 && name != ENDED && name != ROTATED {
        return;
    }
    subject.note(name, |register| register.begin(value));
    let confirmed = match name {
        ENDED => matches!(visitor.delete().await, Ok(Lookup::Found(()))),
        ROTATED => {
            let secret = SecretHash::from_bytes(random());
            applied(visitor.rotate(&secret).await)
        }
        name => applied(visitor.set(name, &value.to_string()).await),
    };
    if confirmed {
        subject.note(name, |register| register.confirm(value));
    }
    if name == ENDED || name == ROTATED {
        // Some go on with it for a while; then another session takes its place.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let next = Visitor::new(store);
        if next.create(None).await.is_ok() {
            let mut current = world.subjects[place].lock().unwrap();
            if Arc::ptr_eq(&current, &subject) {
                let ended = std::mem::replace(&mut *current, Arc::new(Subject::new(&next)));
                world.done.lock().unwrap().push(ended);
            }
        }
    }
}

fn applied(answer: Result<Lookup<Updated>, ruts::store::StoreError>) -> bool {
    match answer {
        Ok(answer) => matches!(answer, Lookup::Found(Updated::Applied { .. })),
        Err(error) => {
            let kinds = [StoreErrorKind::Unavailable, StoreErrorKind::Unknown];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            false
        }
    }
}

/// What happened.
#[derive(Debug, Default)]
struct Report {
    reads: usize,
    failed_reads: usize,
    writes: usize,
    hits: usize,
    violations: Vec<String>,
}

async fn run(
    tiers: &Tiers<Arc<Postgres>>,
    time: Duration,
    fault_of_caches: Fault,
    mut fault: impl AsyncFnMut(u32, &AtomicBool),
) -> Report {
    let hits = Arc::new(AtomicUsize::new(0));
    let mut stores: Vec<Arc<Layered<Faulty>>> = Vec::new();
    for _ in 0..PROCESSES {
        let route = tiers.route();
        let cold = PostgresStoreBuilder::new(tiers.postgres.pool(6), true)
            .schema_name(tiers.schema().name())
            .timeout(COLD_TIMEOUT)
            .cleanup_interval(None);
        let hot = Faulty::new(tiers.cache(&route).await, fault_of_caches, &hits);
        let store = LayeredStore::new(hot, cold.build().await.unwrap());
        let store = store.with_hot_timeout(HOT_TIMEOUT).with_cold_timeout(COLD_TIMEOUT * 2);
        stores.push(Arc::new(store));
    }
    let mut subjects = Vec::new();
    for _ in 0..SESSIONS {
        let visitor = Visitor::new(&stores[0]);
        visitor.create(None).await.unwrap();
        subjects.push(Mutex::new(Arc::new(Subject::new(&visitor))));
    }
    let world = Arc::new(World {
        subjects,
        done: Mutex::default(),
        numbers: AtomicU64::new(1),
        is_sound: AtomicBool::new(true),
        stop: AtomicBool::new(false),
    });
    let mut tasks: JoinSet<(usize, usize)> = JoinSet::new();
    for store in &stores {
        for _ in 0..2 {
            let (world, store) = (Arc::clone(&world), Arc::clone(store));
            tasks.spawn(async move {
                let mut failed = 0;
                while world.goes_on() {
                    failed += usize::from(!read(&world, &store).await);
                    tokio::task::yield_now().await;
                }
                (failed, 0)
            });
        }
        let (world, store) = (Arc::clone(&world), Arc::clone(store));
        tasks.spawn(async move {
            let mut writes = 0;
            while world.goes_on() {
                write(&world, &store).await;
                writes += 1;
                tokio::time::sleep(Duration::from_millis(u64::from(random::<1>()[0] % 8))).await;
            }
            (0, writes)
        });
    }
    let begun = Instant::now();
    for number in 0.. {
        if begun.elapsed() > time {
            break;
        }
        fault(number, &world.is_sound).await;
    }
    world.stop.store(true, Ordering::Relaxed);
    let mut report = Report::default();
    let told = tasks.join_all().await;
    report.hits = hits.load(Ordering::Relaxed);
    for (failed, writes) in told {
        report.failed_reads += failed;
        report.writes += writes;
    }
    let mut all = std::mem::take(&mut *world.done.lock().unwrap());
    all.extend(world.subjects.iter().map(|subject| Arc::clone(&subject.lock().unwrap())));
    for subject in all {
        for (name, register) in &*subject.history.lock().unwrap() {
            report.reads += register.count();
            let violations = register.violations();
            report.violations.extend(violations.into_iter().map(|what| format!("{name}: {what}")));
        }
    }
    report
}

fn tiers() -> Tiers<Arc<Postgres>> {
    let durable = ["fsync=on", "synchronous_commit=on", "full_page_writes=on"];
    Tiers::of(Redis::start(Flavour::Redis, &[]), Arc::new(Postgres::start(&durable)))
}

/// How long the soak takes, in seconds.
fn duration() -> Duration {
    let seconds = env::var("SOAK_SECONDS").map_or(60, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_wrong_while_everything_fails() {
    let tiers = tiers();
    let pause = |millis| tokio::time::sleep(Duration::from_millis(millis));
    let report = run(&tiers, duration(), Fault::Sound, async |number, is_sound| {
        pause(400 + u64::from(random::<1>()[0])).await;
        let (redis, postgres) = (&tiers.redis, &tiers.postgres);
        match number % 7 {
            0 => tokio::task::block_in_place(|| redis.command::<()>(&["FLUSHALL"])),
            1 => {
                tokio::task::block_in_place(|| redis.pause());
                pause(HOT_TIMEOUT.as_millis() as u64 + 300).await;
                tokio::task::block_in_place(|| redis.resume());
            }
            2 => {
                tokio::task::block_in_place(|| redis.kill());
                pause(500).await;
                tokio::task::block_in_place(|| redis.restart());
            }
            3 => tokio::task::block_in_place(|| redis.command::<()>(&["SAVE"])),
            // With what it saved a second ago.
            4 => tokio::task::block_in_place(|| {
                redis.kill();
                redis.restart();
            }),
            5 => tokio::task::block_in_place(|| {
                redis.command::<()>(&["CLIENT", "KILL", "TYPE", "normal"])
            }),
            _ => {
                is_sound.store(false, Ordering::SeqCst);
                tokio::task::block_in_place(|| postgres.kill());
                pause(200).await;
                tokio::task::block_in_place(|| postgres.restart());
                pause(2500).await;
                is_sound.store(true, Ordering::SeqCst);
            }
        }
    })
    .await;
    println!("{report:?}");
    assert_eq!(report.violations, [] as [String; 0]);
    assert!(report.reads > 1000 && report.writes > 100 && report.hits > 1000, "{report:?}");
}

/// The harness finds what a careless cache does, without any fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_careless_cache_is_found() {
    let tiers = tiers();
    let careless = Fault::Careless(Duration::from_millis(2));
    let report = run(&tiers, Duration::from_secs(4), careless, async |_, _| {
        tokio::time::sleep(Duration::from_millis(100)).await;
    })
    .await;
    println!("{} reads, {} violations", report.reads, report.violations.len());
    assert!(!report.violations.is_empty(), "{report:?}");
}
