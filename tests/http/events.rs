//! Tests of metrics and log lines: they count the right events, and contain neither secrets nor
//! values.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
use ruts_tests_support::{ClientExt, Log, TestSession, new_client};

#[session]
struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    visits: u64,
}

/// Causes every counted event at least once. Returns all tokens.
async fn cause_every_event() -> Vec<String> {
    let clock = ManualClock::new();
    let store = Arc::new(MemoryStore::builder().clock(clock.clone()).build());
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
        .route("/sign-out", get(|shop: Shop| async move { shop.user().remove().await.map(|_| ()) }))
        .route("/delete", get(|session: Session| async move { session.delete().await }))
        .layer(layer);
    let client = new_client(app);
    let mut tokens = Vec::new();
    client.text("/begin").await;
    tokens.extend(client.token());
    let thief = client.steal();
    client.text("/sign-in/lovelace").await;
    tokens.extend(client.token());
    clock.advance(Duration::from_secs(900));
    thief.text("/read").await;
    client.text("/read").await;
    tokens.extend(client.token());
    let second = client.stranger();
    second.text("/sign-in/lovelace").await;
    client.stranger().get("/sign-in/lovelace").await;
    tokens.extend(second.token());
    second.text("/sign-out").await;
    tokens.extend(second.token());
    let both = format!("__Host-id={}; __Host-id=x", client.token().unwrap());
    client.stranger().get_with("/read", &[("cookie", &both)]).await;
    Shop::sessions(&store).by_user("lovelace").revoke_all().await.unwrap();
    second.text("/delete").await;
    client.stranger().get_with("/read", &[("cookie", "__Host-id=x")]).await;
    Shop::sessions(&store).revoke_everyone().await.unwrap();
    client.text("/read").await;
    tokens
}

// proves: CS-16 CS-14 CS-6
#[tokio::test]
async fn every_event_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    cause_every_event().await;
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
        ("ruts_field_reads_total field=visits,version=1,shape=own", 2),
        ("ruts_limits_reached_total", 1),
        ("ruts_principals_removed_total", 1),
        ("ruts_revoked_everyone_total", 1),
        ("ruts_secrets_replaced_total cause=renewal", 1),
        ("ruts_secrets_replaced_total cause=write", 2),
        ("ruts_secrets_reused_total", 1),
        ("ruts_sessions_created_total", 2),
        ("ruts_sessions_ended_total cause=request", 1),
        ("ruts_sessions_ended_total cause=revoked", 1),
        ("ruts_sign_ins_total assurance=1", 2),
        ("ruts_unknown_tokens_total", 1),
        ("ruts_unreadable_tokens_total", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counted, BTreeMap::from(expected));
}

#[tokio::test]
async fn store_calls_are_timed_and_cache_hits_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    let store =
        LayeredStore::builder(MemoryCache::new(9), MemoryStore::new()).build_for_one_process();
    let session = TestSession::begin(&Arc::new(store.clone())).await;
    session.set("a", "1").await.unwrap().unwrap();
    for _ in 0..3 {
        assert_eq!(session.get("b").await.unwrap(), None);
        // A separate task fills the cache.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let app = Router::new()
        .route("/", get(|shop: Shop| async move { shop.set_visits(&1).await }))
        .layer(SessionLayer::new(store));
    new_client(app).text("/").await;
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
    for tier in ["cache memory cache", "origin memory"] {
        let times = counted.get(&format!("ruts_tier_seconds {tier} done"));
        assert!(times.is_some_and(|times| *times > 1), "{tier}: {counted:#?}");
    }
}

// proves: CS-16 ASVS-16.2.5
#[tokio::test]
async fn the_log_names_sessions_and_no_secret() {
    let (log, guard) = Log::start();
    let tokens = cause_every_event().await;
    drop(guard);
    let log = log.text();
    for event in [
        "session created",
        "session secret replaced",
        "signed in",
        "principal removed from session",
        "session ended",
        "all sessions ended",
        "reuse of a former session secret",
        "unknown session token",
        "unreadable session token",
        "session limit of a principal reached",
        "several session cookies",
    ] {
        assert!(log.contains(event), "{event}");
    }
    for token in tokens {
        assert!(log.contains(&token[..22]), "the log should contain the id");
        assert!(!log.contains(&token[23..]), "the log should not contain the secret");
    }
    assert!(!log.contains("lovelace"), "the log should not contain the principal");
}

// proves: ASVS-16.5.1
#[test]
fn error_texts_hold_no_value() {
    let texts = [
        Error::Ended.to_string(),
        Error::SignInRequired.to_string(),
        Error::TooManySessions.to_string(),
        Error::ResponseSent.to_string(),
    ];
    assert_eq!(
        texts,
        [
            "the session has ended, or another request has replaced its secret",
            "no principal is signed in",
            "the principal has reached its limit of sessions",
            "the response was sent: a session can no longer be created, nor a secret replaced",
        ]
    );
}
