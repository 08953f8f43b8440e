//! [`LookupBatch`]: cache lookups of several sessions in one script.
//!
//! Run by the `Batcher` of `cache`. Knows the executor and the batch format, and nothing about
//! queues.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::{
        driver::client::CommandClient,
        error,
        eval::Deadline,
        executor::Executor,
        scripts::{CACHE_LOOKUP, CACHE_LOOKUP_BATCH},
        wire::{
            args::Arguments,
            batch::{batch_head, distinct, lookup_parts},
            keys::entry_key,
            msgpack,
            reply::Reply,
        },
    },
    read::ReadRequest,
    size::{AdaptiveBatchSize, MAX_READ, Share},
};
use crate::{
    store::{StoreError, batch::BatchOp},
    token::SessionId,
};

/// Lookups of named fields in cache entries.
pub(in crate::store::redis) struct LookupBatch<C> {
    executor: Arc<Executor<C>>,
    size: AdaptiveBatchSize,
}

/// Maximum number of fields of a lookup in a batch. The length of a list is sent as one byte. The
/// length also counts the argument before the fields.
const MAX_FIELDS: usize = 254;

impl<C> LookupBatch<C> {
    pub(in crate::store::redis) fn new(executor: &Arc<Executor<C>>) -> Self {
        Self { executor: Arc::clone(executor), size: AdaptiveBatchSize::default() }
    }
}

impl<C: CommandClient> BatchOp for LookupBatch<C> {
    type Request = ReadRequest;
    type Key = SessionId;
    type Part = Bytes;
    type Answer = Reply;
    type Error = StoreError;

    fn can_batch(&self, request: &ReadRequest) -> bool {
        !self.executor.is_cross_slot() && request.names.len() <= MAX_FIELDS
    }

    fn can_join(&self, batch: &[ReadRequest], next: &ReadRequest) -> bool {
        next.share(batch, &self.size) == Share::Room
    }

    fn key(request: &ReadRequest) -> SessionId {
        request.id
    }

    fn has_its_share(&self, batch: &[ReadRequest], next: &ReadRequest) -> bool {
        next.share(batch, &self.size) == Share::RoomForOthers
    }

    async fn send_one(
        &self,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Result<Reply, StoreError> {
        let ReadRequest { id, secret, touch, names } = request;
        let arguments = Arguments::for_session(secret.as_bytes(), *touch, "", 1 + names.len());
        let arguments = arguments.nonce()?.texts(names.iter().map(|name| &**name)).into_list();
        let (key, deadline) = (entry_key(&self.executor.prefix, id), Deadline::at(deadline));
        Ok(self.executor.call(&CACHE_LOOKUP, &[key], &arguments, deadline).await?)
    }

    async fn send_batch(
        &self,
        requests: &[ReadRequest],
        deadline: Instant,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let Self { executor, size } = self;
        let key = |request: &ReadRequest| entry_key(&executor.prefix, &request.id);
        let keys: Vec<Bytes> = requests.iter().map(key).collect();
        let (arguments, deadline) = (arguments(requests)?, Deadline::at(deadline));
        let reply = executor.call_batch(&CACHE_LOOKUP_BATCH, &keys, arguments, deadline).await?;
        let Some(reply) = reply else { return Ok(Vec::new()) };
        let parts = lookup_parts(&reply, requests.len()).ok_or_else(error::malformed)?;
        size.note(parts.iter().map(Bytes::len));
        Ok(parts.into_iter().map(Some).collect())
    }

    fn decode(&self, _: &ReadRequest, part: Bytes) -> Option<Result<Reply, StoreError>> {
        // A copy, so that a value does not keep the whole batch in memory.
        let reply = msgpack::decode(&Bytes::copy_from_slice(&part))?;
        if matches!(reply, Reply::Nil) { None } else { Some(Ok(reply)) }
    }

    fn timed_out() -> StoreError {
        error::timed_out()
    }

    fn shut_down() -> StoreError {
        error::shut_down()
    }
}

/// Returns the arguments of `lua/cache/lookup_batch.lua`.
fn arguments(requests: &[ReadRequest]) -> Result<Arguments, StoreError> {
    let lists = requests.iter().map(|ReadRequest { touch, names, .. }| (*touch, &names[..]));
    let (lists, places) = distinct(lists);
    let head = batch_head(lists.iter().map(|(_, names)| 1 + names.len()), &places);
    let mut arguments = Arguments::with_head(head).nonce()?.bytes(MAX_READ.to_string().into());
    for (touch, names) in lists {
        let names = names.iter().map(|name| &**name);
        arguments = arguments.packed(&[], &touch, "").texts(names);
    }
    let secrets = requests.iter().map(|request| &request.secret);
    Ok(secrets.fold(arguments, |arguments, secret| arguments.secret(Some(secret))))
}
