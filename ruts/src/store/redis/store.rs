use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    arguments::Arguments,
    client::{RedisClient, Reply},
    layout::{epoch_keys, key},
    reply::{Answer, Said},
    script::{self, Limit, Script, require_fitness},
};
use crate::{
    principal::PrincipalKey,
    store::{
        Access, Change, Confirmed, Create, Fields, LATE, Listing, Loaded, Lookup, Meta, Page,
        Revoked, Sign, Store, StoreError, StoreErrorKind, Take, Touch, Update, Updated, Whom,
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
        let reply = self.run(script, key(&self.prefix, handle), arguments).await?;
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        let said = answer.said().ok_or_else(corrupt)?;
        Ok((said, answer))
    }

    pub(super) async fn run(
        &self,
        script: &'static Script,
        key: Bytes,
        arguments: Vec<Bytes>,
    ) -> Result<Reply, StoreError> {
        // Boxed, or drivers' futures would be nested more deeply than the compiler follows.
        let reply = Box::pin(script.call(&*self.link, &key, &arguments, self.timeout)).await;
        reply.map_err(|failure| failure.into_error(NAME))
    }

    /// What a session holds, if the principal is signed in there.
    pub(super) async fn load_of(
        &self,
        principal: &PrincipalKey,
        handle: &Handle,
        fields: Fields<'_>,
    ) -> Result<Option<Loaded>, StoreError> {
        let arguments = Arguments::new(12).principal(principal).constant("@").constant("");
        match self.call(&script::LOAD, handle, arguments.names(fields).0).await? {
            (Said::Found, answer) => answer.loaded().map(Some).ok_or_else(corrupt),
            _ => Ok(None),
        }
    }

    /// Ends a session if the principal is signed in there, and says whether it did.
    pub(super) async fn end_of(
        &self,
        principal: &PrincipalKey,
        handle: &Handle,
    ) -> Result<bool, StoreError> {
        let arguments = Arguments::new(1).principal(principal);
        Ok(matches!(self.call(&script::FORGET, handle, arguments.0).await?, (Said::Found, _)))
    }

    async fn insert(&self, create: &Create<'_>) -> Result<(), StoreError> {
        let arguments = Arguments::of(create.secret, 5 + 3 * create.fields.len())
            .ttl(create.idle)
            .ttl(create.absolute)
            .who(create.sign_in.as_ref());
        let arguments = create.fields.iter().fold(arguments, Arguments::put);
        match self.call(&script::CREATE, create.handle, arguments.0).await?.0 {
            Said::Found => Ok(()),
            Said::Exists => Err(StoreError::new(NAME, StoreErrorKind::Exists)),
            Said::Conflict | Said::NotDue | Said::No(_) => Err(corrupt()),
        }
    }

    async fn change(
        &self,
        access: Access<'_>,
        update: &Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let arguments = Arguments::of(access.secret, 17 + 4 * update.changes.len())
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
        let arguments = arguments.renew(update.renew.as_ref()).sign(update.sign.as_ref());
        let arguments = update.changes.iter().fold(arguments, Arguments::change);
        let grows = update.changes.iter().any(|change| matches!(change, Change::Set(_)));
        let script = if grows { &script::UPDATE } else { &script::UPDATE_ON_FULL_SERVER };
        match self.call(script, access.handle, arguments.0).await? {
            (Said::NotDue, _) => Ok(Lookup::Found(Updated::NotDue)),
            (Said::Conflict, answer) => {
                let current = answer.value().ok_or_else(corrupt)?;
                Ok(Lookup::Found(Updated::Conflict { current }))
            }
            (said, answer) => found(said, || answer.applied()),
        }
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
        Said::Conflict | Said::NotDue | Said::Exists => Err(corrupt()),
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
        let Some(who) = create.sign_in else { return self.insert(&create).await };
        let joined = self.join(create.handle, &who, create.absolute, None).await?;
        let Lookup::Found(entry) = joined else { return Err(corrupt()) };
        if let Err(error) = self.insert(&create).await {
            if error.kind() != StoreErrorKind::Unknown {
                self.withdraw(create.handle, who.principal, entry).await;
            }
            return Err(error);
        }
        self.verify(create.handle, who.principal, entry, create.absolute).await
    }

    async fn update(
        &self,
        access: Access<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let Some(Sign::In { who, absolute, .. }) = update.sign else {
            return self.change(access, &update).await;
        };
        let entry = match self.join(access.handle, &who, absolute, Some(access)).await? {
            Lookup::Found(entry) => entry,
            refused => return Ok(refused.map(|_| Updated::Applied { found: 0 })),
        };
        let answer = self.change(access, &update).await;
        match &answer {
            Ok(Lookup::Found(Updated::Applied { .. })) => {
                self.verify(access.handle, who.principal, entry, absolute).await?;
            }
            Err(error) if error.kind() == StoreErrorKind::Unknown => {}
            Ok(_) | Err(_) => self.withdraw(access.handle, who.principal, entry).await,
        }
        answer
    }

    async fn take(
        &self,
        access: Access<'_>,
        take: Take<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let arguments =
            Arguments::of(access.secret, 6).touch(take.touch).hash(take.rotate).text(take.name);
        let arguments = arguments.constant(if take.sign_out { "out" } else { "" });
        let (said, answer) = self.call(&script::TAKE, access.handle, arguments.0).await?;
        found(said, || answer.value())
    }

    async fn delete(&self, access: Access<'_>) -> Result<Lookup<()>, StoreError> {
        let arguments = Arguments::of(access.secret, 2).millis(LATE.as_millis());
        let (said, _) = self.call(&script::DELETE, access.handle, arguments.0).await?;
        found(said, || Some(()))
    }

    async fn peek(&self, handle: &Handle) -> Result<Option<Meta>, StoreError> {
        let arguments = Arguments::new(4).constant("").constant("?").constant("").constant("=");
        match self.call(&script::LOAD, handle, arguments.0).await? {
            (Said::Found, answer) => Ok(Some(answer.loaded().ok_or_else(corrupt)?.meta)),
            _ => Ok(None),
        }
    }

    /// One round trip for the list, and one for each session of it, all at the same time.
    async fn find(
        &self,
        principal: &PrincipalKey,
        page: Page<'_>,
        fields: Fields<'_>,
    ) -> Result<Listing, StoreError> {
        self.list(principal, page, fields).await
    }

    /// Two round trips, and one for each session, all at the same time.
    async fn revoke(
        &self,
        principal: &PrincipalKey,
        whom: Whom<'_>,
    ) -> Result<Revoked, StoreError> {
        let handles = self.end_all(principal, whom).await?;
        Ok(Revoked { handles, confirmed: Confirmed::Yes })
    }

    /// 4096 round trips, several hundred at the same time.
    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.at_each(&script::COUNT, epoch_keys(&self.prefix)).await?;
        Ok(Confirmed::Yes)
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
