use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

#[cfg(feature = "layered-store")]
use super::looking::Looks;
use super::{
    arguments::{self, Arguments},
    client::{RedisClient, Reply},
    layout::{epoch_keys, key},
    reading::{Reading, Reads},
    reply::{self, Said},
    script::{self, Deadline, Script, require_fitness},
    sign_in::SigningIn,
    way::Way,
    writing::{Writes, Writing},
};
use crate::{
    principal::PrincipalKey,
    store::{
        AuthChange, Change, Confirmed, Create, Credentials, ENDED_RETENTION, Loaded, Lookup,
        PageRequest, Projection, RevokeTarget, Revoked, SessionMeta, SessionPage, Store,
        StoreError, StoreErrorKind, TakeField, Touch, Update, Updated,
    },
    token::SessionId,
    ttl::Ttl,
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
    pub(super) way: Arc<Way<C::Link>>,
    pub(super) timeout: Duration,
    reads: Arc<Reads<C::Link>>,
    writes: Arc<Writes<C::Link>>,
    #[cfg(feature = "layered-store")]
    pub(super) looks: Arc<Looks<C::Link>>,
    pub(super) in_flight: usize,
}

impl<C: RedisClient> RedisStore<C> {
    /// A store that uses `client`, with the prefix `ruts` and a timeout of two seconds.
    ///
    /// Connects to nothing by itself.
    pub fn new(client: Arc<C>) -> Self {
        Self::by(Way::new(Arc::new(client.link()), "ruts"))
    }

    fn by(way: Way<C::Link>) -> Self {
        let way = Arc::new(way);
        Self {
            reads: Arc::new(Reads::new(&way)),
            writes: Arc::new(Writes::new(&way)),
            #[cfg(feature = "layered-store")]
            looks: Arc::new(Looks::new(&way)),
            way,
            timeout: Duration::from_secs(2),
            in_flight: 4,
        }
    }

    /// What the keys begin with, before a colon: for several applications on one server.
    ///
    /// # Panics
    ///
    /// `prefix` holds a brace: it would decide on which shard of a cluster a session is kept.
    #[must_use]
    pub fn with_prefix(self, prefix: &str) -> Self {
        assert!(!prefix.contains(['{', '}']), "a prefix must hold no braces");
        let Self { way, timeout, in_flight, .. } = self;
        Self { timeout, in_flight, ..Self::by(Way::new(Arc::clone(&way.link), prefix)) }
    }

    /// How long an operation may take: from a millisecond to a day.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self
    }

    /// How many reads, how many writes, and how many looks at a cache may be under way at a time; 4 unless told.
    /// Those that come when as many are wait for an answer, and then go to the server together, up to 64 sessions
    /// in one command. Once many do, those that come wait while anything is under way, or until there are 32.
    ///
    /// More lets single operations start sooner when the server is far away; fewer costs a busy server less.
    /// Sessions on different nodes of a cluster never wait for each other.
    #[must_use]
    pub fn with_in_flight(mut self, most: usize) -> Self {
        self.in_flight = most.max(1);
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
        let nobody = SessionId::from_bytes([0; 16]);
        let key = key(&self.way.prefix, &nobody);
        require_fitness(&*self.way.link, script::PROBE, &[key], Deadline::new(self.timeout))
            .await
            .map_err(|failure| failure.into_error(NAME))?;
        let arguments = Arguments::of(&[0; 32], [0, 0], "", 0);
        self.call(&script::LOAD, &nobody, arguments).await.map(drop)
    }

    async fn call(
        &self,
        script: &'static Script,
        id: &SessionId,
        arguments: Arguments,
    ) -> Result<Said, StoreError> {
        let reply = self.way.alone(script, id, arguments, Deadline::new(self.timeout)).await;
        let reply = reply.map_err(|failure| failure.into_error(NAME))?;
        Said::new(reply).ok_or_else(corrupt)
    }

    /// Runs a script of a key that is no session's.
    pub(super) async fn run(
        &self,
        script: &'static Script,
        key: Bytes,
        arguments: Vec<Bytes>,
    ) -> Result<Reply, StoreError> {
        let reply = self.way.call(script, &[key], &arguments, Deadline::new(self.timeout)).await;
        reply.map_err(|failure| failure.into_error(NAME))
    }

    /// Reads in one of two modes: all fields, or those named.
    async fn read(
        &self,
        who: &[u8; 32],
        id: &SessionId,
        fields: Projection<'_>,
        touch: Option<Touch>,
        [all, named]: [&str; 2],
    ) -> Result<Said, StoreError> {
        let times = arguments::touch(touch);
        let (mode, names) = match fields {
            Projection::All => (all, &[][..]),
            Projection::Named(names) => (named, names),
        };
        let arguments = Arguments::of(who, times, mode, names.len()).texts(names.iter().copied());
        self.call(&script::LOAD, id, arguments).await
    }

    /// What a session holds, if the principal is signed in there.
    pub(super) async fn load_of(
        &self,
        principal: &PrincipalKey,
        id: &SessionId,
        fields: Projection<'_>,
    ) -> Result<Option<Loaded>, StoreError> {
        match self.read(principal.as_bytes(), id, fields, None, ["&", "@"]).await? {
            Said::Found(answer) => {
                reply::loaded(answer, reply::names(fields)).map(Some).ok_or_else(corrupt)
            }
            _ => Ok(None),
        }
    }

    /// Ends a session if the principal is signed in there, and says whether it did.
    pub(super) async fn end_of(
        &self,
        principal: &PrincipalKey,
        id: &SessionId,
    ) -> Result<bool, StoreError> {
        let arguments = Arguments::of(principal.as_bytes(), [0, 0], "", 0);
        Ok(matches!(self.call(&script::FORGET, id, arguments).await?, Said::Found(_)))
    }

    async fn sign_in(&self, signing: SigningIn<'_>) -> Result<Said, StoreError> {
        // Boxed: it is rare, and would make the future of every update as large.
        Box::pin(signing.carry_out(self)).await
    }
}

pub(super) fn corrupt() -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Corrupt)
}

/// The answer about a session that was found, or that it was not.
pub(super) fn found<T>(
    said: Said,
    answer: impl FnOnce(Reply) -> Option<T>,
) -> Result<Lookup<T>, StoreError> {
    match said {
        Said::Found(reply) => answer(reply).map(Lookup::Found).ok_or_else(corrupt),
        Said::No(Lookup::Replaced { ago }) => Ok(Lookup::Replaced { ago }),
        Said::No(Lookup::Ended { ago }) => Ok(Lookup::Ended { ago }),
        Said::No(_) => Ok(Lookup::NotFound),
        Said::NotDue | Said::Exists => Err(corrupt()),
    }
}

impl<C: RedisClient> Store for RedisStore<C> {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        if let Projection::Named(names) = fields {
            let reading = Reading::new(credentials, names, touch);
            return self.reads.load(reading, self.timeout, self.in_flight).await;
        }
        let who = credentials.secret.as_bytes();
        let said = Box::pin(self.read(who, credentials.id, fields, touch, ["*", ""])).await?;
        found(said, |answer| reply::loaded(answer, reply::names(fields)))
    }

    /// One round trip. One that signs in: see the [module](super).
    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        let changes = create.fields.iter().copied().map(Change::Set);
        let times = [create.idle, create.absolute].map(|ttl| ttl.map_or(0, Ttl::as_millis));
        let arguments =
            Arguments::of(create.secret.as_bytes(), times, "", 3 + 2 * create.fields.len())
                .who(create.sign_in.as_ref())
                .bytes(arguments::kinds(changes.clone()))
                .changes(changes);
        let id = create.id;
        let said = match create.sign_in {
            Some(who) => {
                let longest = create.absolute;
                let session = arguments.list();
                self.sign_in(SigningIn { id, who, longest, credentials: None, session }).await?
            }
            None => self.call(&script::CREATE, id, arguments).await?,
        };
        match said {
            Said::Found(_) => Ok(()),
            Said::Exists => Err(StoreError::new(NAME, StoreErrorKind::Exists)),
            Said::NotDue | Said::No(_) => Err(corrupt()),
        }
    }

    /// One round trip. One that signs in: see the [module](super).
    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let writing = Writing::new(credentials, &update);
        let said = if let Some(AuthChange::In { who, absolute: longest, .. }) = update.sign {
            let (id, session) = (credentials.id, writing.arguments().list());
            let credentials = Some(credentials);
            self.sign_in(SigningIn { id, who, longest, credentials, session }).await?
        } else {
            let reply = self.writes.write(writing, self.timeout, self.in_flight).await;
            let reply = reply.map_err(|failure| failure.into_error(NAME))?;
            Said::new(reply).ok_or_else(corrupt)?
        };
        match said {
            Said::NotDue => Ok(Lookup::Found(Updated::NotDue)),
            said => found(said, reply::updated),
        }
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        let times = arguments::touch(take.touch);
        let arguments = Arguments::of(credentials.secret.as_bytes(), times, "", 3);
        let arguments = arguments.hash(take.rotate).text(take.name);
        let arguments = arguments.constant(if take.sign_out { "out" } else { "" });
        found(self.call(&script::TAKE, credentials.id, arguments).await?, reply::value)
    }

    async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
        let late = Ttl::require(ENDED_RETENTION).as_millis();
        let arguments = Arguments::of(credentials.secret.as_bytes(), [late, 0], "", 0);
        let said = self.call(&script::DELETE, credentials.id, arguments).await?;
        found(said, |_| Some(()))
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        match self.read(&[0; 32], id, Projection::Named(&[]), None, ["", "?"]).await? {
            Said::Found(answer) => {
                let loaded = reply::loaded(answer, reply::names(Projection::Named(&[])));
                Ok(Some(loaded.ok_or_else(corrupt)?.meta))
            }
            _ => Ok(None),
        }
    }

    /// One round trip for the list, and one for each session of it, all at the same time.
    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        self.list(principal, page, fields).await
    }

    /// Two round trips, and one for each session, all at the same time.
    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Revoked, StoreError> {
        let ids = self.end_all(principal, target).await?;
        Ok(Revoked { ids, confirmed: Confirmed::Yes })
    }

    /// 4096 round trips, several hundred at the same time.
    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        self.at_each(&script::COUNT, epoch_keys(&self.way.prefix)).await?;
        Ok(Confirmed::Yes)
    }

    /// Nothing is left to do: keys and fields expire by themselves.
    async fn delete_expired(&self, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }
}

impl<C: RedisClient> Clone for RedisStore<C> {
    fn clone(&self) -> Self {
        Self {
            way: Arc::clone(&self.way),
            timeout: self.timeout,
            reads: Arc::clone(&self.reads),
            writes: Arc::clone(&self.writes),
            #[cfg(feature = "layered-store")]
            looks: Arc::clone(&self.looks),
            in_flight: self.in_flight,
        }
    }
}

impl<C: RedisClient> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.way.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
