//! The typed surface: what each accessor yields, and how many round trips it makes.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use ruts::{
    CachePolicy, Codec, Error, Field, FieldSpec, OrDefault, Session, SessionLayer, Ttl,
    TypedSession, session,
    store::{
        FieldWrite, Precondition, StoredField, Updated,
        memory::{ManualClock, MemoryStore},
    },
};
use ruts_tests::{Browser, Fault, Log, Probe};
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

/// A request in which `work` is done with the session.
struct Visit {
    browser: Browser,
    store: Probe<MemoryStore>,
    clock: ManualClock,
    work: Arc<Mutex<Option<Work>>>,
}

type Work = Box<dyn FnOnce(Session) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl Visit {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = Probe::new(MemoryStore::builder().clock(clock.clone()).build());
        let work: Arc<Mutex<Option<Work>>> = Arc::default();
        let next = Arc::clone(&work);
        let handler = move |session: Session| {
            let work = next.lock().unwrap().take().unwrap();
            work(session)
        };
        let layer = SessionLayer::new(store.clone());
        let browser = Browser::new(Router::new().route("/", get(handler)).layer(layer));
        Self { browser, store, clock, work }
    }

    async fn with<S, F>(&self, work: impl FnOnce(S) -> F + Send + 'static)
    where
        S: From<Session>,
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let work: Work = Box::new(move |session| {
            let done = work(S::from(session));
            Box::pin(async move { done.await.unwrap() })
        });
        *self.work.lock().unwrap() = Some(work);
        self.browser.text("/").await;
    }
}

#[tokio::test]
async fn one_round_trip_reads_and_one_writes() {
    let visit = Visit::new();
    let store = visit.store.clone();
    visit
        .with(move |shop: Shop| async move {
            let calls = |expected: &[&str]| assert_eq!(store.calls(), expected);
            shop.edit().user(&7).draft("long").theme("dark").commit().await?;
            calls(&["create"]);
            assert_eq!(shop.user().await?, Some(7));
            assert_eq!(shop.cart().await?, Cart::default());
            assert_eq!(shop.draft().await?.as_deref(), Some("long"));
            calls(&[]);
            Ok(())
        })
        .await;
    let store = visit.store.clone();
    visit
        .with(move |shop: Shop| async move {
            let calls = |expected: &[&str]| assert_eq!(store.calls(), expected);
            assert_eq!(shop.visits().await?, 100);
            calls(&["load"]);
            assert_eq!(shop.user().get().await?, Some(7));
            calls(&[]);
            // What a cache does not answer alone is read when it is named.
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
    let store = visit.store.clone();
    visit
        .with(move |shop: Shop| async move {
            let calls = |expected: &[&str]| assert_eq!(store.calls(), expected);
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
async fn a_session_that_this_request_began_needs_no_reading() {
    let visit = Visit::new();
    let store = visit.store.clone();
    visit
        .with(move |shop: Shop| async move {
            shop.set_user(&1).await?;
            shop.set_theme("dark").await?;
            assert_eq!(shop.visits().update(|visits| *visits + 1).await?, 101);
            assert_eq!(shop.draft().await?, None);
            assert_eq!(shop.load().await?.theme.as_deref(), Some("dark"));
            assert_eq!(store.calls(), ["create", "update", "update"]);
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn an_update_without_a_read_before_makes_two_round_trips() {
    let visit = Visit::new();
    visit.with(|shop: Shop| async move { shop.set_user(&1).await }).await;
    visit.store.calls();
    visit.with(|shop: Shop| async move { shop.visits().update(|n| *n += 1).await }).await;
    assert_eq!(visit.store.calls(), ["load", "update"]);
}

#[tokio::test]
async fn an_update_of_a_field_without_default_may_set_or_remove_it() {
    let visit = Visit::new();
    visit
        .with(|shop: Shop| async move {
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
async fn thirty_two_parallel_visits_count_to_thirty_two_more() {
    let store = MemoryStore::new();
    let handler = |shop: Shop| async move {
        let visits = shop.visits().update(|visits| {
            *visits += 1;
            *visits
        });
        visits.await.map(|visits| visits.to_string())
    };
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(store));
    let browser = Browser::new(app);
    assert_eq!(browser.text("/").await, "101");
    for round in 1..=20 {
        let tabs: Vec<_> = (0..32)
            .map(|_| {
                let tab = browser.clone();
                tokio::spawn(async move { tab.text("/").await })
            })
            .collect();
        let mut seen = Vec::new();
        for tab in tabs {
            seen.push(tab.await.unwrap().parse::<u64>().unwrap());
        }
        seen.sort_unstable();
        let first = 102 + (round - 1) * 32;
        assert_eq!(seen, (first..first + 32).collect::<Vec<_>>(), "each visit got its own number");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_parallel_writes_of_different_fields_all_survive() {
    let store = MemoryStore::new();
    let app = Router::new()
        .route("/start", get(|session: Session| async move { session.set("first", &0, None, None).await }))
        .route(
            "/set/{name}",
            get(|session: Session, axum::extract::Path(name): axum::extract::Path<String>| async move {
                session.set(&name, &name, None, None).await
            }),
        )
        .route("/count", get(|session: Session| async move {
            let all = session.get_all().await?;
            Ok::<_, Error>(all.map_or(0, |all| all.names().len()).to_string())
        }))
        .layer(SessionLayer::new(store));
    let browser = Browser::new(app);
    browser.text("/start").await;
    let tabs: Vec<_> = (0..64)
        .map(|tab| {
            let browser = browser.clone();
            tokio::spawn(async move { browser.text(&format!("/set/f{tab}")).await })
        })
        .collect();
    for tab in tabs {
        tab.await.unwrap();
    }
    assert_eq!(browser.text("/count").await, "65");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_that_ask_for_a_flash_get_it_once() {
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
        let browser = Browser::new(app);
        browser.text("/set").await;
        let (one, two) = (browser.clone(), browser.clone());
        let (one, two) = tokio::join!(
            tokio::spawn(async move { one.text("/").await }),
            tokio::spawn(async move { two.text("/").await }),
        );
        assert_eq!(one.unwrap() + &two.unwrap(), "saved");
    }
}

#[tokio::test]
async fn an_update_that_is_beaten_a_few_times_counts_on_what_it_finds() {
    let visit = Visit::new();
    visit.with(|shop: Shop| async move { shop.set_visits(&0).await }).await;
    visit.store.rival(10);
    visit
        .with(|shop: Shop| async move {
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
    let calls = visit.store.calls();
    assert_eq!(calls.iter().filter(|call| **call == "update").count(), 11, "{calls:?}");
    assert_eq!(
        calls.iter().filter(|call| **call == "load").count(),
        1,
        "a conflict tells the value"
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_that_is_always_beaten_gives_up_and_changes_nothing() {
    let visit = Visit::new();
    visit.with(|shop: Shop| async move { shop.set_visits(&0).await }).await;
    visit.store.rival(100);
    let begun = tokio::time::Instant::now();
    visit
        .with(|shop: Shop| async move {
            let result = shop.visits().update(|visits| *visits += 100).await;
            assert!(matches!(result, Err(Error::Conflict { field }) if field == "shop.visits"));
            assert_eq!(shop.visits().await?, 53, "the last of 48 rivals");
            Ok(())
        })
        .await;
    assert!(begun.elapsed() < Duration::from_millis(48 * 50), "the pauses are bounded");
}

#[tokio::test]
async fn fields_live_as_long_as_they_are_declared_to() {
    let visit = Visit::new();
    visit
        .with(|shop: Shop| async move {
            shop.edit()
                .theme("dark")
                .cart(&Cart::default())
                .visits(&5)
                .flash("hello")
                .commit()
                .await
        })
        .await;
    visit.clock.advance(Duration::from_secs(59));
    visit
        .with(|shop: Shop| async move {
            assert_eq!(shop.theme().await?.as_deref(), Some("dark"));
            shop.theme().expire(Duration::from_secs(120)).await.map(drop)
        })
        .await;
    visit.clock.advance(Duration::from_secs(119));
    visit
        .with(|shop: Shop| async move {
            assert_eq!(shop.theme().await?.as_deref(), Some("dark"));
            Ok(())
        })
        .await;
    visit.clock.advance(Duration::from_secs(600));
    visit
        .with(|shop: Shop| async move {
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
async fn a_session_slides_with_use_up_to_its_absolute_end() {
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
    let browser = Browser::new(app);
    browser.text("/set").await;
    for _ in 0..3 {
        clock.advance(hour * 5 / 6);
        assert_eq!(browser.text("/").await, "1");
    }
    clock.advance(hour / 2);
    assert_eq!(browser.text("/").await, "100", "three hours are over");

    browser.text("/set").await;
    clock.advance(hour);
    assert_eq!(browser.text("/").await, "100", "an hour without use");

    browser.text("/set").await;
    browser.text("/shorten").await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(browser.text("/").await, "100");

    browser.text("/set").await;
    for _ in 0..4 {
        browser.text("/prolong").await;
        clock.advance(hour * 5 / 6);
    }
    assert_eq!(browser.text("/").await, "100", "no call moves the end past three hours");
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
        #[field(version = 2)]
        value: String,
        kept: u8,
    }

    #[session]
    pub struct Careless {
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
async fn a_changed_type_reads_as_absent_or_as_an_error_never_as_garbage() {
    use versions::{Careless, First, Old, Second, SwitchedCodec};
    let visit = Visit::new();
    visit
        .with(|first: First| async move {
            first.edit().value(&Old { a: 1, b: 2 }).kept(&3).commit().await
        })
        .await;
    visit
        .with(|switched: SwitchedCodec| async move {
            assert_eq!(
                switched.value().await?,
                Some(Old { a: 1, b: 2 }),
                "the header tells the codec"
            );
            assert_eq!(switched.kept().await?, Some(3));
            Ok(())
        })
        .await;
    let (log, guard) = Log::start();
    visit
        .with(|second: Second| async move {
            assert_eq!(second.value().await?, None);
            assert_eq!(second.value().await?, None);
            assert_eq!(second.kept().await?, Some(3));
            Ok(())
        })
        .await;
    drop(guard);
    assert_eq!(log.text().matches("of another version").count(), 1);
    visit
        .with(|careless: Careless| async move {
            let error = careless.value().await.unwrap_err();
            assert!(matches!(&error, Error::Decode { field, .. } if field == "value"));
            assert_eq!(careless.kept().await?, 3, "one bad field does not spoil the others");
            let update = careless.value().update(|value| value.take()).await;
            assert!(
                matches!(update, Err(Error::Decode { .. })),
                "what cannot be read is not overwritten"
            );
            careless.set_value(&vec!["new".to_owned()]).await?;
            assert_eq!(careless.value().await?, Some(vec!["new".to_owned()]));
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn a_write_of_unknown_fate_is_read_anew() {
    let visit = Visit::new();
    visit.with(|shop: Shop| async move { shop.set_visits(&1).await }).await;
    let store = visit.store.clone();
    visit
        .with(move |shop: Shop| async move {
            assert_eq!(shop.visits().await?, 1);
            store.fail_next(Fault::AnswerLost);
            let error = shop.set_visits(&2).await.unwrap_err();
            assert!(error.is_unknown());
            assert_eq!(shop.visits().await?, 2, "it did happen");
            store.fail_next(Fault::Unreachable);
            assert!(!shop.set_visits(&3).await.unwrap_err().is_unknown());
            assert_eq!(shop.visits().await?, 2);
            Ok(())
        })
        .await;
}

/// So that a cache need not be told twice.
#[tokio::test]
async fn a_store_hears_of_fields_that_a_cache_does_not_answer_alone() {
    let visit = Visit::new();
    let store = visit.store.clone();
    visit
        .with(move |shop: Shop| async move {
            shop.user().await?;
            assert_eq!(store.declared(), []);
            shop.theme().await?;
            shop.cart().update(|_| ()).await?;
            let (theme, cart) = (
                ("shop.t".to_owned(), CachePolicy::Checked),
                ("shop.cart".to_owned(), CachePolicy::Never),
            );
            assert_eq!(store.declared(), [theme.clone(), cart.clone()]);
            shop.session().read((Shop::USER, Shop::THEME)).await?;
            assert_eq!(store.declared(), std::slice::from_ref(&theme));
            shop.load().await?;
            assert_eq!(store.declared(), [cart, theme]);
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn what_a_cache_was_not_told_is_done_and_said() {
    let visit = Visit::new();
    visit.with(|shop: Shop| async move { shop.set_flash("saved").await }).await;
    let store = visit.store.clone();
    visit
        .with(move |shop: Shop| async move {
            let is_said = |answer: Result<(), Error>| match answer {
                Err(error @ Error::Unconfirmed { within }) => {
                    assert_eq!(within, Probe::<MemoryStore>::WITHIN);
                    assert!(!error.is_unknown());
                }
                other => panic!("{other:?}"),
            };
            let untold = || store.fail_next(Fault::CacheNotTold);
            untold();
            is_said(shop.set_visits(&1).await);
            assert_eq!(shop.visits().await?, 1);
            shop.set_visits(&2).await?;
            // It is read before it is written.
            shop.session().refresh().await;
            shop.visits().await?;
            untold();
            is_said(shop.visits().update(|visits| *visits += 1).await);
            assert_eq!(shop.visits().await?, 3);
            untold();
            is_said(shop.edit().visits(&4).remove_cart().commit().await);
            untold();
            is_said(shop.visits().remove().await.map(drop));
            untold();
            is_said(shop.session().regenerate().await);
            untold();
            is_said(shop.session().expire(60).await);
            untold();
            assert_eq!(shop.flash().take().await?.as_deref(), Some("saved"), "nobody else gets it");
            assert_eq!(shop.visits().await?, 100);
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn no_value_reaches_the_log() {
    let (log, _guard) = Log::start();
    let visit = Visit::new();
    visit
        .with(|session: Session| async move {
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
        .layer(SessionLayer::new(visit.store.clone()));
    let browser = Browser::new(app);
    browser.text("/set").await;
    assert_eq!(browser.get("/get").await.status, axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    assert!(log.text().contains("could not be decoded"));
    assert!(!log.text().contains("hunter2"), "{}", log.text());

    let value = bytes::Bytes::from_static(b"hunter2");
    let put = FieldWrite { name: "word", value: &value, ttl: None, hot: CachePolicy::Auto };
    let expect = Precondition { name: "word", value: Some(&value) };
    let conflict = Updated::Conflict { current: Some(value.clone()) };
    let stored = StoredField {
        name: "word".into(),
        value: value.clone(),
        ttl: None,
        hot: CachePolicy::Auto,
    };
    let shown = format!("{put:?} {expect:?} {conflict:?} {stored:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
}

const THEME: Field<String> =
    Field::new(&const { FieldSpec::new("theme").with_codec(Codec::MessagePack) });

#[tokio::test]
async fn untyped_names_are_checked() {
    let visit = Visit::new();
    visit
        .with(|session: Session| async move {
            for name in ["", "~m", "a\0b", &"n".repeat(129)] {
                assert!(matches!(session.get::<u8>(name).await, Err(Error::FieldName(_))));
                assert!(matches!(
                    session.set(name, &1, None, None).await,
                    Err(Error::FieldName(_))
                ));
                assert!(matches!(session.remove(name).await, Err(Error::FieldName(_))));
            }
            assert!(matches!(session.set("a", &1, Some(0), None).await, Err(Error::Ttl(_))));
            assert!(matches!(session.set("a", &1, None, Some(u64::MAX)).await, Err(Error::Ttl(_))));
            assert!(matches!(session.expire(0).await, Err(Error::Ttl(_))));
            assert!(!session.remove("a").await?);
            assert!(session.get_all().await?.is_none(), "nothing was begun");
            Ok(())
        })
        .await;
    assert!(visit.store.calls().is_empty());
}

#[tokio::test]
async fn keys_made_by_hand_work_like_declared_ones() {
    const SPEC: FieldSpec = FieldSpec::new("shop.visits").with_ttl(Ttl::from_secs(5));
    const VISITS: Field<u64, OrDefault<u64>> = Field::new(&SPEC).or(|| 0);
    let visit = Visit::new();
    visit
        .with(|session: Session| async move {
            assert_eq!(session.entry(VISITS).await?, 0);
            session.entry(VISITS).update(|visits| *visits += 1).await?;
            let shop = Shop::from(session.clone());
            assert_eq!(shop.visits().await?, 1);
            session.edit().set(VISITS, &9).commit().await?;
            assert_eq!(session.get_all().await?.unwrap().read(VISITS)?, 9);
            Ok(())
        })
        .await;
}

#[test]
fn the_schema_tells_what_was_declared() {
    let schema = Shop::SCHEMA;
    assert!(std::ptr::eq(schema, <Shop as TypedSession>::SCHEMA));
    let names: Vec<_> = schema.fields().iter().map(FieldSpec::name).collect();
    assert_eq!(
        names,
        ["shop.user", "shop.cart", "shop.flash", "shop.draft", "shop.visits", "shop.t"]
    );
    let user = schema.field("shop.user").unwrap();
    assert_eq!(user.ttl(), Some(Ttl::from_secs(30 * 24 * 3600)));
    assert_eq!(user.hot(), CachePolicy::For(Ttl::from_secs(3600)));
    assert!(user.is_principal() && user.is_rotating());
    assert_eq!(Shop::CART.spec().hot(), CachePolicy::Never);
    assert_eq!(Shop::THEME.spec().hot(), CachePolicy::Checked);
    assert_eq!(Shop::DRAFT.spec().codec(), Codec::MessagePack);
    assert!(Shop::DRAFT.spec().is_lazy() && Shop::FLASH.spec().is_once());
}
