use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::broadcast,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::Instrument;

use super::{Channel, Heard};
use crate::{
    principal::PrincipalKey,
    store::{
        Confirmed, Create, Credentials, Loaded, Lookup, PageRequest, Projection, RevokeTarget,
        Revoked, SessionMeta, SessionPage, Store, StoreError, TakeField, Touch, Update, Updated,
    },
    token::SessionId,
    ttl::CachePolicy,
};

/// For how long an announcement is tried.
const LONGEST: Duration = Duration::from_secs(5);

/// How long after a failure one listens again.
const PAUSE: Duration = Duration::from_secs(1);

/// A store whose changes are notify to all processes: the [module](super) says how.
///
/// ```no_run
/// # #[cfg(feature = "postgres-store")]
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use ruts::{SessionLayer, store::notify::NotifyingStore};
/// use ruts::store::postgres::{PostgresChannel, PostgresStoreBuilder};
/// use sqlx::PgPool;
///
/// let pool = PgPool::connect("postgres://localhost/app").await?;
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
    heard: Heard,
    /// Listens, once somebody watches.
    listener: OnceLock<JoinHandle<()>>,
}

impl<S, C> Drop for Inner<S, C> {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
    }
}

impl<S: Store, C: Channel> NotifyingStore<S, C> {
    /// Announces the changes of `store` through `channel`. Connects to nothing by itself: it listens from
    /// when a session is first watched.
    pub fn new(store: S, channel: C) -> Self {
        let (heard, _) = broadcast::channel(256);
        let (channel, heard) = (Arc::new(channel), Heard(heard));
        Self { inner: Arc::new(Inner { store, channel, heard, listener: OnceLock::new() }) }
    }

    fn announce(&self, changed: impl IntoIterator<Item = Option<SessionId>>) {
        let messages: Vec<String> = (changed.into_iter())
            .map(|id| id.map(|id| id.to_string()).unwrap_or_default())
            .collect();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if messages.is_empty() {
            return;
        }
        let channel = Arc::clone(&self.inner.channel);
        let publish = async move {
            for message in messages {
                match timeout(LONGEST, channel.publish(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(error = &*error, "a change was not announced");
                    }
                    Err(_) => tracing::warn!("a change was not notify in time"),
                }
            }
        };
        runtime.spawn(publish.in_current_span());
    }

    fn listen(&self) {
        let inner = &self.inner;
        inner.listener.get_or_init(|| {
            let (channel, heard) = (Arc::clone(&inner.channel), inner.heard.clone());
            tokio::spawn(async move {
                loop {
                    let error = channel.listen(&heard).await;
                    tracing::warn!(error = &*error, "announcements of changes are not heard");
                    sleep(PAUSE).await;
                }
            })
        });
    }
}

impl<S: Store, C: Channel> Store for NotifyingStore<S, C> {
    fn name(&self) -> &'static str {
        self.inner.store.name()
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        self.inner.store.load(credentials, fields, touch).await
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        self.inner.store.create(create).await
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let updated = self.inner.store.update(credentials, update).await;
        self.announce(update.sign.map(|_| Some(*credentials.id)));
        updated
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let taken = self.inner.store.take(credentials, take).await;
        self.announce(take.sign_out.then_some(Some(*credentials.id)));
        taken
    }

    async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
        let deleted = self.inner.store.delete(credentials).await;
        self.announce([Some(*credentials.id)]);
        deleted
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        self.inner.store.inspect(id).await
    }

    fn wait_for_change(&self, id: &SessionId) -> impl Future<Output = ()> + Send + 'static {
        let changed = self.inner.store.wait_for_change(id);
        let (mut announced, id) = (self.inner.heard.0.subscribe(), *id);
        self.listen();
        async move {
            let notify = async {
                // Whoever is behind looks for himself.
                while announced.recv().await.is_ok_and(|told| told.is_some_and(|it| it != id)) {}
            };
            tokio::select! {
                () = notify => {}
                () = changed => {}
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
    ) -> Result<Revoked, StoreError> {
        let revoked = self.inner.store.revoke(principal, target).await;
        match &revoked {
            Ok(revoked) => self.announce(revoked.ids.iter().copied().map(Some)),
            // Some may have been ended, and it is not known which.
            Err(_) => self.announce([None]),
        }
        revoked
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        let confirmed = self.inner.store.revoke_everyone().await;
        self.announce([None]);
        confirmed
    }

    fn hint_cache_policy(&self, name: &str, hot: CachePolicy) {
        self.inner.store.hint_cache_policy(name, hot);
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
