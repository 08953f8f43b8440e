//! [`NotifyingStore`]: a store that publishes the ends of sessions and the changes of their
//! principals.
//!
//! Called by the session like any [`Store`]. Works with any store and any [`Channel`]. Knows
//! nothing about their implementations.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::Instrument;

use super::channel::{Channel, ChannelError, HEARTBEAT, Listener};
use crate::{
    auth::PrincipalKey,
    cache_policy::CachePolicy,
    store::{
        Create, Credentials, Expiry, Loaded, PageRequest, Projection, RevokeTarget, SessionMeta,
        SessionPage, Store, StoreError, StoreResult, TakeField, Touch, Update, Updated, Written,
    },
    token::SessionId,
};

/// Maximum time to publish a message.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failure to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// If a subscription has received no message for this time, the process publishes a message to
/// itself.
const MAX_QUIET: Duration = Duration::from_secs(10);

/// Maximum time until that message comes back.
const MAX_ECHO: Duration = Duration::from_secs(5);

/// A store that notifies all processes when a session is deleted or revoked, or its principal
/// changes. The [module](super) lists the events.
///
/// ```no_run
/// # #[cfg(feature = "postgres-store")]
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use ruts::{SessionLayer, store::notify::NotifyingStore};
/// use ruts::store::postgres::{PostgresChannel, PostgresStoreBuilder};
/// use sqlx::PgPool;
///
/// let pool = PgPool::connect_lazy("postgres://localhost/app")?;
/// let store = PostgresStoreBuilder::new(pool.clone(), true).build().await?;
/// let store = NotifyingStore::new(store, PostgresChannel::new(pool, "sessions"));
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub struct NotifyingStore<S, C> {
    inner: Arc<Inner<S, C>>,
}

struct Inner<S, C> {
    store: S,
    channel: Arc<C>,
    listener: Listener,
    /// The task that listens. It is started when a session is first watched. It ends with the
    /// runtime on which it was started, and is then started again when a session is next watched.
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl<S, C> Drop for Inner<S, C> {
    fn drop(&mut self) {
        let listening = self.listening.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = listening {
            task.abort();
        }
    }
}

impl<S: Store, C: Channel> NotifyingStore<S, C> {
    /// Creates a store that publishes the events of `store` through `channel`. The process begins
    /// to listen when a session is first watched.
    pub fn new(store: S, channel: C) -> Self {
        let (channel, listener) = (Arc::new(channel), Listener::new());
        Self { inner: Arc::new(Inner { store, channel, listener, listening: Mutex::default() }) }
    }

    /// Publishes changed sessions in the background. `None` stands for all sessions.
    fn notify(&self, changed: impl IntoIterator<Item = Option<SessionId>>) {
        let messages: Vec<String> = (changed.into_iter())
            .map(|id| id.map(|id| id.to_string()).unwrap_or_default())
            .collect();
        let Ok(runtime) = Handle::try_current() else { return };
        if messages.is_empty() {
            return;
        }
        let channel = Arc::clone(&self.inner.channel);
        let publish = async move {
            for message in messages {
                match timeout(PUBLISH_TIMEOUT, channel.publish(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(error = &*error, "a change was not published");
                    }
                    Err(_) => tracing::warn!("a change was not published in time"),
                }
            }
        };
        runtime.spawn(publish.in_current_span());
    }

    fn listen(&self) {
        let inner = &self.inner;
        let mut listening = inner.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if listening.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (channel, listener) = (Arc::clone(&inner.channel), inner.listener.clone());
        *listening = Some(tokio::spawn(async move {
            loop {
                listener.set_heard(None);
                let error = tokio::select! {
                    error = channel.listen(&listener) => error,
                    error = until_deaf(&*channel, &listener) => error,
                };
                tracing::warn!(error = &*error, "the notification channel failed");
                sleep(PAUSE).await;
            }
        }));
    }
}

/// Waits until a subscription no longer receives messages, and returns this failure. The connection
/// may have been cut without a notice, or a pooler may have ended the subscription.
async fn until_deaf<C: Channel>(channel: &C, listener: &Listener) -> ChannelError {
    loop {
        sleep(MAX_QUIET).await;
        let Some(heard) = listener.heard().filter(|heard| heard.elapsed() >= MAX_QUIET) else {
            continue;
        };
        let published = timeout(PUBLISH_TIMEOUT, channel.publish(HEARTBEAT.to_owned())).await;
        if !matches!(published, Ok(Ok(()))) {
            // A failure to publish says nothing about the subscription.
            continue;
        }
        sleep(MAX_ECHO).await;
        if listener.heard() == Some(heard) {
            return "a message of this process did not come back".into();
        }
    }
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a default would hide the method of the inner store"
)]
impl<S: Store, C: Channel> Store for NotifyingStore<S, C> {
    fn name(&self) -> &'static str {
        self.inner.store.name()
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        self.inner.store.load(credentials, fields, touch).await
    }

    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        self.inner.store.create(create).await
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let updated = self.inner.store.update(credentials, update).await;
        self.notify(update.auth_change.map(|_| Some(*credentials.id)));
        updated
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let taken = self.inner.store.take(credentials, take).await;
        self.notify(take.sign_out.then_some(Some(*credentials.id)));
        taken
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let deleted = self.inner.store.delete(credentials).await;
        self.notify([Some(*credentials.id)]);
        deleted
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        self.inner.store.inspect(id).await
    }

    async fn expiry(&self, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
        self.inner.store.expiry(id).await
    }

    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        let changed_here = self.inner.store.wait_for_change(id);
        let changed_anywhere = self.inner.listener.watchers.watch(id);
        self.listen();
        async move {
            tokio::select! {
                () = changed_anywhere => {}
                () = changed_here => {}
            }
        }
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        self.inner.store.list_by_principal(principal, page, fields).await
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        let revoked = self.inner.store.revoke(principal, target).await;
        match &revoked {
            Ok(revoked) => self.notify(revoked.answer.iter().copied().map(Some)),
            // Some sessions may have ended, and it is not known which, so every watcher has to
            // check its session.
            Err(_) => self.notify([None]),
        }
        revoked
    }

    async fn revoke_everyone(&self) -> Result<Written<()>, StoreError> {
        let revoked = self.inner.store.revoke_everyone().await;
        self.notify([None]);
        revoked
    }

    fn hint_cache_policy(&self, name: &str, policy: CachePolicy) {
        self.inner.store.hint_cache_policy(name, policy);
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.inner.store.delete_expired(limit).await
    }
}

impl<S, C> Clone for NotifyingStore<S, C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S: Store, C> fmt::Debug for NotifyingStore<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifyingStore").field("store", &self.inner.store.name()).finish()
    }
}
