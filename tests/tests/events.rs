//! What is counted and logged of sessions, and what is not.

use std::{collections::BTreeMap, time::Duration};

use axum::{Router, extract::Path, routing::get};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use ruts::{
    Error, Session, SessionLayer, session,
    store::{
        OnLimit,
        layered::LayeredStore,
        memory::{ManualClock, MemoryCache, MemoryStore},
    },
};
use ruts_tests::{Browser, Log, Visitor};

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    visits: u64,
}

/// Everything that is counted, once at least.
async fn everything() -> Vec<String> {
    let clock = ManualClock::new();
    let store = std::sync::Arc::new(MemoryStore::builder().clock(clock.clone()).build());
    let layer = SessionLayer::new(&store)
        .renew_every(Duration::from_secs(900))
        .max_sessions(2, OnLimit::Reject);
    let app = Router::new()
        .route("/begin", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .route("/read", get(|shop: Shop| async move { shop.visits().await.map(|n| n.to_string()) }))
        .route(
            "/sign-in/{user}",
            get(|shop: Shop, Path(user): Path<String>| async move { shop.set_user(&user).await }),
        )
        .route("/forget", get(|shop: Shop| async move { shop.user().remove().await.map(|_| ()) }))
        .route("/out", get(|session: Session| async move { session.delete().await }))
        .layer(layer);
    let browser = Browser::new(app);
    let mut tokens = Vec::new();
    browser.text("/begin").await;
    tokens.extend(browser.token());
    let thief = browser.steal();
    browser.text("/sign-in/ada").await;
    tokens.extend(browser.token());
    clock.advance(Duration::from_secs(900));
    thief.text("/read").await;
    browser.text("/read").await;
    tokens.extend(browser.token());
    let second = browser.stranger();
    second.text("/sign-in/ada").await;
    browser.stranger().get("/sign-in/ada").await;
    tokens.extend(second.token());
    second.text("/forget").await;
    tokens.extend(second.token());
    let both = format!("__Host-id={}; __Host-id=x", browser.token().unwrap());
    browser.stranger().get_with("/read", &[("cookie", &both)]).await;
    Shop::sessions(&store).by_user("ada").revoke_all().await.unwrap();
    second.text("/out").await;
    Shop::sessions(&store).revoke_everyone().await.unwrap();
    browser.text("/read").await;
    tokens
}

// proves: CS-16 CS-14 CS-6
#[tokio::test]
async fn what_happens_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    everything().await;
    drop(guard);
    let counted: BTreeMap<String, u64> = (snapshotter.snapshot().into_vec().into_iter())
        .filter_map(|(key, _, _, value)| {
            let key = key.key();
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let DebugValue::Counter(count) = value else { return None };
            Some(([key.name(), &*labels.join(",")].join(" ").trim().to_owned(), count))
        })
        .collect();
    let expected = [
        ("ruts_duplicate_cookies_total", 1),
        ("ruts_limits_reached_total", 1),
        ("ruts_revoked_everyone_total", 1),
        ("ruts_secrets_reused_total", 1),
        ("ruts_sessions_created_total", 2),
        ("ruts_sessions_ended_total cause=request", 1),
        ("ruts_sessions_ended_total cause=revoked", 1),
        ("ruts_sessions_rotated_total cause=renewal", 1),
        ("ruts_sessions_rotated_total cause=write", 2),
        ("ruts_sign_ins_total assurance=1", 2),
        ("ruts_sign_outs_total", 1),
        ("ruts_unknown_tokens_total", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counted, BTreeMap::from(expected));
}

/// Of each tier, how long it takes, and whether the cache was of use.
#[tokio::test]
async fn calls_are_timed_and_hits_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    let store = LayeredStore::in_one_process(MemoryCache::new(9), MemoryStore::new());
    let visitor = Visitor::begin(&std::sync::Arc::new(store.clone())).await;
    visitor.set("a", "1").await.unwrap();
    for _ in 0..3 {
        assert_eq!(visitor.get("b").await.unwrap(), None);
        // What was read is put into the cache behind the reader.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let app = Router::new()
        .route("/", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .layer(SessionLayer::new(store));
    Browser::new(app).text("/").await;
    drop(guard);
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(|label| label.value().to_owned()).collect();
        let count = match value {
            DebugValue::Counter(count) => count,
            DebugValue::Histogram(times) => times.len() as u64,
            DebugValue::Gauge(_) => panic!("{key:?}"),
        };
        counted.insert(format!("{} {}", key.key().name(), labels.join(" ")), count);
    }
    for (name, count) in [
        ("ruts_cache_reads_total miss", 1),
        ("ruts_cache_reads_total hit", 2),
        ("ruts_cache_fills_total offered", 1),
        ("ruts_store_seconds layered create done", 1),
        ("ruts_sessions_created_total ", 1),
    ] {
        assert_eq!(counted.get(name), Some(&count), "{name}: {counted:#?}");
    }
    for tier in ["hot memory cache", "cold memory"] {
        let times = counted.get(&format!("ruts_tier_seconds {tier} done"));
        assert!(times.is_some_and(|times| *times > 1), "{tier}: {counted:#?}");
    }
}

// proves: CS-16 ASVS-16.2.5
#[tokio::test]
async fn logs_name_sessions_and_tell_no_secret() {
    let (log, guard) = Log::start();
    let tokens = everything().await;
    drop(guard);
    let log = log.text();
    for event in [
        "session created",
        "session rotated",
        "signed in",
        "signed out",
        "session ended",
        "all sessions ended",
        "reuse of a former session secret",
        "unknown session token",
        "too many sessions",
        "several session cookies",
    ] {
        assert!(log.contains(event), "{event}");
    }
    for token in tokens {
        assert!(log.contains(&token[..22]), "sessions are named");
        assert!(!log.contains(&token[23..]), "no secret is told");
    }
    assert!(!log.contains("ada"), "who it is is nobody's business");
}

// proves: ASVS-16.5.1
#[test]
fn errors_tell_nothing_of_what_they_are_about() {
    let texts = [
        Error::Ended.to_string(),
        Error::SignInRequired.to_string(),
        Error::TooManySessions.to_string(),
        Error::ResponseSent.to_string(),
    ];
    assert_eq!(
        texts,
        [
            "the session was ended or taken over by another request",
            "nobody is signed in",
            "there are as many sessions of this principal as there may be",
            "the response was sent already: no session can be created or rotated any more",
        ]
    );
}
