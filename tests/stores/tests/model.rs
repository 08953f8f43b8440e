//! Runs random sequences of operations, to which every store must give the same answers as a model.
//!
//! The model keeps a [`SessionRecord`] for each session, which implements the rules of a session.
//! The model has one lock, no lists and a clock that moves 10 ms per operation.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard},
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
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        AbsoluteDeadline, AuthChange, CachePolicy, Change, Create, Credentials, Expiry, FieldWrite,
        ListedSession, Loaded, NewSignIn, PageRequest, Precondition, Projection, Refused, Renew,
        RevokeTarget, SessionMeta, SessionPage, SessionRecord, Store, StoreError, StoreErrorKind,
        StoreResult, TakeField, Touch, Update, Updated, Written,
    },
    token::{SecretHash, SessionId},
};
use ruts_tests_stores::backends::{self, Pair};
use ruts_tests_support::random;

const MINUTE: u64 = 60;
const NAMES: [&str; 3] = ["a", "b", "\u{fc}:{1}~"];
const VALUES: [&[u8]; 4] = [b"", b"one", b"!:two", b"\xff\0\r\n"];

const IDS: usize = 2;
const SECRETS: usize = 3;
const PRINCIPALS: usize = 2;

/// An operation. Ids, secrets and principals are numbers, which stand for random bytes in each run.
#[derive(Debug, Clone)]
struct Operation {
    id: usize,
    secret: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Create { idle: Option<Ttl>, absolute: Option<Ttl>, fields: Vec<Field>, who: Option<Who> },
    Load { names: Option<Vec<&'static str>>, touch: Option<Touch> },
    Update(Write),
    Take { name: &'static str, rotate: Option<usize>, touch: Option<Touch>, sign_out: bool },
    Delete,
    List(usize),
    Revoke(usize, Target),
}

#[derive(Debug, Clone)]
struct Field {
    name: &'static str,
    value: &'static [u8],
    ttl: Option<Ttl>,
    cache_policy: CachePolicy,
}

/// A principal and its assurance.
type Who = (usize, Assurance);

#[derive(Debug, Clone, Copy)]
enum Target {
    One(usize),
    AllExcept(Option<usize>),
}

#[derive(Debug, Clone)]
struct Write {
    changes: Vec<FieldChange>,
    precondition: Option<(&'static str, Option<&'static [u8]>)>,
    rotate: Option<usize>,
    absolute: Option<AbsoluteDeadline>,
    touch: Option<Touch>,
    /// The new secret, and whether the current one is old enough.
    renew: Option<(usize, bool)>,
    sign: Option<Sign>,
}

#[derive(Debug, Clone)]
enum FieldChange {
    Set(Field),
    Remove(&'static str),
    Expire(&'static str, Ttl),
}

#[derive(Debug, Clone)]
enum Sign {
    In { who: Who, keep_fields: bool, idle: Option<Ttl>, absolute: Option<Ttl> },
    Lapse(Assurance),
    Out,
}

/// Returns TTLs of whole hours, so that the duration of a run makes no difference.
fn ttl() -> impl Strategy<Value = Ttl> {
    (1..4_u64).prop_map(|hours| Ttl::from_secs(hours * 60 * MINUTE))
}

fn touch() -> impl Strategy<Value = Option<Touch>> {
    let after = select(vec![Duration::ZERO, Duration::from_secs(30 * MINUTE)]);
    option::of((ttl(), after).prop_map(|(idle, after)| Touch::new(idle, after)))
}

fn field() -> impl Strategy<Value = Field> {
    let policy = prop_oneof![
        Just(CachePolicy::Default),
        Just(CachePolicy::NoStore),
        Just(CachePolicy::Revalidate),
        ttl().prop_map(CachePolicy::MaxAge),
    ];
    (select(&NAMES[..]), select(&VALUES[..]), option::of(ttl()), policy)
        .prop_map(|(name, value, ttl, cache_policy)| Field { name, value, ttl, cache_policy })
}

fn field_change() -> impl Strategy<Value = FieldChange> {
    prop_oneof![
        3 => field().prop_map(FieldChange::Set),
        1 => select(&NAMES[..]).prop_map(FieldChange::Remove),
        1 => (select(&NAMES[..]), ttl()).prop_map(|(name, ttl)| FieldChange::Expire(name, ttl)),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let precondition = option::of((select(&NAMES[..]), option::of(select(&VALUES[..]))));
    let deadline = (ttl(), option::of(ttl()))
        .prop_map(|(from_now, from_creation)| AbsoluteDeadline::new(from_now, from_creation));
    let rotate = option::weighted(0.2, 0..SECRETS);
    let absolute = option::weighted(0.2, deadline);
    let renew = option::weighted(0.5, (0..SECRETS, prop::bool::weighted(0.8)));
    let sign_in = (who(), any::<bool>(), option::of(ttl()), option::of(ttl()));
    let sign = prop_oneof![
        3 => sign_in.prop_map(|(who, keep_fields, idle, absolute)| {
            Sign::In { who, keep_fields, idle, absolute }
        }),
        1 => select(&[Assurance::Remembered, Assurance::Aal1][..]).prop_map(Sign::Lapse),
        1 => Just(Sign::Out),
    ];
    let identity = (rotate, renew, option::weighted(0.3, sign));
    (vec(field_change(), 0..4), precondition, absolute, touch(), identity).prop_map(
        |(changes, precondition, absolute, touch, (rotate, renew, sign))| Write {
            changes,
            precondition,
            rotate,
            absolute,
            touch,
            renew,
            sign,
        },
    )
}

fn who() -> impl Strategy<Value = Who> {
    (0..PRINCIPALS, select(vec![Assurance::Remembered, Assurance::Aal1, Assurance::Aal3]))
}

fn create() -> impl Strategy<Value = Kind> {
    (option::of(ttl()), option::of(ttl()), vec(field(), 0..4), option::of(who()))
        .prop_map(|(idle, absolute, fields, who)| Kind::Create { idle, absolute, fields, who })
}

fn operation() -> impl Strategy<Value = Operation> {
    let names = option::of(subsequence(&NAMES[..], 0..=NAMES.len()));
    let target = prop_oneof![
        (0..IDS).prop_map(Target::One),
        option::of(0..IDS).prop_map(Target::AllExcept),
    ];
    let take = (select(&NAMES[..]), option::weighted(0.2, 0..SECRETS), touch(), any::<bool>());
    let kind = prop_oneof![
        3 => create(),
        8 => (names, touch()).prop_map(|(names, touch)| Kind::Load { names, touch }),
        8 => write().prop_map(Kind::Update),
        2 => take.prop_map(|(name, rotate, touch, sign_out)| {
            Kind::Take { name, rotate, touch, sign_out }
        }),
        1 => Just(Kind::Delete),
        2 => (0..PRINCIPALS).prop_map(Kind::List),
        1 => (0..PRINCIPALS, target).prop_map(|(principal, target)| {
            Kind::Revoke(principal, target)
        }),
    ];
    // One secret is used more often than the others, so that sessions accept most operations.
    let secret = prop_oneof![3 => Just(0), 1 => 1..SECRETS];
    (0..IDS, secret, kind).prop_map(|(id, secret, kind)| Operation { id, secret, kind })
}

/// Most sequences begin with creations.
fn sequence() -> impl Strategy<Value = Vec<Operation>> {
    let creations = vec(create(), 0..=IDS).prop_map(|kinds| {
        let creations = kinds.into_iter().enumerate();
        creations.map(|(id, kind)| Operation { id, secret: 0, kind }).collect::<Vec<_>>()
    });
    (creations, vec(operation(), 1..40)).prop_map(|(begin, then)| [begin, then].concat())
}

/// The comparable part of an answer. Times are rounded to ten minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Created,
    Exists,
    NotFound,
    Replaced,
    Ended,
    WasRevoked,
    Loaded {
        idle: Option<u64>,
        absolute: Option<u64>,
        fields: BTreeMap<String, ReadField>,
        who: Option<Who>,
        by_former_secret: bool,
    },
    NotDue,
    Listed(BTreeMap<usize, Assurance>),
    Revoked(BTreeSet<usize>),
    Applied {
        found: usize,
    },
    Conflict {
        current: Option<Bytes>,
    },
    Taken(Option<Bytes>),
    Deleted,
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ReadField {
    value: Bytes,
    ttl: Option<u64>,
    cache_policy: CachePolicy,
}

fn rounded(left: Duration) -> u64 {
    let ten = 10 * MINUTE;
    (left.as_secs() + ten / 2) / ten * ten
}

/// Sessions as the contract describes them.
#[derive(Default)]
struct Model(Mutex<State>);

#[derive(Default)]
struct State {
    records: BTreeMap<SessionId, SessionRecord>,
    now: Duration,
}

impl Model {
    fn next(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap();
        state.now += Duration::from_millis(10);
        state
    }

    /// Applies an operation to the record of a session.
    fn apply<T>(
        &self,
        id: &SessionId,
        operation: impl FnOnce(&mut SessionRecord, Duration) -> Result<T, Refused>,
    ) -> StoreResult<T> {
        let State { records, now } = &mut *self.next();
        Ok(records.get_mut(id).map_or(Err(Refused::NotFound), |record| operation(record, *now)))
    }
}

impl Store for Model {
    fn name(&self) -> &'static str {
        "model"
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        let Credentials { id, proof, .. } = credentials;
        self.apply(id, |record, now| record.load(proof, fields, touch, now))
    }

    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        let State { records, now } = &mut *self.next();
        if records.get(create.id).is_some_and(|record| record.is_retained(*now)) {
            return Err(StoreError::new("model", StoreErrorKind::Exists));
        }
        records.insert(*create.id, SessionRecord::new(&create, *now));
        Ok(Written::new(()))
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let Credentials { id, proof, .. } = credentials;
        self.apply(id, |record, now| record.update(proof, &update, now).map(Written::new))
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let Credentials { id, proof, .. } = credentials;
        self.apply(id, |record, now| record.take(proof, &take, now).map(Written::new))
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let Credentials { id, proof, .. } = credentials;
        self.apply(id, |record, now| record.delete(proof, now).map(Written::new))
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        let State { records, now } = &mut *self.next();
        Ok(records.get(id).and_then(|record| record.inspect(*now)))
    }

    async fn expiry(&self, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
        let State { records, now } = &mut *self.next();
        Ok(records.get(id).and_then(|record| record.expiry(*now)))
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        _: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let State { records, now } = &mut *self.next();
        let sessions = records.iter().filter_map(|(id, record)| {
            Some(ListedSession::new(*id, record.load_for(principal, fields, *now)?))
        });
        Ok(SessionPage::new(sessions.collect(), None))
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        let State { records, now } = &mut *self.next();
        let mut ended = Vec::new();
        for (id, record) in records {
            if target.includes(id) && record.belongs_to(principal, *now) {
                record.revoke(*now);
                ended.push(*id);
            }
        }
        Ok(Written::new(ended))
    }

    async fn revoke_everyone(&self) -> Result<Written<()>, StoreError> {
        let State { records, now } = &mut *self.next();
        records.values_mut().filter(|it| it.is_live(*now)).for_each(|it| it.revoke(*now));
        Ok(Written::new(()))
    }

    async fn delete_expired(&self, _: usize) -> Result<usize, StoreError> {
        Ok(0)
    }
}

/// A run of a sequence.
struct Run<F> {
    /// Returns the store of the next operation.
    next_store: F,
    /// Time in which a secret becomes old enough to be renewed.
    wait: Duration,
    ids: [SessionId; IDS],
    secrets: [SecretHash; SECRETS],
    principals: [PrincipalKey; PRINCIPALS],
}

fn on_pair<S: Store>(pair: &Pair<S>) -> Run<impl Fn() -> Arc<S>> {
    Run::new(|| pair.next(), Duration::from_millis(3))
}

fn on_model() -> Run<impl Fn() -> Arc<Model>> {
    let model = Arc::new(Model::default());
    Run::new(move || Arc::clone(&model), Duration::ZERO)
}

impl<S: Store, F: Fn() -> Arc<S>> Run<F> {
    fn new(next_store: F, wait: Duration) -> Self {
        Self {
            next_store,
            wait,
            ids: std::array::from_fn(|_| SessionId::from_bytes(random())),
            secrets: std::array::from_fn(|_| SecretHash::from_bytes(random())),
            principals: std::array::from_fn(|_| PrincipalKey::from_bytes(random())),
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
        let store = (self.next_store)();
        let (id, secret) = (&self.ids[operation.id], &self.secrets[operation.secret]);
        let credentials = Credentials::new(id, secret);
        match &operation.kind {
            Kind::Create { idle, absolute, fields, who } => {
                let values = values(fields);
                let writes: Vec<_> = fields.iter().zip(&values).map(field_write).collect();
                let create = Create::new(id, secret).idle(*idle).absolute(*absolute);
                let sign_in = who.as_ref().map(|who| self.new_sign_in(who));
                match store.create(create.fields(&writes).sign_in(sign_in)).await {
                    Ok(_) => Answer::Created,
                    Err(error) if error.kind() == StoreErrorKind::Exists => Answer::Exists,
                    Err(error) => Answer::Failed(error.to_string()),
                }
            }
            Kind::Load { names, touch } => {
                let all = Projection::All;
                let fields = names.as_ref().map_or(all, |names| Projection::Named(names));
                answer(store.load(credentials, fields, *touch).await, |loaded| self.loaded(loaded))
            }
            Kind::Update(write) => self.update(&*store, credentials, write).await,
            Kind::Take { name, rotate, touch, sign_out } => {
                let rotate = rotate.map(|secret| &self.secrets[secret]);
                let take = TakeField::new(name).rotate(rotate).touch(*touch).sign_out(*sign_out);
                answer_write(store.take(credentials, take).await, Answer::Taken)
            }
            Kind::Delete => answer_write(store.delete(credentials).await, |()| Answer::Deleted),
            Kind::List(principal) => {
                let (page, none) = (PageRequest::new(None, IDS), Projection::Named(&[]));
                match store.list_by_principal(&self.principals[*principal], page, none).await {
                    Ok(listed) => self.listed(&listed),
                    Err(error) => Answer::Failed(error.to_string()),
                }
            }
            Kind::Revoke(principal, target) => {
                let target = match target {
                    Target::One(one) => RevokeTarget::One(&self.ids[*one]),
                    Target::AllExcept(except) => {
                        RevokeTarget::All { except: except.map(|except| &self.ids[except]) }
                    }
                };
                match store.revoke(&self.principals[*principal], target).await {
                    Ok(revoked) if revoked.stale_for.is_none() => {
                        let numbers = revoked.answer.iter().map(|id| self.number(id));
                        Answer::Revoked(numbers.collect())
                    }
                    Ok(_) => Answer::Failed("stale".to_owned()),
                    Err(error) => Answer::Failed(error.to_string()),
                }
            }
        }
    }

    async fn update(&self, store: &S, credentials: Credentials<'_>, write: &Write) -> Answer {
        let sets: Vec<Field> = write.changes.iter().filter_map(FieldChange::set).collect();
        let values = values(&sets);
        let mut writes = sets.iter().zip(&values).map(field_write);
        let changes: Vec<Change<'_>> = (write.changes.iter())
            .map(|change| match change {
                FieldChange::Set(_) => Change::Set(
                    writes.next().expect("each change that sets a field should have a write"),
                ),
                FieldChange::Remove(name) => Change::Remove(name),
                FieldChange::Expire(name, ttl) => Change::Expire(name, *ttl),
            })
            .collect();
        let expected = write.precondition.and_then(|(_, value)| value).map(Bytes::from_static);
        let precondition =
            (write.precondition).map(|(name, _)| Precondition::new(name, expected.as_ref()));
        let renew = write.renew.map(|(secret, is_due)| {
            let every = if is_due { Ttl::from_millis(1) } else { Ttl::from_secs(3600) };
            Renew::new(&self.secrets[secret], every, Duration::from_secs(3600))
        });
        let sign = write.sign.as_ref().map(|sign| match sign {
            Sign::In { who, keep_fields, idle, absolute } => {
                let who = self.new_sign_in(who).keep_fields(*keep_fields);
                AuthChange::In { who, idle: *idle, absolute: *absolute }
            }
            Sign::Lapse(assurance) => AuthChange::Lapse(*assurance),
            Sign::Out => AuthChange::Out,
        });
        let update = Update::new(&changes)
            .precondition(precondition)
            .rotate(write.rotate.map(|secret| &self.secrets[secret]))
            .renew(renew)
            .absolute(write.absolute)
            .touch(write.touch)
            .auth_change(sign);
        if update.renew.is_some() && !self.wait.is_zero() {
            tokio::time::sleep(self.wait).await;
        }
        answer_write(store.update(credentials, update).await, |updated| match updated {
            Updated::Applied { found } => Answer::Applied { found },
            Updated::Conflict { current } => Answer::Conflict { current },
            Updated::NotDue => Answer::NotDue,
            other => Answer::Failed(format!("{other:?}")),
        })
    }

    fn loaded(&self, loaded: Loaded) -> Answer {
        let fields = loaded.fields.into_iter().map(|field| {
            let (value, ttl) = (field.value, field.ttl.map(rounded));
            let read = ReadField { value, ttl, cache_policy: field.cache_policy };
            (field.name.to_string(), read)
        });
        let who = loaded.meta.signed_in.map(|signed_in| {
            let is_it = |key: &PrincipalKey| *key == signed_in.principal;
            let principal =
                self.principals.iter().position(is_it).expect("the principal should be known");
            (principal, signed_in.assurance)
        });
        Answer::Loaded {
            idle: loaded.meta.idle_remaining.map(rounded),
            absolute: loaded.meta.absolute_remaining.map(rounded),
            fields: fields.collect(),
            who,
            by_former_secret: loaded.meta.by_former_secret,
        }
    }

    fn listed(&self, page: &SessionPage) -> Answer {
        let sessions = page.sessions.iter().map(|listed| {
            let signed_in =
                listed.loaded.meta.signed_in.expect("the session should have a principal");
            (self.number(&listed.id), signed_in.assurance)
        });
        Answer::Listed(sessions.collect())
    }

    fn number(&self, id: &SessionId) -> usize {
        self.ids.iter().position(|known| known == id).expect("the id should be known")
    }

    fn new_sign_in(&self, (principal, assurance): &Who) -> NewSignIn<'_> {
        NewSignIn::new(&self.principals[*principal], *assurance)
    }
}

impl FieldChange {
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

fn field_write<'a>((field, value): (&'a Field, &'a Bytes)) -> FieldWrite<'a> {
    FieldWrite::new(field.name, value).ttl(field.ttl).cache_policy(field.cache_policy)
}

fn answer<T>(
    answer: Result<Result<T, Refused>, impl Display>,
    found: impl FnOnce(T) -> Answer,
) -> Answer {
    match answer {
        Ok(Ok(answer)) => found(answer),
        Ok(Err(Refused::Replaced { .. })) => Answer::Replaced,
        Ok(Err(Refused::Deleted { .. })) => Answer::Ended,
        Ok(Err(Refused::Revoked)) => Answer::WasRevoked,
        Ok(Err(Refused::NotFound)) => Answer::NotFound,
        Ok(Err(other)) => Answer::Failed(format!("{other:?}")),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

fn answer_write<T>(
    written: Result<Result<Written<T>, Refused>, impl Display>,
    found: impl FnOnce(T) -> Answer,
) -> Answer {
    answer(written, |written| match written.stale_for {
        None => found(written.answer),
        Some(_) => Answer::Failed("stale".to_owned()),
    })
}

macro_rules! every_store {
    ($($backend:ident),+ $(,)?) => {
        // proves: ASVS-7.3.2
        #[test]
        fn every_store_answers_as_the_model() {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            $(let $backend = runtime.block_on(backends::$backend());)+
            let config = Config { failure_persistence: None, cases: 200, ..Config::default() };
            let outcome = TestRunner::new(config).run(&sequence(), |operations| {
                runtime.block_on(async {
                    let expected = on_model().answers(&operations).await;
                    let ($($backend),+) = ($(on_pair(&$backend)),+);
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
    batched_redis,
    batched_valkey,
    batched_postgres,
    cluster_through_fred,
    cluster_through_redis_rs,
    postgres,
    postgres_through_a_pooler,
    mysql,
    redis_over_mysql,
    redis_over_postgres,
    valkey_over_postgres,
    batched_redis_over_postgres,
    memory_over_postgres,
);

/// The sequences are always the same, so that no run fails by chance.
#[tokio::test]
async fn the_sequences_produce_every_answer_often() {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut runner = TestRunner::deterministic();
    let sequences = sequence();
    for _ in 0..200 {
        let operations = sequences.new_tree(&mut runner).unwrap().current();
        for answer in on_model().answers(&operations).await {
            let name = match answer {
                Answer::Created => "created",
                Answer::Exists => "exists",
                Answer::NotFound => "not found",
                Answer::Replaced => "replaced",
                Answer::Ended => "ended",
                Answer::WasRevoked => "was revoked",
                Answer::Loaded { by_former_secret: true, .. } => "loaded by a former secret",
                Answer::Loaded { who: Some(_), .. } => "loaded with a principal",
                Answer::Loaded { .. } => "loaded",
                Answer::Applied { found: 0 } => "applied",
                Answer::Applied { .. } => "applied to a field that was found",
                Answer::Conflict { .. } => "conflict",
                Answer::Taken(None) => "nothing taken",
                Answer::Taken(Some(_)) => "taken",
                Answer::Deleted => "deleted",
                Answer::NotDue => "not due",
                Answer::Listed(sessions) if sessions.is_empty() => "nothing listed",
                Answer::Listed(_) => "listed",
                Answer::Revoked(sessions) if sessions.is_empty() => "nothing revoked",
                Answer::Revoked(_) => "revoked",
                Answer::Failed(text) => panic!("the model failed: {text}"),
            };
            *counts.entry(name).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), 20, "{counts:?}");
    assert!(counts.values().all(|count| *count >= 20), "{counts:?}");
}
