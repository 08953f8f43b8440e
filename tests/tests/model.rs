//! Random sequences of operations: every store gives every answer that a plain model gives.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
    Assurance, CachePolicy, PrincipalKey, SecretHash, SessionId, Ttl,
    store::{
        AbsoluteDeadline, AuthChange, Change, Create, Credentials, FieldWrite, Lookup, NewSignIn,
        PageRequest, Precondition, Projection, Renew, RevokeTarget, Store, StoreErrorKind,
        TakeField, Touch, Update, Updated,
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
    hot: CachePolicy,
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
    id: usize,
    secret: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Create { idle: Option<Ttl>, absolute: Option<Ttl>, fields: Vec<Field>, who: Option<Who> },
    Load { names: Option<Vec<&'static str>>, touch: Option<Touch> },
    Update(Writing),
    TakeField { name: &'static str, rotate: Option<usize>, touch: Option<Touch>, sign_out: bool },
    Delete,
    Find(usize),
    Revoke(usize, Meant),
}

/// A principal, which is a number too, and an assurance.
type Who = (usize, Assurance);

#[derive(Debug, Clone, Copy)]
enum Meant {
    One(usize),
    AllBut(Option<usize>),
}

#[derive(Debug, Clone)]
enum Signing {
    In(Who, Option<Ttl>, Option<Ttl>),
    Out,
}

#[derive(Debug, Clone)]
struct Writing {
    edits: Vec<Edit>,
    expect: Option<(&'static str, Option<&'static [u8]>)>,
    rotate: Option<usize>,
    absolute: Option<AbsoluteDeadline>,
    touch: Option<Touch>,
    /// The new secret, and whether the old one is old enough.
    renew: Option<(usize, bool)>,
    signing: Option<Signing>,
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
        Just(CachePolicy::Auto),
        Just(CachePolicy::Never),
        Just(CachePolicy::Checked),
        ttl().prop_map(CachePolicy::For),
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
        .prop_map(|(from_now, from_creation)| AbsoluteDeadline { from_now, from_creation });
    let rotate = option::weighted(0.2, 0..SECRETS);
    let absolute = option::weighted(0.2, deadline);
    let renew = option::weighted(0.5, (0..SECRETS, prop::bool::weighted(0.8)));
    let signing = prop_oneof![
        3 => (who(), option::of(ttl()), option::of(ttl()))
            .prop_map(|(who, idle, absolute)| Signing::In(who, idle, absolute)),
        1 => Just(Signing::Out),
    ];
    let identity = (rotate, renew, option::weighted(0.3, signing));
    (vec(edit(), 0..4), expect, absolute, touch(), identity).prop_map(
        |(edits, expect, absolute, touch, (rotate, renew, signing))| Writing {
            edits,
            expect,
            rotate,
            absolute,
            touch,
            renew,
            signing,
        },
    )
}

fn who() -> impl Strategy<Value = Who> {
    (0..PRINCIPALS, select(vec![Assurance::Remembered, Assurance::Aal1, Assurance::Aal3]))
}

const HANDLES: usize = 2;
const SECRETS: usize = 3;
const PRINCIPALS: usize = 2;

fn operation() -> impl Strategy<Value = Operation> {
    let names = option::of(subsequence(&NAMES[..], 0..=NAMES.len()));
    let meant = prop_oneof![
        (0..HANDLES).prop_map(Meant::One),
        option::of(0..HANDLES).prop_map(Meant::AllBut),
    ];
    let kind = prop_oneof![
        3 => (option::of(ttl()), option::of(ttl()), vec(field(), 0..4), option::of(who()))
            .prop_map(|(idle, absolute, fields, who)| Kind::Create { idle, absolute, fields, who }),
        8 => (names, touch()).prop_map(|(names, touch)| Kind::Load { names, touch }),
        8 => writing().prop_map(Kind::Update),
        2 => (select(&NAMES[..]), option::weighted(0.2, 0..SECRETS), touch(), any::<bool>())
            .prop_map(|(name, rotate, touch, sign_out)| Kind::TakeField { name, rotate, touch, sign_out }),
        1 => Just(Kind::Delete),
        2 => (0..PRINCIPALS).prop_map(Kind::Find),
        1 => (0..PRINCIPALS, meant).prop_map(|(principal, meant)| Kind::Revoke(principal, meant)),
    ];
    // One secret is used more than the others, so that sessions get somewhere.
    let secret = prop_oneof![3 => Just(0), 1 => 1..SECRETS];
    (0..HANDLES, secret, kind).prop_map(|(id, secret, kind)| Operation { id, secret, kind })
}

/// Both sessions begin, mostly, and then anything happens.
fn sequence() -> impl Strategy<Value = Vec<Operation>> {
    let begin = (option::of(ttl()), option::of(ttl()), vec(field(), 0..3), option::of(who()));
    let begin = vec(begin, 0..=HANDLES).prop_map(|sessions| {
        let creations = sessions.into_iter().enumerate();
        creations
            .map(|(id, (idle, absolute, fields, who))| Operation {
                id,
                secret: 0,
                kind: Kind::Create { idle, absolute, fields, who },
            })
            .collect::<Vec<_>>()
    });
    (begin, vec(operation(), 1..40)).prop_map(|(begin, then)| [begin, then].concat())
}

/// What can be compared of an answer. Times are rounded to ten minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Created,
    Exists,
    NotFound,
    Replaced,
    Ended,
    Loaded {
        idle: Option<u64>,
        absolute: Option<u64>,
        fields: BTreeMap<String, Held>,
        who: Option<Who>,
        by_former: bool,
    },
    NotDue,
    Found(BTreeMap<usize, Assurance>),
    Revoked(BTreeSet<usize>),
    Applied {
        found: usize,
    },
    Conflict {
        current: Option<Bytes>,
    },
    Taken(Option<Bytes>),
    Deleted,
    Broken(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    value: Bytes,
    ttl: Option<u64>,
    hot: CachePolicy,
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
    grace: Grace,
    ended: bool,
    idle: Option<Ttl>,
    absolute: Option<Ttl>,
    latest: Option<Ttl>,
    who: Option<Who>,
    fields: BTreeMap<String, Held>,
}

/// What a replaced secret is good for. A grace that has begun does not end: no time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grace {
    Over,
    Pending,
    Begun,
}

/// With which secret a session was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    Own,
    Former,
    Late,
}

impl Session {
    fn open(&self, secret: usize) -> Result<Opened, Answer> {
        let opened = match self.grace {
            _ if self.secret == secret => Opened::Own,
            _ if self.replaced != Some(secret) => return Err(Answer::NotFound),
            Grace::Over => return Err(Answer::Replaced),
            Grace::Pending => Opened::Former,
            Grace::Begun => Opened::Late,
        };
        if self.ended { Err(Answer::Ended) } else { Ok(opened) }
    }

    fn confirm(&mut self, opened: Opened) {
        if opened == Opened::Own && self.grace == Grace::Pending {
            self.grace = Grace::Begun;
        }
    }

    fn is_of(&self, principal: usize) -> bool {
        !self.ended && self.who.is_some_and(|(who, _)| who == principal)
    }

    fn end(&mut self) {
        self.ended = true;
    }

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

    fn rotate(&mut self, presented: usize, rotate: Option<usize>, grace: Grace) {
        if let Some(secret) = rotate.filter(|secret| *secret != self.secret) {
            self.replaced = Some(presented);
            self.secret = secret;
            self.grace = grace;
        }
    }

    fn value(&self, name: &str) -> Option<Bytes> {
        self.fields.get(name).map(|held| held.value.clone())
    }
}

impl Model {
    fn answer(&mut self, operation: &Operation) -> Answer {
        let Operation { id, secret, kind } = operation;
        match kind {
            Kind::Create { idle, absolute, fields, who } => {
                return self.create(*id, *secret, (*idle, *absolute), fields, *who);
            }
            Kind::Find(principal) => {
                let theirs = self.0.iter().filter(|(_, session)| session.is_of(*principal));
                let assurance =
                    |session: &Session| session.who.map_or(Assurance::Remembered, |(_, how)| how);
                return Answer::Found(
                    theirs.map(|(id, session)| (*id, assurance(session))).collect(),
                );
            }
            Kind::Revoke(principal, meant) => return self.revoke(*principal, *meant),
            Kind::Load { .. } | Kind::Update(_) | Kind::TakeField { .. } | Kind::Delete => {}
        }
        let Some(session) = self.0.get_mut(id) else { return Answer::NotFound };
        let opened = match session.open(*secret) {
            Ok(opened) => opened,
            Err(answer) => return answer,
        };
        match kind {
            Kind::Create { .. } | Kind::Find(_) | Kind::Revoke(..) => {
                unreachable!("answered above")
            }
            Kind::Load { names, touch } => {
                if opened != Opened::Late && touch.is_some() {
                    session.confirm(opened);
                    session.touch(*touch);
                }
                let mut fields = session.fields.clone();
                if let Some(names) = names {
                    fields.retain(|name, _| names.contains(&&**name));
                }
                let left = |ttl: Option<Ttl>| ttl.map(|ttl| rounded(ttl.as_duration()));
                Answer::Loaded {
                    idle: left(session.idle),
                    absolute: left(session.absolute),
                    fields,
                    who: session.who,
                    by_former: opened != Opened::Own,
                }
            }
            Kind::Update(writing) => update(session, *secret, opened, writing),
            Kind::TakeField { name, rotate, touch, sign_out } => {
                if opened == Opened::Late && (rotate.is_some() || *sign_out) {
                    return Answer::Replaced;
                }
                session.confirm(opened);
                if opened != Opened::Late {
                    session.touch(*touch);
                }
                session.rotate(*secret, *rotate, Grace::Over);
                if *sign_out {
                    session.who = None;
                }
                Answer::Taken(session.fields.remove(*name).map(|held| held.value))
            }
            Kind::Delete => {
                session.end();
                Answer::Deleted
            }
        }
    }

    fn revoke(&mut self, principal: usize, meant: Meant) -> Answer {
        let mut ended = BTreeSet::new();
        self.0.retain(|id, session| {
            let is_meant = match meant {
                Meant::One(one) => *id == one,
                Meant::AllBut(except) => Some(*id) != except,
            };
            let is_theirs = is_meant && session.is_of(principal);
            if is_theirs {
                ended.insert(*id);
            }
            !is_theirs
        });
        Answer::Revoked(ended)
    }

    fn create(
        &mut self,
        id: usize,
        secret: usize,
        (idle, absolute): (Option<Ttl>, Option<Ttl>),
        fields: &[Field],
        who: Option<Who>,
    ) -> Answer {
        if self.0.contains_key(&id) {
            return Answer::Exists;
        }
        let mut session = Session {
            secret,
            replaced: None,
            grace: Grace::Over,
            ended: false,
            idle,
            absolute,
            latest: absolute.filter(|_| who.is_some()),
            who,
            fields: BTreeMap::new(),
        };
        fields.iter().for_each(|field| session.set(field));
        self.0.insert(id, session);
        Answer::Created
    }
}

fn update(session: &mut Session, presented: usize, opened: Opened, writing: &Writing) -> Answer {
    let is_more = writing.rotate.is_some()
        || writing.renew.is_some()
        || writing.absolute.is_some()
        || writing.signing.is_some();
    if opened == Opened::Late && is_more {
        return Answer::Replaced;
    }
    session.confirm(opened);
    if writing.renew.is_some_and(|(_, is_due)| !is_due) {
        return Answer::NotDue;
    }
    if let Some((name, expected)) = writing.expect {
        let current = session.value(name);
        if current.as_deref() != expected {
            return Answer::Conflict { current };
        }
    }
    if opened != Opened::Late {
        session.touch(writing.touch);
    }
    session.rotate(presented, writing.renew.map(|(secret, _)| secret), Grace::Pending);
    session.rotate(presented, writing.rotate, Grace::Over);
    match writing.signing {
        Some(Signing::In(who, idle, absolute)) => {
            (session.idle, session.absolute, session.latest) = (idle, absolute, absolute);
            session.who = Some(who);
        }
        Some(Signing::Out) => session.who = None,
        None => {}
    }
    if let Some(AbsoluteDeadline { from_now, from_creation }) = writing.absolute {
        let latest = session.latest.or(from_creation);
        session.absolute = latest.into_iter().chain([from_now]).min();
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
    ids: [SessionId; HANDLES],
    secrets: [SecretHash; SECRETS],
    principals: [PrincipalKey; PRINCIPALS],
}

impl<'a, S: Store> Run<'a, S> {
    fn new(pair: &'a Pair<S>) -> Self {
        Self {
            pair,
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
        let store = self.pair.next();
        let id = &self.ids[operation.id];
        let secret = &self.secrets[operation.secret];
        let credentials = Credentials { id, secret };
        match &operation.kind {
            Kind::Create { idle, absolute, fields, who } => {
                let values = values(fields);
                let puts: Vec<FieldWrite<'_>> = fields.iter().zip(&values).map(put).collect();
                let (idle, absolute) = (*idle, *absolute);
                let sign_in = who.as_ref().map(|who| self.sign_in(who));
                let create = Create { id, secret, idle, absolute, fields: &puts, sign_in };
                match store.create(create).await {
                    Ok(()) => Answer::Created,
                    Err(error) if error.kind() == StoreErrorKind::Exists => Answer::Exists,
                    Err(error) => Answer::Broken(error.to_string()),
                }
            }
            Kind::Load { names, touch } => {
                let fields =
                    names.as_ref().map_or(Projection::All, |names| Projection::Named(names));
                answered(store.load(credentials, fields, *touch).await, |loaded| {
                    let held = loaded.fields.into_iter().map(|field| {
                        let (value, ttl, hot) = (field.value, field.ttl.map(rounded), field.hot);
                        (field.name.to_string(), Held { value, ttl, hot })
                    });
                    let signed_in = loaded.meta.signed_in.map(|signed_in| {
                        let is_it = |key: &PrincipalKey| *key == signed_in.principal;
                        let who =
                            self.principals.iter().position(is_it).expect("it is one of ours");
                        (who, signed_in.assurance)
                    });
                    Answer::Loaded {
                        idle: loaded.meta.idle.map(rounded),
                        absolute: loaded.meta.absolute.map(rounded),
                        fields: held.collect(),
                        who: signed_in,
                        by_former: loaded.meta.by_former,
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
                    precondition: writing
                        .expect
                        .map(|(name, _)| Precondition { name, value: expected.as_ref() }),
                    rotate: writing.rotate.map(|secret| &self.secrets[secret]),
                    absolute: writing.absolute,
                    touch: writing.touch,
                    renew: writing.renew.map(|(secret, is_due)| Renew {
                        secret: &self.secrets[secret],
                        every: if is_due { Ttl::from_millis(1) } else { Ttl::from_secs(3600) },
                        grace: Duration::from_secs(3600),
                    }),
                    sign: writing.signing.as_ref().map(|signing| match signing {
                        Signing::In(who, idle, absolute) => {
                            let (idle, absolute) = (*idle, *absolute);
                            AuthChange::In { who: self.sign_in(who), idle, absolute }
                        }
                        Signing::Out => AuthChange::Out,
                    }),
                };
                if update.renew.is_some() {
                    // A secret has an age.
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
                answered(store.update(credentials, update).await, |updated| match updated {
                    Updated::Applied { found } => Answer::Applied { found },
                    Updated::Conflict { current } => Answer::Conflict { current },
                    Updated::NotDue => Answer::NotDue,
                })
            }
            Kind::TakeField { name, rotate, touch, sign_out } => {
                let rotate = rotate.map(|secret| &self.secrets[secret]);
                let take = TakeField { name, rotate, touch: *touch, sign_out: *sign_out };
                answered(store.take(credentials, take).await, Answer::Taken)
            }
            Kind::Delete => answered(store.delete(credentials).await, |()| Answer::Deleted),
            Kind::Find(principal) => {
                let page = PageRequest { after: None, limit: HANDLES };
                let none = Projection::Named(&[]);
                match store.list_by_principal(&self.principals[*principal], page, none).await {
                    Ok(listing) => Answer::Found(
                        (listing.sessions.iter())
                            .map(|listed| {
                                let signed_in = listed.loaded.meta.signed_in.expect("somebody is");
                                (self.number(&listed.id), signed_in.assurance)
                            })
                            .collect(),
                    ),
                    Err(error) => Answer::Broken(error.to_string()),
                }
            }
            Kind::Revoke(principal, meant) => {
                let target = match meant {
                    Meant::One(one) => RevokeTarget::One(&self.ids[*one]),
                    Meant::AllBut(except) => {
                        RevokeTarget::All { except: except.map(|except| &self.ids[except]) }
                    }
                };
                match store.revoke(&self.principals[*principal], target).await {
                    Ok(revoked) => {
                        Answer::Revoked(revoked.ids.iter().map(|id| self.number(id)).collect())
                    }
                    Err(error) => Answer::Broken(error.to_string()),
                }
            }
        }
    }

    fn number(&self, id: &SessionId) -> usize {
        self.ids.iter().position(|held| held == id).expect("it is one of ours")
    }

    fn sign_in(&self, (principal, assurance): &Who) -> NewSignIn<'_> {
        let principal = &self.principals[*principal];
        NewSignIn { principal, assurance: *assurance, limit: None }
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

fn put<'a>((field, value): (&'a Field, &'a Bytes)) -> FieldWrite<'a> {
    FieldWrite { name: field.name, value, ttl: field.ttl, hot: field.hot }
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
            let sequences = sequence();
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
    crowded_redis,
    crowded_valkey,
    crowded_postgres,
    cluster_through_fred,
    cluster_through_redis_rs,
    postgres,
    postgres_through_a_pooler,
    redis_over_postgres,
    valkey_over_postgres,
    crowded_redis_over_postgres,
    memory_over_postgres,
);

/// The sequences reach what they are to reach: no answer is rare. Always the same sequences, so that no
/// unlucky run fails.
#[test]
fn the_model_meets_every_answer() {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut runner = TestRunner::deterministic();
    let sequences = sequence();
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
                Answer::Loaded { by_former: true, .. } => "loaded by a former secret",
                Answer::Loaded { who: Some(_), .. } => "loaded, somebody is signed in",
                Answer::Loaded { .. } => "loaded",
                Answer::Applied { found: 0 } => "applied",
                Answer::Applied { .. } => "applied and found",
                Answer::Conflict { .. } => "conflict",
                Answer::Taken(None) => "nothing taken",
                Answer::Taken(Some(_)) => "taken",
                Answer::Deleted => "deleted",
                Answer::NotDue => "not due",
                Answer::Found(found) if found.is_empty() => "nobody",
                Answer::Found(_) => "found",
                Answer::Revoked(ended) if ended.is_empty() => "none revoked",
                Answer::Revoked(_) => "revoked",
                Answer::Broken(_) => "broken",
            };
            *counts.entry(name).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), 19, "{counts:?}");
    assert!(counts.values().all(|count| *count >= 20), "{counts:?}");
}
