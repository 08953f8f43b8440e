use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    arguments::Arguments,
    client::RedisClient,
    layout::key,
    reply::{Answer, Said},
    script::{self, Limit, Script, require_fitness},
};
use crate::{
    store::{
        Access, Change, Create, Fields, LATE, Loaded, Lookup, Store, StoreError, StoreErrorKind,
        Take, Touch, Update, Updated,
    },
    token::{Handle, SecretHash},
};

pub(super) const NAME: &str = "redis";

/// Sessions in Redis or Valkey: one hash each, one command for each operation.
///
/// The [module](super) tells which servers and clients it works with, how sessions are laid out and
/// what failures look like. Clones share the client.
///
/// ```no_run
/// # #[cfg(feature = "redis-store")]
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use fred::{clients::Client, interfaces::ClientLike, types::config::Config};
/// use ruts::{SessionLayer, store::redis::RedisStore};
///
/// let client = Client::new(Config::from_url("redis://localhost:6379")?, None, None, None);
/// client.init().await?;
/// let store = RedisStore::new(Arc::new(client));
/// store.check().await?;
/// let layer = SessionLayer::new(store);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
pub struct RedisStore<C: RedisClient> {
    pub(super) link: Arc<C::Link>,
    pub(super) prefix: Arc<str>,
    pub(super) timeout: Duration,
}

impl<C: RedisClient> RedisStore<C> {
    /// A store that uses `client`, with the prefix `ruts` and a timeout of two seconds.
    ///
    /// Connects to nothing by itself.
    pub fn new(client: Arc<C>) -> Self {
        Self {
            link: Arc::new(client.link()),
            prefix: "ruts".into(),
            timeout: Duration::from_secs(2),
        }
    }

    /// What the keys begin with, before a colon: for several applications on one server.
    ///
    /// # Panics
    ///
    /// `prefix` holds a brace: it would decide on which shard of a cluster a session is kept.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        assert!(!prefix.contains(['{', '}']), "a prefix must hold no braces");
        self.prefix = prefix.into();
        self
    }

    /// How long an operation may take: from a millisecond to a day.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self
    }

    /// Whether the server answers and can keep sessions, good to have at start-up. Of a cluster, one
    /// node is asked. Two round trips.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Unsupported`] for a server without field expiry or a user who may not run
    /// what is needed, and whatever an operation may fail with.
    pub async fn check(&self) -> Result<(), StoreError> {
        let nobody = Handle::from_bytes([0; 16]);
        let key = key(&self.prefix, &nobody);
        require_fitness(&*self.link, script::PROBE, &key, Limit::new(self.timeout))
            .await
            .map_err(|failure| failure.into_error(NAME))?;
        let arguments = Arguments::of(&SecretHash::from_bytes([0; 32]), 4).touch(None);
        self.call(&script::LOAD, &nobody, arguments.constant("=").0).await.map(drop)
    }

    async fn call(
        &self,
        script: &'static Script,
        handle: &Handle,
        arguments: Vec<Bytes>,
    ) -> Result<(Said, Answer), StoreError> {
        let key = key(&self.prefix, handle);
        let reply = script
            .call(&*self.link, &key, &arguments, self.timeout)
            .await
            .map_err(|failure| failure.into_error(NAME))?;
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        let said = answer.said().ok_or_else(corrupt)?;
        Ok((said, answer))
    }
}

pub(super) fn corrupt() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Corrupt)
}

/// The answer about a session that was found, or that it was not.
fn found<T>(said: Said, answer: impl FnOnce() -> Option<T>) -> Result<Lookup<T>, StoreError> {
    match said {
        Said::Found => answer().map(Lookup::Found).ok_or_else(corrupt),
        Said::No(Lookup::Replaced { ago }) => Ok(Lookup::Replaced { ago }),
        Said::No(Lookup::Ended { ago }) => Ok(Lookup::Ended { ago }),
        Said::No(_) => Ok(Lookup::NotFound),
        Said::Conflict | Said::Exists => Err(corrupt()),
    }
}

impl<C: RedisClient> Store for RedisStore<C> {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        let arguments = Arguments::of(access.secret, 12).touch(touch).names(fields);
        let (said, answer) = self.call(&script::LOAD, access.handle, arguments.0).await?;
        found(said, || answer.loaded())
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        let arguments = Arguments::of(create.secret, 3 + 3 * create.fields.len())
            .ttl(create.idle)
            .ttl(create.absolute);
        let arguments = create.fields.iter().fold(arguments, Arguments::put);
        match self.call(&script::CREATE, create.handle, arguments.0).await?.0 {
            Said::Found => Ok(()),
            Said::Exists => Err(StoreError::new(NAME, StoreErrorKind::Exists)),
            Said::Conflict | Said::No(_) => Err(corrupt()),
        }
    }

    async fn update(
        &self,
        access: Access<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let arguments = Arguments::of(access.secret, 9 + 4 * update.changes.len())
            .touch(update.touch)
            .hash(update.rotate)
            .ttl(update.absolute.map(|end| end.from_now))
            .ttl(update.absolute.and_then(|end| end.from_creation));
        let arguments = match update.expect {
            None => arguments.constant("").constant("").constant(""),
            Some(expect) => match expect.value {
                None => arguments.constant("-").text(expect.name).constant(""),
                Some(value) => arguments.constant("=").text(expect.name).bytes(value.clone()),
            },
        };
        let arguments = update.changes.iter().fold(arguments, Arguments::change);
        let grows = update.changes.iter().any(|change| matches!(change, Change::Set(_)));
        let script = if grows { &script::UPDATE } else { &script::UPDATE_ON_FULL_SERVER };
        match self.call(script, access.handle, arguments.0).await? {
            (Said::Conflict, answer) => {
                let current = answer.value().ok_or_else(corrupt)?;
                Ok(Lookup::Found(Updated::Conflict { current }))
            }
            (said, answer) => found(said, || answer.applied()),
        }
    }

    async fn take(
        &self,
        access: Access<'_>,
        take: Take<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let arguments =
            Arguments::of(access.secret, 5).touch(take.touch).hash(take.rotate).text(take.name);
        let (said, answer) = self.call(&script::TAKE, access.handle, arguments.0).await?;
        found(said, || answer.value())
    }

    async fn delete(&self, access: Access<'_>) -> Result<Lookup<()>, StoreError> {
        let arguments = Arguments::of(access.secret, 2).millis(LATE.as_millis());
        let (said, _) = self.call(&script::DELETE, access.handle, arguments.0).await?;
        found(said, || Some(()))
    }

    /// Nothing is left to do: keys and fields expire by themselves.
    async fn sweep(&self, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }
}

impl<C: RedisClient> Clone for RedisStore<C> {
    fn clone(&self) -> Self {
        Self {
            link: Arc::clone(&self.link),
            prefix: Arc::clone(&self.prefix),
            timeout: self.timeout,
        }
    }
}

impl<C: RedisClient> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
