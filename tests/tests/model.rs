//! Random sequences of operations: every store gives every answer that a plain model gives.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use bytes::Bytes;
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use ruts::{
    Handle, Hot, SecretHash, Ttl,
    store::{
        Access, Change, Create, Deadline, Expect, Fields, Lookup, Put, Store, StoreErrorKind, Take,
        Touch, Update, Updated,
    },
};
use ruts_tests::{
    backends::{self, Pair},
    random,
};

const MINUTE: u64 = 60;
const NAMES: [&str; 3] = ["a", "b", "\u{fc}:{1}~"];
const VALUES: [&[u8]; 4] = [b"", b"one", b"!:two", b"\xff\0\r\n"];

#[derive(Debug, Clone)]
struct Field {
    name: &'static str,
    value: &'static [u8],
    ttl: Option<Ttl>,
    hot: Hot,
}

#[derive(Debug, Clone)]
enum Edit {
    Set(Field),
    Remove(&'static str),
    Expire(&'static str, Ttl),
}

/// Handles and secrets are numbers, which stand for other random bytes in every run.
#[derive(Debug, Clone)]
struct Operation {
    handle: usize,
    secret: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Create { idle: Option<Ttl>, absolute: Option<Ttl>, fields: Vec<Field> },
    Load { names: Option<Vec<&'static str>>, touch: Option<Touch> },
    Update(Writing),
    Take { name: &'static str, rotate: Option<usize>, touch: Option<Touch> },
    Delete,
}

#[derive(Debug, Clone)]
struct Writing {
    edits: Vec<Edit>,
    expect: Option<(&'static str, Option<&'static [u8]>)>,
    rotate: Option<usize>,
    absolute: Option<Deadline>,
    touch: Option<Touch>,
}

/// Whole hours, so that the moments that pass during a run decide nothing.
fn ttl() -> impl Strategy<Value = Ttl> {
    (1..4_u64).prop_map(|hours| Ttl::from_secs(hours * 60 * MINUTE))
}

fn touch() -> impl Strategy<Value = Option<Touch>> {
    let after = select(vec![Duration::ZERO, Duration::from_secs(30 * MINUTE)]);
    option::of((ttl(), after).prop_map(|(idle, after)| Touch { idle, after }))
}

fn field() -> impl Strategy<Value = Field> {
    let hot = prop_oneof![
        Just(Hot::Auto),
        Just(Hot::Never),
        Just(Hot::Checked),
        ttl().prop_map(Hot::For),
    ];
    (select(&NAMES[..]), select(&VALUES[..]), option::of(ttl()), hot)
        .prop_map(|(name, value, ttl, hot)| Field { name, value, ttl, hot })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => field().prop_map(Edit::Set),
        1 => select(&NAMES[..]).prop_map(Edit::Remove),
        1 => (select(&NAMES[..]), ttl()).prop_map(|(name, ttl)| Edit::Expire(name, ttl)),
    ]
}

fn writing() -> impl Strategy<Value = Writing> {
    let expect = option::of((select(&NAMES[..]), option::of(select(&VALUES[..]))));
    let deadline = (ttl(), option::of(ttl()))
        .prop_map(|(from_now, from_creation)| Deadline { from_now, from_creation });
    let rotate = option::weighted(0.2, 0..SECRETS);
    (vec(edit(), 0..4), expect, rotate, option::weighted(0.2, deadline), touch()).prop_map(
        |(edits, expect, rotate, absolute, touch)| Writing {
            edits,
            expect,
            rotate,
            absolute,
            touch,
        },
    )
}

const HANDLES: usize = 2;
const SECRETS: usize = 3;

fn operation() -> impl Strategy<Value = Operation> {
    let names = option::of(subsequence(&NAMES[..], 0..=NAMES.len()));
    let kind = prop_oneof![
        3 => (option::of(ttl()), option::of(ttl()), vec(field(), 0..4))
            .prop_map(|(idle, absolute, fields)| Kind::Create { idle, absolute, fields }),
        4 => (names, touch()).prop_map(|(names, touch)| Kind::Load { names, touch }),
        6 => writing().prop_map(Kind::Update),
        2 => (select(&NAMES[..]), option::weighted(0.2, 0..SECRETS), touch())
            .prop_map(|(name, rotate, touch)| Kind::Take { name, rotate, touch }),
        1 => Just(Kind::Delete),
    ];
    // One secret is used more than the others, so that sessions get somewhere.
    let secret = prop_oneof![3 => Just(0), 1 => 1..SECRETS];
    (0..HANDLES, secret, kind).prop_map(|(handle, secret, kind)| Operation { handle, secret, kind })
}

/// What can be compared of an answer. Times are rounded to ten minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Created,
    Exists,
    NotFound,
    Replaced,
    Ended,
    Loaded { idle: Option<u64>, absolute: Option<u64>, fields: BTreeMap<String, Held> },
    Applied { found: usize },
    Conflict { current: Option<Bytes> },
    Taken(Option<Bytes>),
    Deleted,
    Broken(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    value: Bytes,
    ttl: Option<u64>,
    hot: Hot,
}

fn rounded(left: Duration) -> u64 {
    let ten = 10 * MINUTE;
    (left.as_secs() + ten / 2) / ten * ten
}

/// Sessions as the contract describes them, in a world where no time passes.
#[derive(Default)]
struct Model(HashMap<usize, Session>);

struct Session {
    secret: usize,
    replaced: Option<usize>,
    ended: bool,
    idle: Option<Ttl>,
    absolute: Option<Ttl>,
    fields: BTreeMap<String, Held>,
}

impl Session {
    fn set(&mut self, field: &Field) {
        let ttl = field.ttl.map(|ttl| rounded(ttl.as_duration()));
        let held = Held { value: Bytes::from_static(field.value), ttl, hot: field.hot };
        self.fields.insert(field.name.to_owned(), held);
    }

    fn touch(&mut self, touch: Option<Touch>) {
        if let (Some(Touch { idle, after }), Some(left)) = (touch, self.idle)
            && idle.as_duration().saturating_sub(left.as_duration()) >= after
        {
            self.idle = Some(idle);
        }
    }

    fn rotate(&mut self, rotate: Option<usize>) {
        if let Some(secret) = rotate.filter(|secret| *secret != self.secret) {
            self.replaced = Some(self.secret);
            self.secret = secret;
        }
    }

    fn value(&self, name: &str) -> Option<Bytes> {
        self.fields.get(name).map(|held| held.value.clone())
    }
}

impl Model {
    fn answer(&mut self, operation: &Operation) -> Answer {
        let Operation { handle, secret, kind } = operation;
        if let Kind::Create { idle, absolute, fields } = kind {
            return self.create(*handle, *secret, *idle, *absolute, fields);
        }
        let session = match self.0.get_mut(handle) {
            None => return Answer::NotFound,
            Some(session) if session.secret == *secret => session,
            Some(session) if session.replaced == Some(*secret) => return Answer::Replaced,
            Some(_) => return Answer::NotFound,
        };
        if session.ended {
            return Answer::Ended;
        }
        match kind {
            Kind::Create { .. } => unreachable!("answered above"),
            Kind::Load { names, touch } => {
                session.touch(*touch);
                let mut fields = session.fields.clone();
                if let Some(names) = names {
                    fields.retain(|name, _| names.contains(&&**name));
                }
                let left = |ttl: Option<Ttl>| ttl.map(|ttl| rounded(ttl.as_duration()));
                Answer::Loaded {
                    idle: left(session.idle),
                    absolute: left(session.absolute),
                    fields,
                }
            }
            Kind::Update(writing) => update(session, writing),
            Kind::Take { name, rotate, touch } => {
                session.touch(*touch);
                session.rotate(*rotate);
                Answer::Taken(session.fields.remove(*name).map(|held| held.value))
            }
            Kind::Delete => {
                session.ended = true;
                Answer::Deleted
            }
        }
    }

    fn create(
        &mut self,
        handle: usize,
        secret: usize,
        idle: Option<Ttl>,
        absolute: Option<Ttl>,
        fields: &[Field],
    ) -> Answer {
        if self.0.contains_key(&handle) {
            return Answer::Exists;
        }
        let (replaced, ended) = (None, false);
        let mut session =
            Session { secret, replaced, ended, idle, absolute, fields: BTreeMap::new() };
        fields.iter().for_each(|field| session.set(field));
        self.0.insert(handle, session);
        Answer::Created
    }
}

fn update(session: &mut Session, writing: &Writing) -> Answer {
    if let Some((name, expected)) = writing.expect {
        let current = session.value(name);
        if current.as_deref() != expected {
            return Answer::Conflict { current };
        }
    }
    session.touch(writing.touch);
    session.rotate(writing.rotate);
    if let Some(Deadline { from_now, from_creation }) = writing.absolute {
        session.absolute = from_creation.into_iter().chain([from_now]).min();
    }
    let mut found = 0;
    for edit in &writing.edits {
        match edit {
            Edit::Set(field) => session.set(field),
            Edit::Remove(name) => found += usize::from(session.fields.remove(*name).is_some()),
            Edit::Expire(name, ttl) => {
                if let Some(held) = session.fields.get_mut(*name) {
                    held.ttl = Some(rounded(ttl.as_duration()));
                    found += 1;
                }
            }
        }
    }
    Answer::Applied { found }
}

/// A run against a store.
struct Run<'a, S> {
    pair: &'a Pair<S>,
    handles: [Handle; HANDLES],
    secrets: [SecretHash; SECRETS],
}

impl<'a, S: Store> Run<'a, S> {
    fn new(pair: &'a Pair<S>) -> Self {
        Self {
            pair,
            handles: std::array::from_fn(|_| Handle::from_bytes(random())),
            secrets: std::array::from_fn(|_| SecretHash::from_bytes(random())),
        }
    }

    async fn answers(&self, operations: &[Operation]) -> Vec<Answer> {
        let mut answers = Vec::new();
        for operation in operations {
            answers.push(self.answer(operation).await);
        }
        answers
    }

    async fn answer(&self, operation: &Operation) -> Answer {
        let store = self.pair.next();
        let handle = &self.handles[operation.handle];
        let secret = &self.secrets[operation.secret];
        let access = Access { handle, secret };
        match &operation.kind {
            Kind::Create { idle, absolute, fields } => {
                let values = values(fields);
                let puts: Vec<Put<'_>> = fields.iter().zip(&values).map(put).collect();
                let (idle, absolute) = (*idle, *absolute);
                let sign_in = None;
                let create = Create { handle, secret, idle, absolute, fields: &puts, sign_in };
                match store.create(create).await {
                    Ok(()) => Answer::Created,
                    Err(error) if error.kind() == StoreErrorKind::Exists => Answer::Exists,
                    Err(error) => Answer::Broken(error.to_string()),
                }
            }
            Kind::Load { names, touch } => {
                let fields = names.as_ref().map_or(Fields::All, |names| Fields::Named(names));
                answered(store.load(access, fields, *touch).await, |loaded| {
                    let held = loaded.fields.into_iter().map(|field| {
                        let (value, ttl, hot) = (field.value, field.ttl.map(rounded), field.hot);
                        (field.name, Held { value, ttl, hot })
                    });
                    Answer::Loaded {
                        idle: loaded.meta.idle.map(rounded),
                        absolute: loaded.meta.absolute.map(rounded),
                        fields: held.collect(),
                    }
                })
            }
            Kind::Update(writing) => {
                let sets: Vec<Field> = writing.edits.iter().filter_map(Edit::set).collect();
                let values = values(&sets);
                let mut puts = sets.iter().zip(&values).map(put);
                let changes: Vec<Change<'_>> = (writing.edits.iter())
                    .map(|edit| match edit {
                        Edit::Set(_) => Change::Set(puts.next().expect("one for each")),
                        Edit::Remove(name) => Change::Remove(name),
                        Edit::Expire(name, ttl) => Change::Expire(name, *ttl),
                    })
                    .collect();
                let expected = writing.expect.and_then(|(_, value)| value).map(Bytes::from_static);
                let update = Update {
                    changes: &changes,
                    expect: writing
                        .expect
                        .map(|(name, _)| Expect { name, value: expected.as_ref() }),
                    rotate: writing.rotate.map(|secret| &self.secrets[secret]),
                    absolute: writing.absolute,
                    touch: writing.touch,
                    ..Update::default()
                };
                answered(store.update(access, update).await, |updated| match updated {
                    Updated::Applied { found } => Answer::Applied { found },
                    Updated::Conflict { current } => Answer::Conflict { current },
                    Updated::NotDue => Answer::Broken("not due".to_owned()),
                })
            }
            Kind::Take { name, rotate, touch } => {
                let rotate = rotate.map(|secret| &self.secrets[secret]);
                let take = Take { name, rotate, touch: *touch, sign_out: false };
                answered(store.take(access, take).await, Answer::Taken)
            }
            Kind::Delete => answered(store.delete(access).await, |()| Answer::Deleted),
        }
    }
}

impl Edit {
    fn set(&self) -> Option<Field> {
        match self {
            Self::Set(field) => Some(field.clone()),
            Self::Remove(_) | Self::Expire(..) => None,
        }
    }
}

fn values(fields: &[Field]) -> Vec<Bytes> {
    fields.iter().map(|field| Bytes::from_static(field.value)).collect()
}

fn put<'a>((field, value): (&'a Field, &'a Bytes)) -> Put<'a> {
    Put { name: field.name, value, ttl: field.ttl, hot: field.hot }
}

fn answered<T>(
    answer: Result<Lookup<T>, impl fmt::Display>,
    found: impl FnOnce(T) -> Answer,
) -> Answer {
    match answer {
        Ok(Lookup::Found(it)) => found(it),
        Ok(Lookup::Unconfirmed { .. }) => Answer::Broken("unconfirmed".to_owned()),
        Ok(Lookup::Replaced { .. }) => Answer::Replaced,
        Ok(Lookup::Ended { .. }) => Answer::Ended,
        Ok(Lookup::NotFound) => Answer::NotFound,
        Err(error) => Answer::Broken(error.to_string()),
    }
}

macro_rules! every_store {
    ($($backend:ident),+ $(,)?) => {
        // proves: ASVS-7.3.2
        #[test]
        fn every_store_answers_as_the_model() {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            $(let $backend = runtime.block_on(backends::$backend());)+
            let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 200, ..Config::default() });
            let sequences = vec(operation(), 1..40);
            let outcome = runner.run(&sequences, |operations| {
                let mut model = Model::default();
                let expected: Vec<Answer> =
                    operations.iter().map(|operation| model.answer(operation)).collect();
                runtime.block_on(async {
                    let ($($backend),+) =
                        ($(Run::new(&$backend)),+);
                    let ($($backend),+) = tokio::join!($($backend.answers(&operations)),+);
                    $(prop_assert_eq!(&$backend, &expected, "{}", stringify!($backend));)+
                    Ok(())
                })
            });
            if let Err(error) = outcome {
                panic!("{error}");
            }
        }
    };
}

every_store!(
    memory,
    redis_through_fred,
    redis_through_redis_rs,
    valkey_through_fred,
    cluster_through_fred,
    cluster_through_redis_rs,
    postgres,
    postgres_through_a_pooler,
    redis_over_postgres,
    valkey_over_postgres,
    memory_over_postgres,
);

/// The sequences reach what they are to reach: no answer is rare.
#[test]
fn the_model_meets_every_answer() {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, cases: 200, ..Config::default() });
    let sequences = vec(operation(), 1..40);
    for _ in 0..200 {
        let operations = sequences.new_tree(&mut runner).unwrap().current();
        let mut model = Model::default();
        for operation in &operations {
            let name = match model.answer(operation) {
                Answer::Created => "created",
                Answer::Exists => "exists",
                Answer::NotFound => "not found",
                Answer::Replaced => "replaced",
                Answer::Ended => "ended",
                Answer::Loaded { .. } => "loaded",
                Answer::Applied { found: 0 } => "applied",
                Answer::Applied { .. } => "applied and found",
                Answer::Conflict { .. } => "conflict",
                Answer::Taken(None) => "nothing taken",
                Answer::Taken(Some(_)) => "taken",
                Answer::Deleted => "deleted",
                Answer::Broken(_) => "broken",
            };
            *counts.entry(name).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), 12, "{counts:?}");
    assert!(counts.values().all(|count| *count >= 20), "{counts:?}");
}
