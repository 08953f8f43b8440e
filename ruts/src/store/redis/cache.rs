//! A cache of sessions on a server: [`CacheEntries`].
//!
//! The store offers it as [`Cache`](crate::store::Cache). It knows the format of a cache entry,
//! which `lua/cache/entry.lua` describes, and nothing about the origin.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    batch::{cache_lookup::LookupBatch, read::ReadRequest},
    driver::client::CommandClient,
    error::corrupt,
    eval::Script,
    executor::Executor,
    scripts::{
        CACHE_ADVICE, CACHE_BEGIN_WRITE, CACHE_CLEAR, CACHE_EVICT, CACHE_FILL, CACHE_FINISH_WRITE,
        CACHE_FINISH_WRITE_ON_FULL_SERVER, CACHE_LOOKUP, CACHE_PROBE,
    },
    wire::{
        args::{Arguments, presented, touch_millis},
        keys::{entry_key, history_keys},
        moment::{MOMENT, later},
        record::RecordReply,
        reply::{Reply, ReplyItems, field_names},
        value,
    },
};
use crate::{
    store::{
        CacheLookup, CachedField, CachedRecord, Credentials, InvalidationScope, Lease, Loaded,
        Projection, SessionMeta, StoreError, Touch, WriteIntent,
        batch::{BatchTuning, Batcher},
    },
    token::{SecretHash, SessionId},
};

/// Time for which an entry is kept beyond the lifetime of its contents.
const SPARE: Duration = Duration::from_secs(60);

/// The cache entries of sessions.
pub(super) struct CacheEntries<C: CommandClient> {
    executor: Arc<Executor<C>>,
    lookups: Arc<Batcher<LookupBatch<C>>>,
}

impl<C: CommandClient> CacheEntries<C> {
    pub(super) fn new(executor: &Arc<Executor<C>>, tuning: BatchTuning) -> Self {
        let lookups = Batcher::new(LookupBatch::new(executor), tuning, executor.timeout);
        Self { executor: Arc::clone(executor), lookups: Arc::new(lookups) }
    }

    pub(super) async fn lookup(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<CacheLookup, StoreError> {
        let reply = match fields {
            Projection::All => {
                let (secret, touch) = (presented(credentials), touch_millis(touch));
                let arguments = Arguments::for_session(&secret, touch, "*", 1).nonce()?;
                self.run(&CACHE_LOOKUP, credentials.id, arguments).await?
            }
            Projection::Named(names) => {
                self.lookups.run(ReadRequest::new(credentials, names, touch)).await?
            }
        };
        let mut items = ReplyItems::new(reply).ok_or_else(corrupt)?;
        match items.bytes().flatten().as_deref() {
            Some(b"") => lease(items).map(CacheLookup::Miss),
            Some(record) => hit(record, items, fields).map(CacheLookup::Hit),
            None => None,
        }
        .ok_or_else(corrupt)
    }

    pub(super) async fn begin_write(
        &self,
        id: &SessionId,
        scope: InvalidationScope<'_>,
        life: Duration,
    ) -> Result<WriteIntent, StoreError> {
        let (letter, names, record, touch) = match scope {
            InvalidationScope::All => ("*", &[][..], false, None),
            InvalidationScope::Some { names, record, touch } => ("", names, record, touch),
        };
        let arguments = Arguments::new(5 + names.len())
            .packed(&[], &touch_millis(touch), letter)
            .nonce()?
            .millis(life.as_millis())
            .millis((life + SPARE).as_millis())
            .texts(names.iter().copied());
        let arguments = if record { arguments.constant("~") } else { arguments };
        let reply = self.run(&CACHE_BEGIN_WRITE, id, arguments).await?;
        let (mark, at) = ReplyItems::new(reply)
            .and_then(|mut items| mark(&mut items).flatten())
            .ok_or_else(corrupt)?;
        Ok(WriteIntent { mark, at })
    }

    pub(super) async fn finish_write(
        &self,
        id: &SessionId,
        intent: &WriteIntent,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let arguments = Arguments::new(2 + 2 * items.len())
            .millis((longest_life(items) + SPARE).as_millis())
            .bytes(intent.mark.clone());
        let arguments = put_fields(arguments, intent.at, items);
        let script: &Script = match items {
            [] => &CACHE_FINISH_WRITE_ON_FULL_SERVER,
            _ => &CACHE_FINISH_WRITE,
        };
        self.run(script, id, arguments).await.map(drop)
    }

    pub(super) async fn fill(
        &self,
        credentials: Credentials<'_>,
        lease: &Lease,
        record: CachedRecord,
        items: &[CachedField<'_>],
    ) -> Result<(), StoreError> {
        let Some(secret) = credentials.secret() else { return Ok(()) };
        let CachedRecord { meta, life, complete } = record;
        let arguments = Arguments::new(7 + 2 * items.len())
            .millis((longest_life(items).max(life) + SPARE).as_millis())
            .bytes(lease.mark.clone())
            .packed(&[], &[lease.at], if complete.is_some() { "*" } else { "" })
            .constant("~")
            .bytes(encode_record(lease.at, secret, &meta, life));
        let arguments = match complete {
            Some(complete) => {
                arguments.constant("~c").packed(&[], &[later(lease.at, complete)], "")
            }
            None => arguments,
        };
        let arguments = put_fields(arguments, lease.at, items);
        self.run(&CACHE_FILL, credentials.id, arguments).await.map(drop)
    }

    pub(super) async fn evict(&self, id: &SessionId) -> Result<(), StoreError> {
        self.run(&CACHE_EVICT, id, Arguments::new(0)).await.map(drop)
    }

    pub(super) async fn clear(&self) -> Result<(), StoreError> {
        self.executor.run_at_each(&CACHE_CLEAR, history_keys(&self.executor.prefix)).await
    }

    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let id = SessionId::from_bytes([0; 16]);
        let key = entry_key(&self.executor.prefix, &id);
        Box::pin(self.executor.probe(CACHE_PROBE, key.clone())).await?;
        Box::pin(self.executor.log_advice(&CACHE_ADVICE, key)).await
    }

    async fn run(
        &self,
        script: &'static Script,
        id: &SessionId,
        arguments: Arguments,
    ) -> Result<Reply, StoreError> {
        self.executor.run(script, entry_key(&self.executor.prefix, id), arguments).await
    }
}

impl<C: CommandClient> Clone for CacheEntries<C> {
    fn clone(&self) -> Self {
        Self { executor: Arc::clone(&self.executor), lookups: Arc::clone(&self.lookups) }
    }
}

/// Adds names and cached values of fields, except fields with a `life` of zero.
fn put_fields(arguments: Arguments, at: u64, items: &[CachedField<'_>]) -> Arguments {
    let items = items.iter().filter(|item| !item.life.is_zero());
    items.fold(arguments, |arguments, item| arguments.text(item.name).bytes(encode_field(at, item)))
}

fn longest_life(items: &[CachedField<'_>]) -> Duration {
    items.iter().map(|item| item.life).max().unwrap_or_default()
}

/// Encodes a cached field: the moment until which it may be served, and its stored value if the
/// field is present.
fn encode_field(at: u64, item: &CachedField<'_>) -> Bytes {
    let mut out = BytesMut::with_capacity(3 * MOMENT + 1 + item.value.map_or(0, Bytes::len));
    out.put_uint(later(at, item.life), MOMENT);
    if let Some(value) = item.value {
        let end = item.ttl.map(|ttl| later(at, ttl));
        value::encode(&mut out, item.cache_policy, end, value);
    }
    out.freeze()
}

/// Encodes a cached record: the moment until which it may be served, the hash of the secret, and
/// the record.
fn encode_record(at: u64, secret: &SecretHash, meta: &SessionMeta, life: Duration) -> Bytes {
    let mut out = BytesMut::with_capacity(160);
    out.put_uint(later(at, life), MOMENT);
    out.put_slice(secret.as_bytes());
    RecordReply::encode(&mut out, at, meta);
    out.freeze()
}

/// Decodes a hit.
fn hit(record: &[u8], items: ReplyItems, fields: Projection<'_>) -> Option<Loaded> {
    let record = RecordReply::decode(record)?;
    items.loaded(record, field_names(fields), |mut cached| {
        cached.try_get_uint(MOMENT).ok()?;
        Some(Some(cached).filter(|stored| !stored.is_empty()))
    })
}

/// Decodes a mark and its moment. The inner `None` means that no item is left.
fn mark(items: &mut ReplyItems) -> Option<Option<(Bytes, u64)>> {
    if items.is_over() {
        return Some(None);
    }
    let mark = items.bytes()??;
    Some(Some((mark, items.number()?.try_into().ok()?)))
}

/// Decodes the lease of a miss.
fn lease(mut items: ReplyItems) -> Option<Option<Lease>> {
    Some(mark(&mut items)?.map(|(mark, at)| Lease { mark, at }))
}
