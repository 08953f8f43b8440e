//! Every operation on stored values. A value has the type that reads it, a different type, a former
//! version or a newer version.

use std::{fmt::Debug, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use ruts::{
    Error, Session, SessionLayer, Ttl,
    auth::Assurance,
    codec::{Codec, CodecError},
    field::{Field, FieldSpec, FieldValue},
    session,
    store::{Credentials, Projection, Store},
    testing::{Client, with_session},
};
use serde::{Deserialize, Serialize};

use crate::ClientExt;

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Price {
    net: u32,
    gross: u32,
}

/// A price with its fields in a different order, and with one more field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LaterPrice {
    gross: u32,
    net: u32,
    #[serde(default)]
    discount: u32,
}

const NAME: &str = "price";
const BY_NAMES: FieldSpec = FieldSpec::new(NAME).with_codec(Codec::MessagePack);
const BY_POSITION: FieldSpec = FieldSpec::new(NAME).with_codec(Codec::Bincode);
/// The lock has the type [`Price`].
const LOCKED: FieldSpec = BY_POSITION
    .with_lock("[Shop]\nprice 1 bincode c24a718c {net: u32, gross: u32}\n  10010001c24a718c0000\n");
const VERSION_2: FieldSpec = BY_NAMES.with_version(2);

const HOUR: Duration = Duration::from_secs(3600);

/// The result of an operation that reads a value.
enum Outcome<T> {
    Value(T),
    /// The value counts as absent.
    Absent,
    /// A value of version 2 is an error for version 1.
    Newer,
    /// A different error.
    Refused(CodecError),
}

impl<T: Debug + PartialEq> Outcome<T> {
    fn is_error(&self) -> bool {
        matches!(self, Self::Newer | Self::Refused(_))
    }

    #[track_caller]
    fn assert(&self, row: &str, result: &Result<Option<T>, Error>) {
        let is_expected = match (self, result) {
            (Self::Value(value), Ok(Some(read))) => value == read,
            (Self::Absent, Ok(None)) => true,
            (Self::Newer, Err(Error::Newer { field, stored: 2, known: 1 })) => field == NAME,
            (Self::Refused(expected), Err(Error::Decode { field, source })) => {
                field == NAME && source == expected
            }
            _ => false,
        };
        assert!(is_expected, "{row}: {result:?}");
    }
}

/// A browser that instances of two releases serve, each with a store of its own.
struct Browser<S> {
    client: Client,
    /// The store of the release that wrote the value, and the store of the release that reads it.
    stores: [Arc<S>; 2],
}

impl<S: Store> Browser<S> {
    async fn run<F>(
        &self,
        store: usize,
        act: impl FnOnce(Session) -> F + Send + 'static,
    ) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send,
    {
        let layer = SessionLayer::new(Arc::clone(&self.stores[store]));
        let act = |shop: Shop| act(shop.session().clone());
        with_session(&self.client, &layer, act).await
    }

    async fn write<T: FieldValue + Clone>(&self, store: usize, field: Field<T>, value: &T) {
        let value = value.clone();
        self.run(store, move |session| async move { session.entry(field).set(&value).await })
            .await
            .unwrap();
    }

    async fn read<T: FieldValue>(&self, store: usize, field: Field<T>) -> Result<Option<T>, Error> {
        self.run(store, move |session| async move { session.entry(field).await }).await
    }

    /// Returns the remaining lifetime of the field.
    async fn ttl(&self) -> Option<Duration> {
        let id = self.client.token().unwrap()[..22].parse().unwrap();
        let store = &self.stores[0];
        let loaded = store.load(Credentials::internal(&id), Projection::All, None).await;
        let loaded = loaded.unwrap().unwrap();
        loaded.fields.iter().find(|field| &*field.name == NAME).unwrap().ttl
    }
}

/// A stored value, and the key that reads it.
struct Row<W, T> {
    name: &'static str,
    writer: Field<W>,
    written: W,
    reader: Field<T>,
    /// A value of the reading type.
    other: T,
    expected: Outcome<T>,
    /// Whether [`settle`](ruts::Entry::settle) rewrites the value.
    settles: bool,
}

impl<W, T> Row<W, T>
where
    W: FieldValue + Clone + Debug + PartialEq,
    T: FieldValue + Clone + Debug + PartialEq + Sync,
{
    async fn check<S: Store>(self, browser: &Browser<S>) {
        let Self { name, writer, written, reader, other, expected, settles } = self;
        let is_left = async || {
            assert_eq!(browser.read(0, writer).await.unwrap(), Some(written.clone()), "{name}");
        };
        let write = async || browser.write(0, writer, &written).await;

        write().await;
        expected.assert(name, &browser.read(1, reader).await);
        let projected = browser.run(1, move |session| async move { session.read(reader).await });
        expected.assert(name, &projected.await);
        is_left().await;

        let settled = browser
            .run(1, move |session| async move { session.entry(reader).settle().await })
            .await;
        if expected.is_error() {
            expected.assert(name, &settled.map(|_| None));
            is_left().await;
        } else {
            assert_eq!(settled.unwrap(), settles, "{name}");
            expected.assert(name, &browser.read(1, reader).await);
        }

        write().await;
        let next = other.clone();
        let update = move |session: Session| async move {
            let change = |held: &mut Option<T>| held.replace(next.clone());
            session.entry(reader).update(change).await
        };
        expected.assert(name, &browser.run(1, update).await);
        match expected.is_error() {
            true => is_left().await,
            false => {
                assert_eq!(browser.read(1, reader).await.unwrap(), Some(other.clone()), "{name}")
            }
        }

        write().await;
        browser.write(1, reader, &other).await;
        assert_eq!(browser.read(1, reader).await.unwrap(), Some(other), "{name}");

        write().await;
        let sign_in = |session: Session| async move {
            Shop::try_from(session)?.user().sign_in(&7, Assurance::Aal1).await
        };
        browser.run(1, sign_in).await.unwrap();
        is_left().await;
        let take = move |session: Session| async move { session.entry(reader).take().await };
        expected.assert(name, &browser.run(1, take).await);
        match expected {
            Outcome::Newer => is_left().await,
            _ => assert_eq!(browser.read(0, writer).await.unwrap(), None, "{name}"),
        }

        write().await;
        let remove = move |session: Session| async move { session.entry(reader).remove().await };
        assert!(browser.run(1, remove).await.unwrap(), "{name}");
        assert_eq!(browser.read(0, writer).await.unwrap(), None, "{name}");
    }
}

/// No operation guesses a value. No operation overwrites or removes a value of a newer version that
/// it had to read.
pub async fn no_stored_value_is_guessed<S: Store>(stores: [Arc<S>; 2]) {
    let layer = SessionLayer::new(Arc::clone(&stores[0]));
    let app = Router::new().route("/", get(|| async {})).layer(layer);
    let browser = &Browser { client: crate::new_client(app), stores };
    let written = Price { net: 10, gross: 12 };
    let later = LaterPrice { gross: 12, net: 10, discount: 0 };
    let other = LaterPrice { gross: 6, net: 5, discount: 1 };

    Row {
        name: "the same type",
        writer: Field::new(&BY_NAMES),
        written: written.clone(),
        reader: Field::new(&BY_NAMES),
        other: Price { net: 5, gross: 6 },
        expected: Outcome::Value(written.clone()),
        settles: false,
    }
    .check(browser)
    .await;
    Row {
        name: "another type, read by names",
        writer: Field::<Price>::new(&BY_NAMES),
        written: written.clone(),
        reader: Field::new(&BY_NAMES),
        other: other.clone(),
        expected: Outcome::Value(later.clone()),
        settles: true,
    }
    .check(browser)
    .await;
    Row {
        name: "another type, in the lock",
        writer: Field::<Price>::new(&BY_POSITION),
        written: written.clone(),
        reader: Field::new(&LOCKED),
        other: other.clone(),
        expected: Outcome::Value(later.clone()),
        settles: true,
    }
    .check(browser)
    .await;
    Row {
        name: "another type, not in the lock",
        writer: Field::<Price>::new(&BY_POSITION),
        written: written.clone(),
        reader: Field::new(&BY_POSITION),
        other: other.clone(),
        expected: Outcome::Refused(CodecError::Shape),
        settles: false,
    }
    .check(browser)
    .await;
    Row {
        name: "another codec",
        writer: Field::<Price>::new(&BY_POSITION),
        written: written.clone(),
        reader: Field::new(&BY_NAMES),
        other: Price { net: 5, gross: 6 },
        expected: Outcome::Value(written.clone()),
        settles: true,
    }
    .check(browser)
    .await;
    Row {
        name: "a former version with a migration",
        writer: Field::<Price>::new(&BY_NAMES),
        written: written.clone(),
        reader: Field::new(&VERSION_2).migrate(|stored| {
            let Price { net, gross } = stored.read()?;
            Ok(Some(LaterPrice { gross, net, discount: 0 }))
        }),
        other: other.clone(),
        expected: Outcome::Value(later),
        settles: true,
    }
    .check(browser)
    .await;
    Row {
        name: "a former version that is discarded",
        writer: Field::<Price>::new(&BY_NAMES),
        written: written.clone(),
        reader: Field::new(&VERSION_2).migrate(|_| Ok(None)),
        other: other.clone(),
        expected: Outcome::Absent,
        settles: false,
    }
    .check(browser)
    .await;
    Row {
        name: "a former version without a migration",
        writer: Field::<Price>::new(&BY_NAMES),
        written: written.clone(),
        reader: Field::new(&VERSION_2),
        other,
        expected: Outcome::Refused(CodecError::Former { stored: 1, known: 2 }),
        settles: false,
    }
    .check(browser)
    .await;
    Row {
        name: "a newer version",
        writer: Field::new(&VERSION_2),
        written,
        reader: Field::<Price>::new(&BY_NAMES),
        other: Price { net: 5, gross: 6 },
        expected: Outcome::Newer,
        settles: false,
    }
    .check(browser)
    .await;
}

/// A value that [`settle`](ruts::Entry::settle) rewrites keeps its remaining lifetime, not the
/// lifetime that the rewriting release declares.
pub async fn settle_keeps_the_remaining_lifetime<S: Store>(stores: [Arc<S>; 2]) {
    const HOURLY: FieldSpec = BY_POSITION.with_ttl(Ttl::from_duration(HOUR));
    const DAILY: FieldSpec = BY_NAMES.with_ttl(Ttl::from_secs(24 * 3600));
    let layer = SessionLayer::new(Arc::clone(&stores[0]));
    let app = Router::new().route("/", get(|| async {})).layer(layer);
    let browser = Browser { client: crate::new_client(app), stores };
    let hourly = Field::new(&HOURLY);
    browser.write(0, hourly, &Price { net: 10, gross: 12 }).await;
    let settle = |session: Session| async move {
        session.entry(Field::<Price>::new(&DAILY)).settle().await.unwrap()
    };
    assert!(
        browser.run(1, settle).await,
        "`settle` should rewrite the value, because the codec has changed"
    );
    assert!(!browser.run(1, settle).await);
    let ttl = browser.ttl().await.unwrap();
    assert!(ttl <= HOUR && ttl > HOUR / 2, "{ttl:?}");
    assert_eq!(browser.read(0, hourly).await.unwrap(), Some(Price { net: 10, gross: 12 }));
}
