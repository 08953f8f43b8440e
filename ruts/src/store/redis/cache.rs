use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    arguments::{self, Arguments},
    client::{RedisClient, Reply},
    layout::{MOMENT, cache_epoch_keys, entry_key, later, pack},
    reading::Reading,
    record,
    reply::{Answer, names},
    script::{Deadline, Script, probe, require_fitness, script},
    store::{NAME, RedisStore, corrupt},
};
use crate::{
    store::{
        Cache, CacheLookup, CachedField, CachedRecord, Credentials, InvalidationScope, Lease,
        Loaded, Projection, SessionMeta, SharedCache, StoreError, Touch, WriteIntent,
    },
    token::{SecretHash, SessionId},
};

probe!(PROBE = "HGET HMGET HGETALL HKEYS GET MGET SET HSET HDEL DEL PEXPIRE PTTL TIME INFO");
script!(LOOKUP = Asks, "cache/clock", "cache/history", "cache/lookup_entry", "cache/lookup", PROBE);
script!(
    /// Looks at several entries.
    LOOKUP_BATCH = Asks,
    "cache/clock",
    "cache/history",
    "cache/lookup_entry",
    "cache/lookup_batch",
    PROBE
);
script!(BEGIN_WRITE = Runs, "cache/clock", "cache/history", "cache/begin_write", PROBE);
script!(FINISH_WRITE = Refused, "cache/clock", "cache/finish_write", PROBE);
script!(
    /// A finish that installs nothing.
    FINISH_WRITE_ON_FULL_SERVER = Runs, "cache/clock", "cache/finish_write", PROBE
);
script!(FILL = Refused, "cache/fill", PROBE);
script!(CLEAR = Runs, "cache/clear", PROBE);
script!(EVICT = Runs, "cache/evict", PROBE);
script!(ADVICE = Runs, "cache/advice", PROBE);

#[cfg(test)]
pub(super) const SCRIPTS: [&std::sync::LazyLock<Script>; 9] = [
    &LOOKUP,
    &LOOKUP_BATCH,
    &BEGIN_WRITE,
    &FINISH_WRITE,
    &FINISH_WRITE_ON_FULL_SERVER,
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
        id: &SessionId,
        arguments: Arguments,
    ) -> Result<Reply, StoreError> {
        let key = entry_key(&self.way.prefix, id);
        let limit = Deadline::new(self.timeout);
        let reply = self.way.call(script, &[key], &arguments.list(), limit).await;
        reply.map_err(|failure| failure.into_error(NAME))
    }
}

impl Arguments {
    /// Names and what is held of them from a moment on.
    fn items(self, at: u64, items: &[CachedField<'_>]) -> Self {
        // What is not to be served is not held.
        let items = items.iter().filter(|item| !item.life.is_zero());
        items.fold(self, |arguments, item| arguments.text(item.name).bytes(held(at, item)))
    }
}

fn longest(items: &[CachedField<'_>]) -> Duration {
    items.iter().map(|item| item.life).max().unwrap_or_default()
}

/// What is held of a field: until when it may be served, and its value as a store holds it, or nothing if
/// there is known to be none.
fn held(at: u64, item: &CachedField<'_>) -> Bytes {
    let mut held = BytesMut::with_capacity(3 * MOMENT + 1 + item.value.map_or(0, Bytes::len));
    held.put_uint(later(at, item.life), MOMENT);
    if let Some(value) = item.value {
        pack(&mut held, item.hot, item.ttl.map(|ttl| later(at, ttl)), value);
    }
    held.freeze()
}

/// What is held of the session itself: until when it may be served, the hash of its secret, its record.
fn held_record(at: u64, secret: &SecretHash, meta: &SessionMeta, life: Duration) -> Bytes {
    let mut held = BytesMut::with_capacity(160);
    held.put_uint(later(at, life), MOMENT);
    held.put_slice(secret.as_bytes());
    record::Record::pack_into(&mut held, at, meta);
    held.freeze()
}

/// What a hit says: a moment and the record, and of each field what is held.
fn hit(said: &[u8], answer: Answer, fields: Projection<'_>) -> Option<Loaded> {
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

fn lease(mut answer: Answer) -> Option<Option<Lease>> {
    match mark(&mut answer)? {
        Some((mark, at)) => Some(Some(Lease { mark, at })),
        None => Some(None),
    }
}

impl<C: RedisClient> Cache for RedisStore<C> {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn lookup(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<CacheLookup, StoreError> {
        let reply = match fields {
            Projection::All => {
                let who = credentials.secret.as_bytes();
                let arguments = Arguments::of(who, arguments::touch(touch), "*", 1).nonce()?;
                self.ask(&LOOKUP, credentials.id, arguments).await?
            }
            Projection::Named(names) => {
                let reading = Reading::new(credentials, names, touch);
                let reply = self.looks.look(reading, self.timeout, self.in_flight).await;
                reply.map_err(|failure| failure.into_error(NAME))?
            }
        };
        let mut answer = Answer::new(reply).ok_or_else(corrupt)?;
        match answer.bytes().flatten().as_deref() {
            Some(b"") => lease(answer).map(CacheLookup::Miss),
            Some(said) => hit(said, answer, fields).map(CacheLookup::Hit),
            None => None,
        }
        .ok_or_else(corrupt)
    }

    async fn begin_write(
        &self,
        id: &SessionId,
        scope: InvalidationScope<'_>,
        life: Duration,
    ) -> Result<WriteIntent, StoreError> {
        let (mode, names, record, touch) = match scope {
            InvalidationScope::All => ("*", &[][..], false, None),
            InvalidationScope::Some { names, record, touch } => ("", names, record, touch),
        };
        let arguments = Arguments::new(5 + names.len())
            .packed(&[], &arguments::touch(touch), mode)
            .nonce()?
            .millis(life.as_millis())
            .millis((life + SPARE).as_millis())
            .texts(names.iter().copied());
        let arguments = if record { arguments.constant("~") } else { arguments };
        let reply = self.ask(&BEGIN_WRITE, id, arguments).await?;
        let (mark, at) = Answer::new(reply)
            .and_then(|mut answer| mark(&mut answer).flatten())
            .ok_or_else(corrupt)?;
        Ok(WriteIntent { mark, at })
    }

    async fn finish_write(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let arguments = Arguments::new(2 + 2 * items.len())
            .millis((longest(items) + SPARE).as_millis())
            .bytes(intent.mark.clone())
            .items(intent.at, items);
        let script = if items.is_empty() { &FINISH_WRITE_ON_FULL_SERVER } else { &FINISH_WRITE };
        self.ask(script, id, arguments).await.map(drop)
    }

    async fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let CachedRecord { meta, life, complete } = record;
        let arguments = Arguments::new(7 + 2 * items.len())
            .millis((longest(items).max(life) + SPARE).as_millis())
            .bytes(lease.mark.clone())
            .packed(&[], &[lease.at], if complete.is_some() { "*" } else { "" })
            .constant("~")
            .bytes(held_record(lease.at, credentials.secret, &meta, life));
        let arguments = match complete {
            Some(complete) => {
                arguments.constant("~c").packed(&[], &[later(lease.at, complete)], "")
            }
            None => arguments,
        };
        let arguments = arguments.items(lease.at, items);
        self.ask(&FILL, credentials.id, arguments).await.map(drop)
    }

    async fn evict(&self, id: &SessionId) -> Result<(), StoreError> {
        self.ask(&EVICT, id, Arguments::new(0)).await.map(drop)
    }

    /// 4096 round trips, several hundred at the same time.
    async fn clear(&self) -> Result<(), StoreError> {
        self.at_each(&CLEAR, cache_epoch_keys(&self.way.prefix)).await
    }

    /// Asks one node of a cluster. Two round trips.
    async fn check(&self) -> Result<(), StoreError> {
        let nobody = SessionId::from_bytes([0; 16]);
        let key = entry_key(&self.way.prefix, &nobody);
        require_fitness(&*self.way.link, PROBE, &[key], Deadline::new(self.timeout))
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
