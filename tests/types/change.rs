//! [`Change`]: a value type in two releases, and what each release reads of the other's values.

use std::{fmt::Debug, marker::PhantomData, pin::Pin, sync::Arc};

use arbitrary::{Arbitrary, Unstructured};
use axum::Router;
use ruts::{
    Error, Session, SessionLayer,
    codec::Codec,
    field::{Field, FieldSpec, FieldValue, FieldVisitor, SessionSchema},
    session,
    session::{DefaultLayer, LockedSession, TypedSession},
    store::memory::MemoryStore,
    testing::{Lock, LockReport, with_session},
};
use ruts_tests_support::{Random, new_client};
use serde::{Deserialize, Serialize};

#[session]
struct Shop {}

/// Returns a session that a request created, after the response to that request.
pub(crate) async fn new_session() -> Session {
    let layer = SessionLayer::new(Arc::new(MemoryStore::new()));
    let client = new_client(Router::new().layer(layer.clone()));
    with_session(&client, &layer, |shop: Shop| async move {
        shop.session().set("started", &true, None, None).await.unwrap();
        shop.session().clone()
    })
    .await
}

const BINCODE: FieldSpec = FieldSpec::new("value").with_codec(Codec::Bincode);
const MESSAGE_PACK: FieldSpec = FieldSpec::new("value").with_codec(Codec::MessagePack);

/// A value type, as a release declares it.
pub(crate) trait Value:
    FieldValue + Clone + PartialEq + Debug + Sync + for<'a> Arbitrary<'a>
{
}

impl<T> Value for T where T: FieldValue + Clone + PartialEq + Debug + Sync + for<'a> Arbitrary<'a> {}

/// Direction of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    NewReadsOld,
    OldReadsNew,
}

/// Number of values that were read, by result.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// With the meaning that they were written with.
    pub(crate) right: usize,
    /// As a different value, without an error.
    pub(crate) wrong: usize,
    /// Refused with an error, when written or when read.
    pub(crate) refused: usize,
}

impl Tally {
    /// Returns whether every value was read with its meaning.
    pub(crate) fn is_right(&self) -> bool {
        self.right > 0 && self.wrong == 0 && self.refused == 0
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.refused += other.refused;
    }
}

/// The seed of every test that counts changes. The counts depend on the values: some seeds yield no
/// value that a release cannot read.
pub(crate) const COUNTED_SEED: u64 = 1;

/// Parameters of a run that reads random values.
pub(crate) struct Run<'a> {
    pub(crate) session: &'a Session,
    pub(crate) codec: Codec,
    pub(crate) seed: u64,
    pub(crate) values: usize,
    /// Whether the reading release has the lock of the writing release.
    pub(crate) has_lock: bool,
}

/// Number of values of the new release after an update by the previous one, by state.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Updated {
    /// Unchanged.
    pub(crate) whole: usize,
    /// As the previous release writes a value when it sets the field.
    pub(crate) cut: usize,
    /// In any other state.
    pub(crate) harmed: usize,
}

type Done<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Reads = Box<dyn for<'a> Fn(&'a Run<'a>, Direction) -> Done<'a, Tally> + Send + Sync>;
type Locks = fn(Codec) -> LockReport;
type Updates = Box<dyn for<'a> Fn(&'a Run<'a>) -> Done<'a, Updated> + Send + Sync>;

/// A value type in two releases, under one field version.
pub(crate) struct Change {
    pub(crate) name: &'static str,
    reads: Reads,
    updates: Updates,
    lock: Locks,
}

impl Change {
    /// Declares a change. `up` and `down` return the value with the same meaning in the other
    /// release, or `None` if there is none.
    pub(crate) fn new<Old: Value, New: Value>(
        name: &'static str,
        up: fn(Old) -> Option<New>,
        down: fn(New) -> Option<Old>,
    ) -> Self {
        let reads: Reads = Box::new(move |run, direction| {
            Box::pin(async move {
                match direction {
                    Direction::NewReadsOld => run.contexts(up).await,
                    Direction::OldReadsNew => run.contexts(down).await,
                }
            })
        });
        let updates: Updates = Box::new(|run| Box::pin(run.update::<Old, New>()));
        Self { name, reads, updates, lock: compare::<Old, New> }
    }

    /// Compares the new release with the lock of the previous one.
    pub(crate) fn lock(&self, codec: Codec) -> LockReport {
        (self.lock)(codec)
    }

    /// Lets the previous release update random values of the new one without changing them.
    pub(crate) async fn update(&self, run: &Run<'_>) -> Updated {
        (self.updates)(run).await
    }

    /// Lets one release read random values of the other: by themselves, in a list, and inside a
    /// struct.
    pub(crate) async fn read(&self, run: &Run<'_>, direction: Direction) -> Tally {
        (self.reads)(run, direction).await
    }
}

fn compare<Old: Value, New: Value>(codec: Codec) -> LockReport {
    match codec {
        Codec::Bincode => written(Lock::of::<One<Old, Bincode>>()).compare::<One<New, Bincode>>(),
        _ => written(Lock::of::<One<Old, MessagePack>>()).compare::<One<New, MessagePack>>(),
    }
}

/// Writes a lock as text and reads it back.
fn written(lock: Lock) -> Lock {
    let text = lock.to_string();
    let read: Lock = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(read, lock, "{text}");
    read
}

/// A session of one field, written by the codec `C`.
#[derive(Clone)]
struct One<T, C>(Session, PhantomData<fn() -> (T, C)>);

trait ByCodec: 'static {
    const SPEC: FieldSpec;
}

#[derive(Clone)]
struct Bincode;
#[derive(Clone)]
struct MessagePack;

impl ByCodec for Bincode {
    const SPEC: FieldSpec = BINCODE;
}

impl ByCodec for MessagePack {
    const SPEC: FieldSpec = MESSAGE_PACK;
}

impl<T: Value, C: ByCodec + Clone> TypedSession for One<T, C> {
    type Layer = DefaultLayer;

    const SCHEMA: &'static SessionSchema = &SessionSchema::new("One", const { &[C::SPEC] });

    fn session(&self) -> &Session {
        &self.0
    }

    fn wrap(session: Session) -> Self {
        Self(session, PhantomData)
    }
}

impl<T: Value, C: ByCodec + Clone> LockedSession for One<T, C> {
    fn visit_fields<V: FieldVisitor>(visitor: &mut V) {
        visitor.visit(Field::<T>::new(&Self::SCHEMA.fields()[0]));
    }
}

/// A value that is followed by other fields. After a wrong read, bincode would read the bytes of
/// these fields as part of the value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Arbitrary)]
struct Within<T> {
    first: u16,
    value: T,
    text: String,
    last: (u8, Option<u32>),
}

impl Run<'_> {
    async fn contexts<W: Value, R: Value>(&self, meaning: fn(W) -> Option<R>) -> Tally {
        let mut tally = self.read(meaning).await;
        let list = |list: Vec<W>| list.into_iter().map(meaning).collect::<Option<Vec<R>>>();
        tally.add(self.read(list).await);
        let within = |Within { first, value, text, last }: Within<W>| {
            meaning(value).map(|value| Within { first, value, text, last })
        };
        tally.add(self.read(within).await);
        tally
    }

    async fn read<W: Value, R: Value>(&self, meaning: impl Fn(W) -> Option<R>) -> Tally {
        let mut random = Random::new(self.seed);
        let mut tally = Tally::default();
        let reader = match self.has_lock {
            true => with_lock(self.spec(), Lock::of::<One<W, Bincode>>()),
            false => self.spec(),
        };
        for _ in 0..self.values {
            let value: W = random_value(&mut random);
            let expected = meaning(value.clone());
            // NaN is not equal to itself.
            if expected == expected.clone() {
                tally.add(self.read_one(&value, expected, reader).await);
            }
        }
        tally
    }

    async fn update<Old: Value, New: Value>(&self) -> Updated {
        let mut random = Random::new(self.seed);
        let mut updated = Updated::default();
        let (old, new) = (Field::<Old>::new(self.spec()), Field::<New>::new(self.spec()));
        for _ in 0..self.values {
            let value: New = random_value(&mut random);
            self.session.entry(new).set(&value).await.unwrap();
            let Ok(Some(known)) = self.session.entry(old).get().await else { continue };
            if value != value.clone() {
                continue;
            }
            self.session.entry(old).update(|_| ()).await.unwrap();
            let after = self.session.entry(new).get().await;
            if matches!(&after, Ok(Some(after)) if *after == value) {
                updated.whole += 1;
                continue;
            }
            self.session.entry(old).set(&known).await.unwrap();
            let cut = self.session.entry(new).get().await;
            match (after, cut) {
                (Ok(after), Ok(cut)) if after == cut => updated.cut += 1,
                (Err(_), Err(_)) => updated.cut += 1,
                _ => updated.harmed += 1,
            }
        }
        updated
    }

    fn spec(&self) -> &'static FieldSpec {
        match self.codec {
            Codec::Bincode => &BINCODE,
            _ => &MESSAGE_PACK,
        }
    }

    async fn read_one<W: Value, R: Value>(
        &self,
        value: &W,
        expected: Option<R>,
        reader: &'static FieldSpec,
    ) -> Tally {
        match self.session.entry(Field::<W>::new(self.spec())).set(value).await {
            Ok(()) => {}
            Err(Error::Encode { .. }) => return Tally { refused: 1, ..Tally::default() },
            Err(error) => panic!("{error:?}"),
        }
        match self.session.entry(Field::<R>::new(reader)).get().await {
            Ok(Some(read)) if Some(&read) == expected.as_ref() => {
                Tally { right: 1, ..Tally::default() }
            }
            Ok(Some(_)) => Tally { wrong: 1, ..Tally::default() },
            Err(Error::Decode { .. }) => Tally { refused: 1, ..Tally::default() },
            other => panic!("{other:?}"),
        }
    }
}

/// Returns a field with a lock. In programs, it is a constant.
fn with_lock(spec: &FieldSpec, lock: Lock) -> &'static FieldSpec {
    let lock = Box::leak(lock.to_string().into_boxed_str());
    Box::leak(Box::new(spec.with_lock(lock)))
}

/// Returns a random value, made of small and large numbers and of short strings.
pub(crate) fn random_value<T: for<'a> Arbitrary<'a>>(random: &mut Random) -> T {
    // Zero and empty values are special to some attributes.
    let is_blank = random.percent(25);
    let bytes: Vec<u8> = (0..256)
        .map(|_| match random.below(10) {
            _ if is_blank => 0,
            0..5 => 0,
            5..8 => b' ' + random.below(95) as u8,
            _ => random.below(256) as u8,
        })
        .collect();
    T::arbitrary(&mut Unstructured::new(&bytes)).expect("missing bytes should count as zero")
}
