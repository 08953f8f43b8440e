//! [`ReadBatch`]: reads of several sessions in one script.
//!
//! Run by the `Batcher` of the store. The script only fetches the session record and the fields.
//! The store then decides whether the secret is accepted. If a session is not on the fast path, it
//! is read again, in a script of its own.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    super::{
        driver::client::CommandClient,
        error,
        eval::Deadline,
        executor::Executor,
        native::NativeRead,
        scripts::{LOAD, LOAD_BATCH},
        wire::{
            args::{Arguments, presented, touch_millis},
            batch::{ReadPart, batch_head, distinct, read_parts},
            reply::loaded,
        },
    },
    size::{AdaptiveBatchSize, MAX_READ, Share},
};
use crate::{
    field::FieldName,
    store::{Credentials, Loaded, Refused, StoreError, Touch, batch::BatchOp},
    token::{SecretHash, SessionId},
};

/// Reads of named fields.
pub(in crate::store::redis) struct ReadBatch<C> {
    executor: Arc<Executor<C>>,
    size: AdaptiveBatchSize,
}

/// A read of named fields.
pub(in crate::store::redis) struct ReadRequest {
    pub(super) id: SessionId,
    pub(super) secret: SecretHash,
    pub(super) touch: [u64; 2],
    pub(super) names: Vec<FieldName>,
}

/// Maximum number of fields of a read in a batch. The number is sent as one byte.
const MAX_FIELDS: usize = 255;

impl ReadRequest {
    pub(in crate::store::redis) fn new(
        credentials: Credentials<'_>,
        names: &[&str],
        touch: Option<Touch>,
    ) -> Self {
        Self {
            id: *credentials.id,
            secret: SecretHash::from_bytes(presented(credentials)),
            touch: touch_millis(touch),
            names: names.iter().map(|name| (*name).into()).collect(),
        }
    }

    /// Returns the room for this request in `batch`.
    pub(super) fn share(&self, batch: &[Self], size: &AdaptiveBatchSize) -> Share {
        Share::of(batch.iter().map(|request| &request.id), &self.id, size.limit())
    }
}

impl<C> ReadBatch<C> {
    pub(in crate::store::redis) fn new(executor: &Arc<Executor<C>>) -> Self {
        Self { executor: Arc::clone(executor), size: AdaptiveBatchSize::default() }
    }
}

impl<C: CommandClient> BatchOp for ReadBatch<C> {
    type Request = ReadRequest;
    type Key = SessionId;
    type Part = ReadPart;
    type Answer = Result<Loaded, Refused>;
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
    ) -> Result<Self::Answer, StoreError> {
        let ReadRequest { id, secret, touch, names } = request;
        let read = NativeRead { id, secret, touch: *touch, names: Some(names) };
        match self.executor.read_natively(&read, Deadline::at(deadline)).await? {
            Some(loaded) => Ok(Ok(loaded)),
            None => self.resend(request, deadline).await,
        }
    }

    /// Reads the session with the script that handles every case.
    async fn resend(
        &self,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Result<Self::Answer, StoreError> {
        let ReadRequest { id, secret, touch, names } = request;
        let arguments = Arguments::for_session(secret.as_bytes(), *touch, "", names.len())
            .texts(names.iter().map(|name| &**name));
        let outcome = self.executor.call_one(&LOAD, id, arguments, Deadline::at(deadline)).await?;
        outcome.answer(|reply| loaded(reply, Some(names.iter().cloned())))
    }

    async fn send_batch(
        &self,
        requests: &[ReadRequest],
        deadline: Instant,
    ) -> Result<Vec<Option<ReadPart>>, StoreError> {
        let keys = self.executor.session_keys(requests.iter().map(|request| &request.id));
        let (arguments, deadline) = (arguments(requests), Deadline::at(deadline));
        let reply = self.executor.call_batch(&LOAD_BATCH, &keys, arguments, deadline).await?;
        let Some(reply) = reply else { return Ok(Vec::new()) };
        let parts = read_parts(&reply, requests.len()).ok_or_else(error::malformed)?;
        self.size.note(parts.iter().map(ReadPart::len));
        Ok(parts.into_iter().map(Some).collect())
    }

    fn decode(
        &self,
        request: &ReadRequest,
        part: ReadPart,
    ) -> Option<Result<Self::Answer, StoreError>> {
        match part.loaded(&request.secret, request.touch, &request.names) {
            Some(loaded) => loaded.map(|loaded| Ok(Ok(loaded))),
            None => Some(Err(error::malformed())),
        }
    }

    fn timed_out() -> StoreError {
        error::timed_out()
    }

    fn shut_down() -> StoreError {
        error::shut_down()
    }
}

/// Returns the arguments of `lua/load_batch.lua`.
fn arguments(requests: &[ReadRequest]) -> Arguments {
    let (lists, places) = distinct(requests.iter().map(|request| &request.names[..]));
    let head = batch_head(lists.iter().map(|list| list.len()), &places);
    Arguments::with_head(head)
        .bytes(MAX_READ.to_string().into())
        .texts(lists.into_iter().flatten().map(|name| &**name))
}
