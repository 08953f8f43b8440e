//! Connections that outlive their request end with their session.
//!
//! The stores run on the virtual clock of a paused runtime, so that no test depends on real time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use ruts::{
    Session, SessionLayer,
    session::SessionChange,
    store::{
        Store,
        memory::{Clock, ManualClock, MemoryStore},
        notify::{Channel, ChannelError, Listener, NotifyingStore},
    },
};
use ruts_tests_support::{
    ClientExt, Fault, InstrumentedStore, Log, delegate_store, new_client,
    scenarios::watch::{
        ENDINGS, Shop, a_channel_announces_changes, assert_ends, assert_open, connect, routes,
    },
};
use tokio::{
    sync::{Notify, broadcast},
    time::Instant,
};

/// Less than the interval at which a watcher checks the session without a notification.
const PROMPT: Duration = Duration::from_millis(1);

/// The clock of a paused runtime.
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A store that never reports a change: it has the default `wait_for_change`.
#[derive(Clone)]
struct Unnoticing<S>(S);

impl<S: Store> Store for Unnoticing<S> {
    delegate_store!(self.0: name load create update take delete inspect expiry list_by_principal
        revoke revoke_everyone hint_cache_policy delete_expired);
}

fn store() -> InstrumentedStore<MemoryStore> {
    let clock = VirtualClock(Instant::now());
    InstrumentedStore::new(MemoryStore::builder().clock(clock).build())
}

fn app<S: Store>(store: &Arc<S>) -> Router {
    routes().layer(SessionLayer::new(Arc::clone(store)))
}

/// Checks that a connection ends before the watcher's own checks could end it.
async fn assert_ends_promptly(connection: tokio::task::JoinHandle<String>, reason: SessionChange) {
    let start = Instant::now();
    assert_ends(connection, reason).await;
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
}

// proves: ASVS-4.4.3
#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_session_and_not_before() {
    let store = Arc::new(store());
    let client = new_client(app(&store));
    let others = client.stranger();
    others.text("/begin").await;
    for (ending, reason) in ENDINGS {
        client.text("/sign-in/ada").await;
        let mut connection = connect(&client).await;
        client.text("/regenerate").await;
        client.text("/begin").await;
        client.text("/sign-in/ada").await;
        others.text("/delete").await;
        assert_open(&mut connection).await;
        client.text(ending).await;
        assert_ends_promptly(connection, reason).await;
    }
    let index = Shop::sessions(&store);
    client.text("/sign-in/ada").await;
    let connection = connect(&client).await;
    index.by_user("ada").revoke_all().await.unwrap();
    assert_ends_promptly(connection, SessionChange::Ended).await;
    let client = client.stranger();
    client.text("/begin").await;
    let connection = connect(&client).await;
    index.revoke_everyone().await.unwrap();
    assert_ends_promptly(connection, SessionChange::Ended).await;
    assert_eq!(
        client.stranger().text("/connect").await,
        "Ended",
        "a client without a session should get an answer immediately"
    );
}

/// A browser opens an event stream again by itself, also in a forgotten tab.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_opened_again_and_again_is_no_activity() {
    const MINUTE: Duration = Duration::from_secs(60);
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let watch = |session: Session| async move { session.watch().await.map(drop) };
    let who = |shop: Shop| async move { shop.user().await.map(|user| format!("{user:?}")) };
    let app = Router::new()
        .route("/in", get(|shop: Shop| async move { shop.set_user("ada").await }))
        .route("/watch", get(watch))
        .route("/", get(who))
        .layer(SessionLayer::new(store).idle_timeout(60 * MINUTE));
    let client = new_client(app);
    client.text("/in").await;
    for _ in 0..6 {
        clock.advance(10 * MINUTE);
        client.text("/watch").await;
    }
    assert_eq!(client.text("/").await, "None");
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_when_the_session_expires() {
    let idle = Duration::from_millis(700);
    let layer = SessionLayer::new(Arc::new(store())).idle_timeout(idle);
    let client = new_client(routes().layer(layer));
    client.text("/begin").await;
    let start = Instant::now();
    let connection = connect(&client).await;
    assert_ends(connection, SessionChange::Ended).await;
    let elapsed = start.elapsed();
    assert!((idle..idle * 2).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_between_the_check_and_the_wait_is_noticed() {
    let store = Arc::new(store());
    let client = new_client(app(&store));
    client.text("/begin").await;
    let mut pause = store.pause_after("inspect");
    let connection = tokio::spawn({
        let client = client.clone();
        async move { client.text("/connect").await }
    });
    pause.reached().await;
    client.steal().text("/delete").await;
    pause.resume();
    assert_ends_promptly(connection, SessionChange::Ended).await;
}

#[tokio::test(start_paused = true)]
async fn a_watcher_checks_again_after_a_store_failure() {
    let store = Arc::new(store());
    let client = new_client(app(&store));
    client.text("/begin").await;
    let mut pause = store.pause_before("load");
    let connection = tokio::spawn({
        let client = client.clone();
        async move { client.text("/connect").await }
    });
    pause.reached().await;
    store.fail_next(Fault::Unreachable);
    pause.resume();
    tokio::time::advance(Duration::from_secs(40 * 24 * 3600)).await;
    assert_ends(connection, SessionChange::Ended).await;
}

/// A channel within this process.
#[derive(Clone)]
struct LocalChannel(broadcast::Sender<String>);

impl Channel for LocalChannel {
    async fn publish(&self, message: String) -> Result<(), ChannelError> {
        // The send fails if there are no listeners, which is not an error.
        let _ = self.0.send(message);
        Ok(())
    }

    async fn listen(&self, listener: &Listener) -> ChannelError {
        let mut messages = self.0.subscribe();
        listener.on_subscribed();
        loop {
            match messages.recv().await {
                Ok(message) => listener.on_message(&message),
                Err(error) => return error.into(),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_announces_changes_to_another_process() {
    let store = Unnoticing(store());
    let channel = LocalChannel(broadcast::channel(16).0);
    a_channel_announces_changes([store.clone(), store], [channel.clone(), channel]).await;
}

/// A channel whose present subscriptions can be cut without a notice.
#[derive(Clone)]
struct CutChannel {
    messages: LocalChannel,
    cut: Arc<Notify>,
    /// Number of subscriptions so far.
    subscriptions: Arc<AtomicU32>,
}

impl Channel for CutChannel {
    async fn publish(&self, message: String) -> Result<(), ChannelError> {
        self.messages.publish(message).await
    }

    async fn listen(&self, listener: &Listener) -> ChannelError {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            error = self.messages.listen(listener) => error,
            () = self.cut.notified() => std::future::pending().await,
        }
    }
}

/// A router may forget the connection of a subscription, which is idle most of the time.
#[tokio::test(start_paused = true)]
async fn a_subscription_that_was_cut_is_renewed() {
    let (log, _guard) = Log::start();
    let channel = CutChannel {
        messages: LocalChannel(broadcast::channel(16).0),
        cut: Arc::default(),
        subscriptions: Arc::default(),
    };
    let store = Unnoticing(store());
    let own = Arc::new(NotifyingStore::new(store.clone(), channel.clone()));
    let other = Arc::new(NotifyingStore::new(store, channel.clone()));
    let client = new_client(app(&own));
    client.text("/sign-in/ada").await;
    let mut connection = connect(&client).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        channel.subscriptions.load(Ordering::Relaxed),
        1,
        "a quiet subscription should stay"
    );
    channel.cut.notify_waiters();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_open(&mut connection).await;
    assert_eq!(channel.subscriptions.load(Ordering::Relaxed), 2);
    assert!(log.text().contains("a message of this process did not come back"), "{}", log.text());
    Shop::sessions(&other).by_user("ada").revoke_all().await.unwrap();
    assert_ends_promptly(connection, SessionChange::Ended).await;
}

/// A channel on which every call fails.
struct BrokenChannel;

impl Channel for BrokenChannel {
    async fn publish(&self, _: String) -> Result<(), ChannelError> {
        Err("broken".into())
    }

    async fn listen(&self, _: &Listener) -> ChannelError {
        "broken".into()
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_channel_delays_no_request_and_no_change() {
    let store = Arc::new(NotifyingStore::new(store(), BrokenChannel));
    let client = new_client(app(&store));
    client.text("/sign-in/ada").await;
    let connection = connect(&client).await;
    client.text("/delete").await;
    assert_ends_promptly(connection, SessionChange::Ended).await;
}
