use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    arguments::{self, Arguments},
    client::{RedisClient, Reply},
    layout::{MOMENT, cache_epoch_keys, entry_key, later, pack},
    reading::Reading,
    record,
    reply::{Answer, names},
    script::{Limit, Script, probe, require_fitness, script},
    store::{NAME, RedisStore, corrupt},
};
use crate::{
    store::{
        Access, Cache, Fence, Fields, Item, Loaded, Look, Meta, Record, Scope, SharedCache,
        StoreError, Ticket, Touch,
    },
    token::{Handle, SecretHash},
};

probe!(PROBE = "HGET HMGET HGETALL HKEYS GET MGET SET HSET HDEL DEL PEXPIRE PTTL TIME INFO");
script!(LOOK = Asks, "cache/clock", "cache/history", "cache/look_at", "cache/look", PROBE);
script!(
    /// Looks at several entries.
    LOOK_TOGETHER = Asks,
    "cache/clock",
    "cache/history",
    "cache/look_at",
    "cache/look_together",
    PROBE
);
script!(FENCE = Runs, "cache/clock", "cache/history", "cache/fence", PROBE);
script!(FINISH = Refused, "cache/clock", "cache/finish", PROBE);
script!(
    /// A finish that installs nothing.
    FINISH_ON_FULL_SERVER = Runs, "cache/clock", "cache/finish", PROBE
);
script!(FILL = Refused, "cache/fill", PROBE);
script!(CLEAR = Runs, "cache/clear", PROBE);
script!(EVICT = Runs, "cache/evict", PROBE);
script!(ADVICE = Runs, "cache/advice", PROBE);

#[cfg(test)]
pub(super) const SCRIPTS: [&std::sync::LazyLock<Script>; 9] = [
    &LOOK,
    &LOOK_TOGETHER,
    &FENCE,
    &FINISH,
    &FINISH_ON_FULL_SERVER,
    &FILL,
    &CLEAR,
    &EVICT,
    &ADVICE,
];

/// How long an entry is kept beyond what is written to it.
const SPARE: Duration = Duration::from_secs(60);

impl<C: RedisClient> RedisStore<C> {
    async fn ask(
        &self,
        script: &'static Script,
        handle: &Handle,
        arguments: Arguments,
    ) -> Result<Reply, StoreError> {
        let key = entry_key(&self.way.prefix, handle);
        let limit = Limit::new(self.timeout);
        let reply = self.way.call(script, &[key], &arguments.list(), limit).await;
        reply.map_err(|failure| failure.into_error(NAME))
    }
}

impl Arguments {
    /// Names and what is held of them from a moment on.
    fn items(self, at: u64, items: &[Item<'_>]) -> Self {
        // What is not to be served is not held.
        let items = items.iter().filter(|item| !item.life.is_zero());
        items.fold(self, |arguments, item| arguments.text(item.name).bytes(held(at, item)))
    }
}

fn longest(items: &[Item<'_>]) -> Duration {
    items.iter().map(|item| item.life).max().unwrap_or_default()
}

/// What is held of a field: until when it may be served, and its value as a store holds it, or nothing if
/// there is known to be none.
fn held(at: u64, item: &Item<'_>) -> Bytes {
    let mut held = BytesMut::with_capacity(3 * MOMENT + 1 + item.value.map_or(0, Bytes::len));
    held.put_uint(later(at, item.life), MOMENT);
    if let Some(value) = item.value {
        pack(&mut held, item.hot, item.ttl.map(|ttl| later(at, ttl)), value);
    }
    held.freeze()
}

/// What is held of the session itself: until when it may be served, the hash of its secret, its record.
fn held_record(at: u64, secret: &SecretHash, meta: &Meta, life: Duration) -> Bytes {
    let mut held = BytesMut::with_capacity(160);
    held.put_uint(later(at, life), MOMENT);
    held.put_slice(secret.as_bytes());
    record::Record::pack_into(&mut held, at, meta);
    held.freeze()
}

/// What a hit says: a moment and the record, and of each field what is held.
fn hit(said: &[u8], answer: Answer, fields: Fields<'_>) -> Option<Loaded> {
    let record = record::Record::parse(said)?;
    answer.loaded(record, names(fields), |mut held| {
        held.try_get_uint(MOMENT).ok()?;
        Some(Some(held).filter(|packed| !packed.is_empty()))
    })
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
        let reply = match fields {
            Fields::All => {
                let who = access.secret.as_bytes();
                let arguments = Arguments::of(who, arguments::touch(touch), "*", 1).nonce()?;
                self.ask(&LOOK, access.handle, arguments).await?
            }
            Fields::Named(names) => {
                let reading = Reading::new(access, names, touch);
                let reply = self.looks.look(reading, self.timeout, self.in_flight).await;
                reply.map_err(|failure| failure.into_error(NAME))?
            }
        };
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        match answer.bytes().flatten().as_deref() {
            Some(b"") => ticket(answer).map(Look::Miss),
            Some(said) => hit(said, answer, fields).map(Look::Hit),
            None => None,
        }
        .ok_or_else(corrupt)
    }

    async fn fence(
        &self,
        handle: &Handle,
        scope: Scope<'_>,
        life: Duration,
    ) -> Result<Fence, StoreError> {
        let (mode, names, record, touch) = match scope {
            Scope::All => ("*", &[][..], false, None),
            Scope::Some { names, record, touch } => ("", names, record, touch),
        };
        let arguments = Arguments::new(5 + names.len())
            .packed(&[], &arguments::touch(touch), mode)
            .nonce()?
            .millis(life.as_millis())
            .millis((life + SPARE).as_millis())
            .texts(names.iter().copied());
        let arguments = if record { arguments.constant("~") } else { arguments };
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
        let arguments = Arguments::new(2 + 2 * items.len())
            .millis((longest(items) + SPARE).as_millis())
            .bytes(fence.mark.clone())
            .items(fence.at, items);
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
        let arguments = Arguments::new(7 + 2 * items.len())
            .millis((longest(items).max(life) + SPARE).as_millis())
            .bytes(ticket.mark.clone())
            .packed(&[], &[ticket.at], if complete.is_some() { "*" } else { "" })
            .constant("~")
            .bytes(held_record(ticket.at, access.secret, &meta, life));
        let arguments = match complete {
            Some(complete) => {
                arguments.constant("~c").packed(&[], &[later(ticket.at, complete)], "")
            }
            None => arguments,
        };
        let arguments = arguments.items(ticket.at, items);
        self.ask(&FILL, access.handle, arguments).await.map(drop)
    }

    async fn evict(&self, handle: &Handle) -> Result<(), StoreError> {
        self.ask(&EVICT, handle, Arguments::new(0)).await.map(drop)
    }

    /// 4096 round trips, several hundred at the same time.
    async fn clear(&self) -> Result<(), StoreError> {
        self.at_each(&CLEAR, cache_epoch_keys(&self.way.prefix)).await
    }

    /// Asks one node of a cluster. Two round trips.
    async fn check(&self) -> Result<(), StoreError> {
        let nobody = Handle::from_bytes([0; 16]);
        let key = entry_key(&self.way.prefix, &nobody);
        require_fitness(&*self.way.link, PROBE, &[key], Limit::new(self.timeout))
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
