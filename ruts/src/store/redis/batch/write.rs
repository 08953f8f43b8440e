//! [`WriteBatch`]: updates of several sessions in one script.
//!
//! Run by the `Batcher` of the store. Knows the executor and the batch format, and nothing about
//! queues.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::{
        driver::client::CommandClient,
        error,
        eval::{Deadline, Script},
        executor::Executor,
        scripts::{UPDATE, UPDATE_BATCH, UPDATE_ON_FULL_SERVER},
        wire::{
            args::{Arguments, presented, touch_millis},
            batch::{batch_head, distinct, update_error, update_parts},
            reply::{Reply, ScriptOutcome},
        },
    },
    size::{MAX_REQUESTS, Share},
};
use crate::{
    field::FieldName,
    store::{Change, Credentials, StoreError, Update, batch::BatchOp},
    token::{SecretHash, SessionId},
};

/// Updates of sessions.
pub(in crate::store::redis) struct WriteBatch<C> {
    executor: Arc<Executor<C>>,
}

/// An update of a session.
pub(in crate::store::redis) struct WriteRequest {
    id: SessionId,
    secret: SecretHash,
    touch: [u64; 2],
    /// A letter for each part of the update, as in `lua/update_general.lua`.
    letters: String,
    /// Whether the update sets a field. A server that is out of memory refuses such an update.
    grows: bool,
    /// Names of the fields, if the update only sets fields without a TTL. Otherwise empty.
    names: Vec<FieldName>,
    /// The values of these fields. If `names` is empty, all arguments after the first one.
    others: Vec<Bytes>,
    /// Total length of `names` and `others`, in bytes.
    bytes: usize,
}

/// Maximum length of a batch, in bytes. A single update may be longer.
const MAX_WRITE: usize = 64 * 1024;
/// Maximum length of `WriteRequest::others` in a batch. The length is sent as one byte.
const MAX_ARGUMENTS: usize = 250;

impl WriteRequest {
    pub(in crate::store::redis) fn new(credentials: Credentials<'_>, update: &Update<'_>) -> Self {
        let changes = update.changes.iter().copied();
        let (letters, arguments) = Arguments::new(2 * update.changes.len()).update_parts(update);
        let mut names: Vec<FieldName> = Vec::new();
        let others = if letters.is_empty() {
            names.extend(changes.clone().map(|change| change.name().into()));
            arguments.values(changes)
        } else {
            arguments.changes(changes)
        };
        let others = others.into_list();
        let lengths = names.iter().map(|name| name.len()).chain(others.iter().map(Bytes::len));
        Self {
            id: *credentials.id,
            secret: SecretHash::from_bytes(presented(credentials)),
            touch: touch_millis(update.touch),
            letters,
            grows: update.changes.iter().any(|change| matches!(change, Change::Set(_))),
            bytes: lengths.sum(),
            names,
            others,
        }
    }

    /// Returns the arguments of `lua/update_general.lua`.
    pub(in crate::store::redis) fn arguments(&self) -> Arguments {
        let Self { secret, touch, letters, names, others, .. } = self;
        let capacity = names.len() + others.len();
        let first = Arguments::for_session(secret.as_bytes(), *touch, letters, capacity);
        let mut names = names.iter();
        others.iter().cloned().fold(first, |arguments, other| match names.next() {
            Some(name) => arguments.text(name).bytes(other),
            None => arguments.bytes(other),
        })
    }

    /// Returns the room for this request in `batch`.
    fn share(&self, batch: &[Self]) -> Share {
        Share::of(batch.iter().map(|request| &request.id), &self.id, MAX_REQUESTS)
    }

    /// Returns the arguments that many updates have in common.
    fn list(&self) -> ([u64; 2], &str, &[FieldName]) {
        (self.touch, &self.letters, &self.names)
    }
}

impl<C> WriteBatch<C> {
    pub(in crate::store::redis) fn new(executor: &Arc<Executor<C>>) -> Self {
        Self { executor: Arc::clone(executor) }
    }
}

impl<C: CommandClient> BatchOp for WriteBatch<C> {
    type Request = WriteRequest;
    type Key = SessionId;
    type Part = Reply;
    type Answer = ScriptOutcome;
    type Error = StoreError;

    fn can_batch(&self, request: &WriteRequest) -> bool {
        request.grows && request.others.len() <= MAX_ARGUMENTS && !self.executor.is_cross_slot()
    }

    fn can_join(&self, batch: &[WriteRequest], next: &WriteRequest) -> bool {
        let bytes = || batch.iter().map(|request| request.bytes).sum::<usize>();
        next.share(batch) == Share::Room && bytes() + next.bytes <= MAX_WRITE
    }

    fn key(request: &WriteRequest) -> SessionId {
        request.id
    }

    fn has_its_share(&self, batch: &[WriteRequest], next: &WriteRequest) -> bool {
        next.share(batch) == Share::RoomForOthers
    }

    async fn send_one(
        &self,
        request: &WriteRequest,
        deadline: Instant,
    ) -> Result<ScriptOutcome, StoreError> {
        let script: &Script = if request.grows { &UPDATE } else { &UPDATE_ON_FULL_SERVER };
        let deadline = Deadline::at(deadline);
        self.executor.call_one(script, &request.id, request.arguments(), deadline).await
    }

    async fn send_batch(
        &self,
        requests: &[WriteRequest],
        deadline: Instant,
    ) -> Result<Vec<Option<Reply>>, StoreError> {
        let keys = self.executor.session_keys(requests.iter().map(|request| &request.id));
        let (arguments, deadline) = (arguments(requests), Deadline::at(deadline));
        let reply = self.executor.call_batch(&UPDATE_BATCH, &keys, arguments, deadline).await?;
        let Some(reply) = reply else { return Ok(Vec::new()) };
        let parts = update_parts(&reply, requests.len()).ok_or_else(error::malformed)?;
        Ok(parts.into_iter().map(Some).collect())
    }

    fn decode(&self, _: &WriteRequest, part: Reply) -> Option<Result<ScriptOutcome, StoreError>> {
        Some(match update_error(&part) {
            Some(error) => Err(error.into()),
            None => ScriptOutcome::new(part),
        })
    }

    fn timed_out() -> StoreError {
        error::timed_out()
    }

    fn shut_down() -> StoreError {
        error::shut_down()
    }
}

/// Returns the arguments of `lua/update_batch.lua`.
fn arguments(requests: &[WriteRequest]) -> Arguments {
    let (lists, places) = distinct(requests.iter().map(WriteRequest::list));
    let sessions = places.iter().zip(requests);
    let sessions: Vec<u8> =
        sessions.flat_map(|(place, request)| [*place, request.others.len() as u8]).collect();
    let head = batch_head(lists.iter().map(|(_, _, names)| 1 + names.len()), &sessions);
    let mut arguments = Arguments::with_head(head);
    for (touch, letters, names) in lists {
        let names = names.iter().map(|name| &**name);
        arguments = arguments.packed(&[], &touch, letters).texts(names);
    }
    for WriteRequest { secret, others, .. } in requests {
        arguments = others.iter().cloned().fold(arguments.secret(Some(secret)), Arguments::bytes);
    }
    arguments
}
