use std::time::Duration;

use bytes::Bytes;

use super::{
    arguments::{self, Arguments},
    client::{RedisClient, Reply},
    layout::{cache_epoch_keys, entry_key, pack, unpack},
    reply::Answer,
    script::{Limit, Script, probe, require_fitness, script},
    store::{NAME, RedisStore, corrupt},
};
use crate::{
    principal::{Assurance, PrincipalKey},
    store::{
        Access, Cache, Fence, Fields, Item, Loaded, Look, Meta, Record, Scope, SharedCache,
        SignedIn, StoreError, Stored, Ticket, Touch,
    },
    token::Handle,
};

probe!(PROBE = "HGET HMGET HGETALL GET SET HSET HDEL DEL PEXPIRE PTTL TIME INFO");
script!(LOOK = Asks, "cache/entry", "cache/look", PROBE);
script!(FENCE = Runs, "cache/entry", "cache/fence", PROBE);
script!(FINISH = Refused, "cache/entry", "cache/finish", PROBE);
script!(
    /// A finish that installs nothing.
    FINISH_ON_FULL_SERVER = Runs, "cache/entry", "cache/finish", PROBE
);
script!(FILL = Refused, "cache/entry", "cache/fill", PROBE);
script!(CLEAR = Runs, "cache/clear", PROBE);
script!(EVICT = Runs, "cache/entry", "cache/evict", PROBE);
script!(ADVICE = Runs, "cache/entry", "cache/advice", PROBE);

/// How long an entry is kept beyond what is written to it.
const SPARE: Duration = Duration::from_secs(60);

/// How long a ticket is kept that is all there is of an entry: as long as a read may take.
const TICKET: Duration = Duration::from_secs(15);

impl<C: RedisClient> RedisStore<C> {
    async fn ask(
        &self,
        script: &'static Script,
        handle: &Handle,
        arguments: Arguments,
    ) -> Result<Reply, StoreError> {
        let key = entry_key(&self.prefix, handle);
        let reply = script.call(&*self.link, &key, &arguments.0, self.timeout).await;
        reply.map_err(|failure| failure.into_error(NAME))
    }
}

impl Arguments {
    /// When use counts, `*` for all fields, or `=` and the names.
    fn asked(self, touch: Option<Touch>, fields: Fields<'_>) -> Self {
        let [idle, after] = arguments::touch(touch);
        let arguments = self.millis(idle.into()).millis(after.into());
        match fields {
            Fields::All => arguments.constant("*"),
            Fields::Named(names) => arguments.constant("=").names(names),
        }
    }

    /// What is left of something; -1 if it does not end.
    fn left(self, left: Option<Duration>) -> Self {
        match left {
            Some(left) => self.millis(left.as_millis()),
            None => self.constant("-1"),
        }
    }

    fn item(self, item: &Item<'_>) -> Self {
        self.text(item.name)
            .millis(item.life.as_millis())
            .left(item.ttl)
            .bytes(item.value.map_or_else(Bytes::new, |value| pack(item.hot, value)))
    }
}

fn longest(items: &[Item<'_>]) -> Duration {
    items.iter().map(|item| item.life).max().unwrap_or_default()
}

/// What a hit says.
fn hit(mut answer: Answer) -> Option<Loaded> {
    let meta = Meta {
        age: span(&mut answer)??,
        secret_age: span(&mut answer)??,
        unused: span(&mut answer)??,
        idle: span(&mut answer)?,
        absolute: span(&mut answer)?,
        by_former: false,
        signed_in: signed_in(&mut answer)?,
    };
    let mut fields = Vec::new();
    while !answer.is_over() {
        let name = String::from_utf8(answer.bytes()??.into()).ok()?;
        let (hot, _, value) = unpack(answer.bytes()??)?;
        fields.push(Stored { name, value, ttl: span(&mut answer)?, hot });
    }
    Some(Loaded { meta, fields })
}

/// Time since the sign-in, principal, assurance.
fn signed_in(answer: &mut Answer) -> Option<Option<SignedIn>> {
    let ago = span(answer)?;
    let (principal, level) = (answer.bytes()??, answer.number()?);
    let Some(ago) = ago else { return Some(None) };
    let principal = PrincipalKey::from_bytes(principal[..].try_into().ok()?);
    let assurance = Assurance::from_level(level.try_into().ok()?)?;
    Some(Some(SignedIn { principal, assurance, ago }))
}

/// A number of milliseconds; -1 is none.
fn span(answer: &mut Answer) -> Option<Option<Duration>> {
    match answer.number()? {
        -1 => Some(None),
        millis => Some(Some(Duration::from_millis(millis.try_into().ok()?))),
    }
}

/// A mark and its moment; nothing if the answer is over.
fn mark(answer: &mut Answer) -> Option<Option<(Bytes, u64)>> {
    if answer.is_over() {
        return Some(None);
    }
    let mark = answer.bytes()??;
    Some(Some((mark, answer.number()?.try_into().ok()?)))
}

fn ticket(mut answer: Answer) -> Option<Option<Ticket>> {
    match mark(&mut answer)? {
        Some((mark, at)) => Some(Some(Ticket { mark, at })),
        None => Some(None),
    }
}

impl<C: RedisClient> Cache for RedisStore<C> {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn look(
        &self,
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
    ) -> Result<Look, StoreError> {
        let arguments = Arguments::new(16)
            .millis(TICKET.as_millis())
            .nonce()?
            .hash(Some(access.secret))
            .asked(touch, fields);
        let reply = self.ask(&LOOK, access.handle, arguments).await?;
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        match answer.bytes().flatten().as_deref() {
            Some(b"hit") => hit(answer).map(Look::Hit),
            Some(b"miss") => ticket(answer).map(Look::Miss),
            _ => None,
        }
        .ok_or_else(corrupt)
    }

    async fn fence(
        &self,
        handle: &Handle,
        scope: Scope<'_>,
        life: Duration,
    ) -> Result<Fence, StoreError> {
        let arguments =
            Arguments::new(12).millis((life + SPARE).as_millis()).nonce()?.millis(life.as_millis());
        let arguments = match scope {
            Scope::All => arguments.asked(None, Fields::All),
            Scope::Some { names, record, touch } => {
                let arguments = arguments.asked(touch, Fields::Named(names));
                if record { arguments.constant("~") } else { arguments }
            }
        };
        let reply = self.ask(&FENCE, handle, arguments).await?;
        let (mark, at) = Answer::new(reply)
            .and_then(|mut answer| mark(&mut answer).flatten())
            .ok_or_else(corrupt)?;
        Ok(Fence { mark, at })
    }

    async fn finish(
        &self,
        handle: &Handle,
        fence: &Fence,
        items: &[Item<'_>],
    ) -> Result<(), StoreError> {
        let arguments = Arguments::new(3 + 4 * items.len())
            .millis((longest(items) + SPARE).as_millis())
            .bytes(fence.mark.clone())
            .millis(fence.at.into());
        let arguments = items.iter().fold(arguments, Arguments::item);
        let script = if items.is_empty() { &FINISH_ON_FULL_SERVER } else { &FINISH };
        self.ask(script, handle, arguments).await.map(drop)
    }

    async fn fill(
        &self,
        access: Access<'_>,
        ticket: &Ticket,
        record: Record,
        items: &[Item<'_>],
    ) -> Result<(), StoreError> {
        let Record { meta, life, complete } = record;
        let arguments = Arguments::new(14 + 4 * items.len())
            .millis((longest(items).max(life) + SPARE).as_millis())
            .bytes(ticket.mark.clone())
            .millis(ticket.at.into());
        let arguments = match complete {
            Some(complete) => arguments.millis(complete.as_millis()),
            None => arguments.constant(""),
        };
        let arguments = arguments
            .millis(life.as_millis())
            .millis(meta.age.as_millis())
            .millis(meta.secret_age.as_millis())
            .millis(meta.unused.as_millis())
            .left(meta.idle)
            .left(meta.absolute)
            .left(meta.signed_in.map(|signed_in| signed_in.ago));
        let arguments = match &meta.signed_in {
            Some(SignedIn { principal, assurance, .. }) => {
                arguments.text(&assurance.level().to_string()).principal(principal)
            }
            None => arguments.constant("0").constant(""),
        };
        let arguments = arguments.hash(Some(access.secret));
        let arguments = items.iter().fold(arguments, Arguments::item);
        self.ask(&FILL, access.handle, arguments).await.map(drop)
    }

    async fn evict(&self, handle: &Handle) -> Result<(), StoreError> {
        self.ask(&EVICT, handle, Arguments::new(0)).await.map(drop)
    }

    /// 4096 round trips, several hundred at the same time.
    async fn clear(&self) -> Result<(), StoreError> {
        self.at_each(&CLEAR, cache_epoch_keys(&self.prefix)).await
    }

    /// Asks one node of a cluster. Two round trips.
    async fn check(&self) -> Result<(), StoreError> {
        let nobody = Handle::from_bytes([0; 16]);
        let key = entry_key(&self.prefix, &nobody);
        require_fitness(&*self.link, PROBE, &key, Limit::new(self.timeout))
            .await
            .map_err(|failure| failure.into_error(NAME))?;
        let reply = self.ask(&ADVICE, &nobody, Arguments::new(0)).await?;
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        while let Some(Some(advice)) = answer.bytes() {
            tracing::warn!(cache = NAME, "{}", String::from_utf8_lossy(&advice));
        }
        Ok(())
    }
}

impl<C: RedisClient> SharedCache for RedisStore<C> {}
