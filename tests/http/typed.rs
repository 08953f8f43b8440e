//! Tests of typed access: the result of each accessor, and its number of round trips.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Path, http::StatusCode, response::IntoResponse, routing::get};
use ruts::testing::{Client, with_session};
use ruts::{
    Error, Session, SessionLayer, Ttl,
    auth::Assurance,
    codec::Codec,
    field::{Field, FieldSpec, OrDefault},
    session,
    session::TypedSession,
    store::{
        CachePolicy, FieldWrite, Precondition, StoredField, Updated,
        memory::{ManualClock, MemoryStore},
    },
};
use ruts_tests_support::{ClientExt, Fault, InstrumentedStore, Log, new_client};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
}

#[session(prefix = "shop")]
struct Shop {
    #[field(ttl = "30d", hot = "1h", principal)]
    user: u64,
    #[field(ttl = "7d", hot = "never", default)]
    cart: Cart,
    #[field(ttl = "10m", once)]
    flash: String,
    #[field(lazy, codec = "messagepack")]
    draft: String,
    #[field(default = 100)]
    visits: u64,
    #[field(ttl = Duration::from_secs(60), hot = "checked", rename = "t")]
    theme: Option<String>,
}

/// An application whose requests run closures of the test on their session.
struct Fixture {
    client: Client,
    store: InstrumentedStore<MemoryStore>,
    clock: ManualClock,
    work: Arc<Mutex<Option<Work>>>,
}

type Work = Box<dyn FnOnce(Session) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl Fixture {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = InstrumentedStore::new(MemoryStore::builder().clock(clock.clone()).build());
        Self::over(store, clock)
    }

    fn over(store: InstrumentedStore<MemoryStore>, clock: ManualClock) -> Self {
        let work: Arc<Mutex<Option<Work>>> = Arc::default();
        let next = Arc::clone(&work);
        let handler = move |session: Session| {
            let work = next.lock().unwrap().take().unwrap();
            work(session)
        };
        let layer = SessionLayer::new(store.clone());
        let client = new_client(Router::new().route("/", get(handler)).layer(layer));
        Self { client, store, clock, work }
    }

    /// Replaces the application with another release, which may have other schemas.
    fn deploy(self) -> Self {
        let next = Self::over(self.store, self.clock);
        Self { client: self.client.after_a_restart(&next.client), ..next }
    }

    /// Sends a request that runs `work`.
    async fn request<S, F>(&self, work: impl FnOnce(S) -> F + Send + 'static)
    where
        S: TryFrom<Session, Error: std::fmt::Debug>,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let work: Work = Box::new(move |session| {
            let done = work(S::try_from(session).unwrap());
            Box::pin(async move { done.await.unwrap() })
        });
        *self.work.lock().unwrap() = Some(work);
        self.client.text("/").await;
    }
}

#[tokio::test]
async fn one_round_trip_reads_all_fields_and_one_writes_them() {
    let app = Fixture::new();
    let store = app.store.clone();
    app.request(move |shop: Shop| async move {
        let calls = |expected: &[&str]| assert_eq!(store.take_calls(), expected);
        shop.edit().user(&7).draft("long").theme("dark").commit().await?;
        calls(&["create"]);
        assert_eq!(shop.user().await?, Some(7));
        assert_eq!(shop.cart().await?, Cart::default());
        assert_eq!(shop.draft().await?.as_deref(), Some("long"));
        calls(&[]);
        Ok(())
    })
    .await;
    let store = app.store.clone();
    app.request(move |shop: Shop| async move {
        let calls = |expected: &[&str]| assert_eq!(store.take_calls(), expected);
        assert_eq!(shop.visits().await?, 100);
        calls(&["load"]);
        assert_eq!(shop.user().get().await?, Some(7));
        calls(&[]);
        // A cache cannot answer this field without the origin, so only a read that names the field
        // fetches it.
        assert_eq!(shop.theme().await?.as_deref(), Some("dark"));
        assert_eq!(shop.cart().await?, Cart::default());
        calls(&["load", "load"]);
        assert_eq!(shop.draft().await?.as_deref(), Some("long"));
        calls(&["load"]);
        shop.set_theme("light").await?;
        calls(&["update"]);
        assert_eq!(shop.theme().await?.as_deref(), Some("light"));
        calls(&[]);
        assert_eq!(
            shop.visits()
                .update(|visits| {
                    *visits += 1;
                    *visits
                })
                .await?,
            101
        );
        calls(&["update"]);
        assert!(shop.theme().remove().await?);
        assert!(!shop.theme().remove().await?);
        calls(&["update", "update"]);
        assert!(shop.visits().expire(Duration::from_secs(5)).await?);
        assert!(!shop.theme().expire(Duration::from_secs(5)).await?);
        calls(&["update", "update"]);
        assert_eq!(shop.flash().take().await?, None);
        calls(&["take"]);
        shop.edit().cart(&Cart::default()).remove_draft().visits(&1).commit().await?;
        calls(&["update"]);
        shop.edit().commit().await?;
        calls(&[]);
        Ok(())
    })
    .await;
    let store = app.store.clone();
    app.request(move |shop: Shop| async move {
        let calls = |expected: &[&str]| assert_eq!(store.take_calls(), expected);
        let (user, visits) = shop.session().read((Shop::USER, Shop::VISITS)).await?;
        assert_eq!((user, visits), (Some(7), 1));
        calls(&["load"]);
        let values = shop.load().await?;
        assert_eq!((values.user, values.visits, values.draft), (Some(7), 1, None));
        assert_eq!((values.cart, values.theme), (Cart::default(), None));
        calls(&["load"]);
        shop.set_user(&8).await?;
        calls(&["update"]);
        shop.session().regenerate().await?;
        calls(&["update"]);
        shop.session().delete().await?;
        calls(&["delete"]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_edit_signs_in_with_an_assurance_and_can_keep_fields() {
    let app = Fixture::new();
    app.request(|shop: Shop| async move {
        shop.edit().user(&7).visits(&1).assurance(Assurance::Aal2).commit().await?;
        let signed_in = shop.session().signed_in().await?.unwrap();
        assert_eq!(signed_in.assurance, Assurance::Aal2);
        shop.edit().user(&8).keep_fields().commit().await?;
        let signed_in = shop.session().signed_in().await?.unwrap();
        assert_eq!((signed_in.assurance, shop.visits().await?), (Assurance::Aal1, 1));
        shop.edit().user(&9).commit().await?;
        assert_eq!(shop.visits().await?, 100);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_tuple_of_keys_reads_what_was_fetched() {
    let app = Fixture::new();
    app.request(|shop: Shop| async move {
        shop.edit().user(&7).visits(&1).draft("long").commit().await?;
        let keys = (Shop::VISITS, (Shop::DRAFT, Shop::THEME));
        let all = shop.session().get_all().await?.unwrap();
        assert_eq!(all.read(keys)?, (1, (Some("long".to_owned()), None)));
        let sessions = shop.session().sessions().await?.unwrap();
        let page = sessions.list(keys, None, 10).await?;
        let [session] = &page.sessions[..] else { panic!("{page:?}") };
        assert_eq!(session.fields.read(keys)?, (1, (Some("long".to_owned()), None)));
        assert_eq!(session.fields.read(Shop::VISITS)?, 1);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_entry_is_a_future() {
    let app = Fixture::new();
    let store = app.store.clone();
    app.request(move |shop: Shop| async move {
        shop.edit().visits(&1).draft("long").commit().await?;
        shop.session().refresh().await;
        store.take_calls();
        let (visits, draft) = tokio::join!(shop.visits(), shop.draft());
        assert_eq!((visits?, draft?.as_deref()), (1, Some("long")));
        assert_eq!(store.take_calls(), ["load", "load"]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_session_that_this_request_created_needs_no_read() {
    let app = Fixture::new();
    let store = app.store.clone();
    app.request(move |shop: Shop| async move {
        shop.set_user(&1).await?;
        shop.set_theme("dark").await?;
        assert_eq!(shop.visits().update(|visits| *visits + 1).await?, 101);
        assert_eq!(shop.draft().await?, None);
        assert_eq!(shop.load().await?.theme.as_deref(), Some("dark"));
        assert_eq!(store.take_calls(), ["create", "update", "update"]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_update_without_an_earlier_read_makes_two_round_trips() {
    let app = Fixture::new();
    app.request(|shop: Shop| async move { shop.set_user(&1).await }).await;
    app.store.take_calls();
    app.request(|shop: Shop| async move { shop.visits().update(|n| *n += 1).await }).await;
    assert_eq!(app.store.take_calls(), ["load", "update"]);
}

#[tokio::test]
async fn an_update_of_a_field_without_a_default_can_set_or_remove_it() {
    let app = Fixture::new();
    app.request(|shop: Shop| async move {
        assert_eq!(shop.theme().update(|theme| theme.replace("dark".into())).await?, None);
        let old = shop.theme().update(|theme| theme.replace("light".into())).await?;
        assert_eq!(old.as_deref(), Some("dark"));
        assert_eq!(shop.theme().update(Option::take).await?.as_deref(), Some("light"));
        assert_eq!(shop.theme().update(|theme| theme.take()).await?, None);
        shop.session().refresh().await;
        assert_eq!(shop.theme().await?, None);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_increments_all_count() {
    let store = MemoryStore::new();
    let handler = |shop: Shop| async move {
        let visits = shop.visits().update(|visits| {
            *visits += 1;
            *visits
        });
        visits.await.map(|visits| visits.to_string())
    };
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(store));
    let client = new_client(app);
    assert_eq!(client.text("/").await, "101");
    for round in 1..=20 {
        let tabs: Vec<_> = (0..32)
            .map(|_| {
                let tab = client.clone();
                tokio::spawn(async move { tab.text("/").await })
            })
            .collect();
        let mut seen = Vec::new();
        for tab in tabs {
            seen.push(tab.await.unwrap().parse::<u64>().unwrap());
        }
        seen.sort_unstable();
        let first = 102 + (round - 1) * 32;
        assert_eq!(
            seen,
            (first..first + 32).collect::<Vec<_>>(),
            "each increment should return its own number"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_writes_of_different_fields_all_survive() {
    let store = MemoryStore::new();
    let app = Router::new()
        .route(
            "/start",
            get(|session: Session| async move { session.set("first", &0, None, None).await }),
        )
        .route(
            "/set/{name}",
            get(|session: Session, Path(name): Path<String>| async move {
                session.set(&name, &name, None, None).await
            }),
        )
        .route(
            "/count",
            get(|session: Session| async move {
                let all = session.get_all().await?;
                Ok::<_, Error>(all.map_or(0, |all| all.names().len()).to_string())
            }),
        )
        .layer(SessionLayer::new(store));
    let client = new_client(app);
    client.text("/start").await;
    let tabs: Vec<_> = (0..64)
        .map(|tab| {
            let client = client.clone();
            tokio::spawn(async move { client.text(&format!("/set/f{tab}")).await })
        })
        .collect();
    for tab in tabs {
        tab.await.unwrap();
    }
    assert_eq!(client.text("/count").await, "65");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_tabs_takes_a_once_field() {
    for _ in 0..100 {
        let app = Router::new()
            .route("/set", get(|shop: Shop| async move { shop.set_flash("saved").await }))
            .route(
                "/",
                get(|shop: Shop| async move {
                    shop.flash().take().await.map(Option::unwrap_or_default)
                }),
            )
            .layer(SessionLayer::new(MemoryStore::new()));
        let client = new_client(app);
        client.text("/set").await;
        let (one, two) = (client.clone(), client.clone());
        let (one, two) = tokio::join!(
            tokio::spawn(async move { one.text("/").await }),
            tokio::spawn(async move { two.text("/").await }),
        );
        assert_eq!(one.unwrap() + &two.unwrap(), "saved");
    }
}

#[tokio::test]
async fn an_update_that_meets_conflicts_applies_to_the_latest_value() {
    let app = Fixture::new();
    app.request(|shop: Shop| async move { shop.set_visits(&0).await }).await;
    app.store.compete_with(10);
    app.request(|shop: Shop| async move {
        assert_eq!(
            shop.visits()
                .update(|visits| {
                    *visits += 100;
                    *visits
                })
                .await?,
            101
        );
        Ok(())
    })
    .await;
    let calls = app.store.take_calls();
    assert_eq!(calls.iter().filter(|call| **call == "update").count(), 11, "{calls:?}");
    assert_eq!(
        calls.iter().filter(|call| **call == "load").count(),
        1,
        "a conflict should return the value, so that no second read is needed"
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_that_meets_only_conflicts_gives_up_and_changes_nothing() {
    let app = Fixture::new();
    app.request(|shop: Shop| async move { shop.set_visits(&0).await }).await;
    app.store.compete_with(100);
    let begun = tokio::time::Instant::now();
    app.request(|shop: Shop| async move {
        let result = shop.visits().update(|visits| *visits += 100).await;
        assert!(matches!(result, Err(Error::Conflict { field }) if field == "shop.visits"));
        assert_eq!(shop.visits().await?, 53, "the last of 48 competing writes should win");
        Ok(())
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_millis(48 * 50),
        "each pause should be shorter than 50 ms"
    );
}

#[tokio::test]
async fn a_field_expires_after_its_declared_lifetime() {
    let app = Fixture::new();
    app.request(|shop: Shop| async move {
        shop.edit().theme("dark").cart(&Cart::default()).visits(&5).flash("hello").commit().await
    })
    .await;
    app.clock.advance(Duration::from_secs(59));
    app.request(|shop: Shop| async move {
        assert_eq!(shop.theme().await?.as_deref(), Some("dark"));
        shop.theme().expire(Duration::from_secs(120)).await.map(drop)
    })
    .await;
    app.clock.advance(Duration::from_secs(119));
    app.request(|shop: Shop| async move {
        assert_eq!(shop.theme().await?.as_deref(), Some("dark"));
        Ok(())
    })
    .await;
    app.clock.advance(Duration::from_secs(600));
    app.request(|shop: Shop| async move {
        assert_eq!(shop.theme().await?, None);
        assert_eq!(shop.flash().take().await?, None);
        assert_eq!(shop.visits().await?, 5);
        let zero = shop.visits().expire(Duration::ZERO).await;
        assert!(matches!(zero, Err(Error::Ttl(_))));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn uses_move_the_idle_deadline_up_to_the_absolute_one() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let hour = Duration::from_secs(3600);
    let layer = SessionLayer::new(store.clone()).idle_timeout(hour).absolute_timeout(hour * 3);
    let app = Router::new()
        .route("/set", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route("/", get(|shop: Shop| async move { shop.visits().await.map(|n| n.to_string()) }))
        .route("/shorten", get(|session: Session| async move { session.expire(60).await }))
        .route("/prolong", get(|session: Session| async move { session.expire(7200).await }))
        .layer(layer);
    let client = new_client(app);
    client.text("/set").await;
    for _ in 0..3 {
        clock.advance(hour * 5 / 6);
        assert_eq!(client.text("/").await, "1");
    }
    clock.advance(hour / 2);
    assert_eq!(client.text("/").await, "100", "the absolute deadline should end the session");

    client.text("/set").await;
    clock.advance(hour);
    assert_eq!(client.text("/").await, "100", "the idle deadline should end the session");

    client.text("/set").await;
    client.text("/shorten").await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(client.text("/").await, "100");

    client.text("/set").await;
    for _ in 0..4 {
        client.text("/prolong").await;
        clock.advance(hour * 5 / 6);
    }
    assert_eq!(client.text("/").await, "100", "no call should move the absolute deadline");
}

mod versions {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub struct Old {
        pub a: u8,
        pub b: u32,
    }

    #[session]
    pub struct First {
        #[field(codec = "messagepack")]
        value: Old,
        kept: u8,
    }

    #[session]
    pub struct Second {
        #[field(version = 2, migrate(1 => discard))]
        value: String,
        kept: u8,
    }

    #[session]
    pub struct SameVersion {
        value: Vec<String>,
        #[field(default)]
        kept: u64,
    }

    #[session]
    pub struct SwitchedCodec {
        #[field(codec = "bincode")]
        value: Old,
        #[field(codec = "messagepack")]
        kept: u8,
    }
}

#[tokio::test]
async fn a_value_of_a_changed_type_is_absent_or_an_error() {
    use versions::{First, Old, SameVersion, Second, SwitchedCodec};
    let app = Fixture::new();
    app.request(|first: First| async move {
        first.edit().value(&Old { a: 1, b: 2 }).kept(&3).commit().await
    })
    .await;
    let app = app.deploy();
    app.request(|switched: SwitchedCodec| async move {
        assert_eq!(
            switched.value().await?,
            Some(Old { a: 1, b: 2 }),
            "the header should name the codec"
        );
        assert_eq!(switched.kept().await?, Some(3));
        Ok(())
    })
    .await;
    let app = app.deploy();
    app.request(|second: Second| async move {
        assert_eq!(second.value().await?, None);
        assert_eq!(second.kept().await?, Some(3));
        Ok(())
    })
    .await;
    let app = app.deploy();
    app.request(|same: SameVersion| async move {
        let error = same.value().await.unwrap_err();
        assert!(matches!(&error, Error::Decode { field, .. } if field == "value"));
        assert_eq!(same.kept().await?, 3, "the other fields should be readable");
        let update = same.value().update(|value| value.take()).await;
        assert!(
            matches!(update, Err(Error::Decode { .. })),
            "an update should not replace an unreadable value"
        );
        same.set_value(&vec!["new".to_owned()]).await?;
        assert_eq!(same.value().await?, Some(vec!["new".to_owned()]));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn after_a_write_with_an_unknown_outcome_the_field_is_read_again() {
    let app = Fixture::new();
    app.request(|shop: Shop| async move { shop.set_visits(&1).await }).await;
    let store = app.store.clone();
    app.request(move |shop: Shop| async move {
        assert_eq!(shop.visits().await?, 1);
        store.fail_next(Fault::AnswerLost);
        let error = shop.set_visits(&2).await.unwrap_err();
        assert!(error.is_outcome_unknown());
        assert_eq!(shop.visits().await?, 2, "the write should have been carried out");
        store.fail_next(Fault::Unreachable);
        assert!(!shop.set_visits(&3).await.unwrap_err().is_outcome_unknown());
        assert_eq!(shop.visits().await?, 2);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_read_hints_the_policies_that_keep_a_cache_from_answering_alone() {
    let app = Fixture::new();
    let store = app.store.clone();
    app.request(move |shop: Shop| async move {
        shop.user().await?;
        assert_eq!(store.take_hints(), []);
        shop.theme().await?;
        shop.cart().update(|_| ()).await?;
        let (theme, cart) = (
            ("shop.t".to_owned(), CachePolicy::Revalidate),
            ("shop.cart".to_owned(), CachePolicy::NoStore),
        );
        assert_eq!(store.take_hints(), [theme.clone(), cart.clone()]);
        shop.session().read((Shop::USER, Shop::THEME)).await?;
        assert_eq!(store.take_hints(), std::slice::from_ref(&theme));
        shop.load().await?;
        assert_eq!(store.take_hints(), [cart, theme]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_write_behind_a_stale_cache_is_done_and_reported() {
    let app = Fixture::new();
    app.request(|shop: Shop| async move { shop.set_flash("saved").await }).await;
    let store = app.store.clone();
    app.request(move |shop: Shop| async move {
        let assert_stale = |answer: Result<(), Error>| match answer {
            Err(error @ Error::StaleCache { stale_for }) => {
                assert_eq!(stale_for, InstrumentedStore::<MemoryStore>::STALE_FOR);
                assert!(!error.is_outcome_unknown());
            }
            other => panic!("{other:?}"),
        };
        let stale = || store.fail_next(Fault::StaleCache);
        stale();
        assert_stale(shop.set_visits(&1).await);
        assert_eq!(shop.visits().await?, 1);
        shop.set_visits(&2).await?;
        // The update below needs a known value for its precondition.
        shop.session().refresh().await;
        shop.visits().await?;
        stale();
        assert_stale(shop.visits().update(|visits| *visits += 1).await);
        assert_eq!(shop.visits().await?, 3);
        stale();
        assert_stale(shop.edit().visits(&4).remove_cart().commit().await);
        stale();
        assert_stale(shop.visits().remove().await.map(drop));
        stale();
        assert_stale(shop.session().regenerate().await);
        stale();
        assert_stale(shop.session().expire(60).await);
        stale();
        assert_eq!(
            shop.flash().take().await?.as_deref(),
            Some("saved"),
            "a take should return the value although the cache is stale"
        );
        assert_eq!(shop.visits().await?, 100);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn no_value_is_logged_or_shown() {
    let (log, _guard) = Log::start();
    let app = Fixture::new();
    app.request(|session: Session| async move {
        session.set("word", "hunter2", None, None).await?;
        session.entry(THEME).set("hunter2").await
    })
    .await;
    let app = Router::new()
        .route(
            "/set",
            get(|session: Session| async move { session.entry(THEME).set("hunter2").await }),
        )
        .route(
            "/get",
            get(|session: Session| async move {
                session.get::<versions::Old>("theme").await.map(|_| ())
            }),
        )
        .layer(SessionLayer::new(app.store.clone()));
    let client = new_client(app);
    client.text("/set").await;
    assert_eq!(client.get("/get").await.status, axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    assert!(log.text().contains("could not be decoded"));
    assert!(!log.text().contains("hunter2"), "{}", log.text());

    let value = bytes::Bytes::from_static(b"hunter2");
    let write = FieldWrite::new("word", &value);
    let precondition = Precondition::new("word", Some(&value));
    let conflict = Updated::Conflict { current: Some(value.clone()) };
    let stored = StoredField::new("word", value.clone());
    let shown = format!("{write:?} {precondition:?} {conflict:?} {stored:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
}

const THEME: Field<String> =
    Field::new(&const { FieldSpec::new("theme").with_codec(Codec::MessagePack) });

#[tokio::test]
async fn untyped_names_and_lifetimes_are_checked() {
    let app = Fixture::new();
    app.request(|session: Session| async move {
        for name in ["", "~m", "a\0b", &"n".repeat(129)] {
            assert!(matches!(session.get::<u8>(name).await, Err(Error::FieldName(_))));
            assert!(matches!(session.set(name, &1, None, None).await, Err(Error::FieldName(_))));
            assert!(matches!(session.remove(name).await, Err(Error::FieldName(_))));
        }
        assert!(matches!(session.set("a", &1, Some(u64::MAX), None).await, Err(Error::Ttl(_))));
        assert!(matches!(session.set("a", &1, None, Some(u64::MAX)).await, Err(Error::Ttl(_))));
        assert!(matches!(session.expire(u64::MAX).await, Err(Error::Ttl(_))));
        assert!(matches!(session.expire_field("a", u64::MAX).await, Err(Error::Ttl(_))));
        assert!(matches!(session.expire_field("~m", 1).await, Err(Error::FieldName(_))));
        assert!(!session.remove("a").await?);
        assert!(session.get_all().await?.is_none(), "no session should be created");
        Ok(())
    })
    .await;
    assert!(app.store.take_calls().is_empty());
}

#[tokio::test]
async fn a_lifetime_of_zero_by_name_removes() {
    let app = Fixture::new();
    app.request(|session: Session| async move {
        session.set("word", &"first", Some(0), None).await?;
        assert!(session.get_all().await?.is_none(), "a removal should start no session");
        session.set("word", &"first", Some(60), None).await?;
        session.set("other", &1_u32, None, Some(0)).await
    })
    .await;
    app.request(|session: Session| async move {
        assert!(session.expire_field("word", 120).await?);
        assert!(!session.expire_field("absent", 120).await?);
        Ok(())
    })
    .await;
    app.clock.advance(Duration::from_secs(119));
    app.request(|session: Session| async move {
        assert_eq!(session.get::<String>("word").await?.as_deref(), Some("first"));
        session.set("word", &"second", Some(0), None).await?;
        assert_eq!(
            session.get::<String>("word").await?,
            None,
            "the request that expired the field should read it as absent"
        );
        session.set("word", &"third", None, None).await
    })
    .await;
    app.request(|session: Session| async move {
        assert!(session.expire_field("word", 0).await?);
        assert!(!session.expire_field("word", 0).await?);
        Ok(())
    })
    .await;
    app.request(|session: Session| async move {
        assert_eq!(session.get::<String>("word").await?, None);
        assert_eq!(session.get::<u32>("other").await?, Some(1));
        session.expire(0).await?;
        assert_eq!(session.get::<u32>("other").await?, None);
        Ok(())
    })
    .await;
    app.request(|session: Session| async move {
        assert_eq!(
            session.verify().await?,
            None,
            "a session that expires after zero seconds should have ended"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_field_constant_works_like_a_declared_field() {
    const SPEC: FieldSpec = FieldSpec::new("shop.visits").with_ttl(Ttl::from_secs(5));
    const VISITS: Field<u64, OrDefault<u64>> = Field::new(&SPEC).or(|| 0);
    let app = Fixture::new();
    app.request(|session: Session| async move {
        assert_eq!(session.entry(VISITS).await?, 0);
        session.entry(VISITS).update(|visits| *visits += 1).await?;
        let shop = Shop::try_from(session.clone())?;
        assert_eq!(shop.visits().await?, 1);
        session.edit().set(VISITS, &9).commit().await?;
        assert_eq!(session.get_all().await?.unwrap().read(VISITS)?, 9);
        Ok(())
    })
    .await;
}

#[test]
fn the_schema_lists_the_declared_fields() {
    let schema = Shop::SCHEMA;
    assert!(std::ptr::eq(schema, <Shop as TypedSession>::SCHEMA));
    let names: Vec<_> = schema.fields().iter().map(FieldSpec::name).collect();
    assert_eq!(
        names,
        ["shop.user", "shop.cart", "shop.flash", "shop.draft", "shop.visits", "shop.t"]
    );
    let user = schema.field("shop.user").unwrap();
    assert_eq!(user.ttl(), Some(Ttl::from_secs(30 * 24 * 3600)));
    assert_eq!(user.cache_policy(), CachePolicy::MaxAge(Ttl::from_secs(3600)));
    assert!(user.is_principal() && user.is_rotating());
    assert_eq!(Shop::CART.spec().cache_policy(), CachePolicy::NoStore);
    assert_eq!(Shop::THEME.spec().cache_policy(), CachePolicy::Revalidate);
    assert_eq!(Shop::DRAFT.spec().codec(), Codec::MessagePack);
    assert!(Shop::DRAFT.spec().is_lazy() && Shop::FLASH.spec().is_once());
}

#[session]
struct Notes {
    #[field(once, ttl = "1h")]
    messages: Vec<String>,
}

#[tokio::test]
async fn messages_come_out_once_and_in_order() {
    let app = Fixture::new();
    app.request(|notes: Notes| async move {
        notes.messages().push("one".to_owned()).await?;
        notes.messages().push("two".to_owned()).await
    })
    .await;
    assert_eq!(app.store.take_calls(), ["create", "update"]);
    app.request(|notes: Notes| async move { notes.messages().push("three".to_owned()).await })
        .await;
    assert_eq!(app.store.take_calls(), ["load", "update"]);
    app.request(|notes: Notes| async move {
        assert_eq!(notes.messages().take().await?.unwrap(), ["one", "two", "three"]);
        assert_eq!(notes.messages().take().await?, None);
        Ok(())
    })
    .await;
}

/// Two requests read the same list before either writes it.
#[tokio::test]
async fn no_parallel_message_is_lost() {
    let app = Fixture::new();
    app.request(|notes: Notes| async move { notes.set_messages(&Vec::new()).await }).await;
    let push = |text: &'static str| {
        app.request(move |notes: Notes| async move { notes.messages().push(text.to_owned()).await })
    };
    let mut pause = app.store.pause_after("load");
    let first = push("one");
    let second = async {
        pause.reached().await;
        push("two").await;
        pause.resume();
    };
    tokio::join!(first, second);
    app.request(|notes: Notes| async move {
        assert_eq!(notes.messages().take().await?.unwrap(), ["two", "one"]);
        Ok(())
    })
    .await;
}

mod prices {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Former {
        pub(super) gross: u32,
        pub(super) net: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Price {
        pub(super) net: u32,
        pub(super) gross: u32,
    }

    impl From<Former> for Price {
        fn from(Former { gross, net }: Former) -> Self {
            Self { net, gross }
        }
    }

    impl From<Price> for Former {
        fn from(Price { net, gross }: Price) -> Self {
            Self { gross, net }
        }
    }

    #[ruts::session]
    pub(super) struct Offer {
        #[field(version = 2, migrate(1 => Former))]
        price: Price,
        #[field(default, ttl = "1h", codec = "bincode")]
        count: u32,
        #[field(version = 2, migrate(1 => Former), writes = 1)]
        bridged: Price,
    }
}

#[tokio::test]
async fn a_value_set_by_name_follows_the_declaration_of_the_field() {
    use prices::{Offer, Price};

    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let layer = SessionLayer::new(store).schema::<Offer>();
    let client = new_client(Router::new().layer(layer.clone()));
    with_session(&client, &layer, |offer: Offer| async move {
        let session = offer.session();
        let price = || Price { net: 100, gross: 119 };
        session.set("price", &price(), None, None).await?;
        assert_eq!(session.get("price").await?, Some(price()));
        session.refresh().await;
        assert_eq!(offer.price().await?, Some(price()));
        let bridged = session.set("bridged", &price(), None, None).await;
        assert!(matches!(bridged, Err(Error::Encode { .. })), "{bridged:?}");
        let status = bridged.into_response().status();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "the later release can write it");

        session.set("count", &-5_i32, None, None).await?;
        assert!(matches!(offer.count().await, Err(Error::Decode { .. })));
        session.set("count", &5_i64, None, None).await?;
        assert_eq!(offer.count().await?, 5);
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    clock.advance(Duration::from_secs(60 * 60));
    let count = with_session(&client, &layer, |offer: Offer| async move { offer.count().await });
    assert_eq!(count.await.unwrap(), 0, "the declared lifetime should apply");
}
