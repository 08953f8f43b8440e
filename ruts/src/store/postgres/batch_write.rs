//! [`WriteBatch`]: writes of fields, batched or not.
//!
//! Used by the store through a `Batcher`, which decides what is sent together.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::postgres::PgRow;
use tokio::time::Instant;

use super::{
    bind::{FieldColumns, Statement, field_writes},
    decode::{by_ordinal, updated},
    error::{shut_down, timed_out},
    executor::Executor,
    statements::UpdateBatchColumn,
};
use crate::{
    cache_policy::CachePolicy,
    store::{
        Credentials, FieldWrite, Precondition, Refused, StoreError, StoreErrorKind::Unavailable,
        StoreResult, Touch, Update, Updated, Written, batch::BatchOp, sql::resend_refused,
    },
    token::{SecretHash, SessionId},
    ttl::Ttl,
};

/// Maximum number of sessions in a batch.
const MAX_SESSIONS: usize = 64;

/// Maximum size of the values in a batch, in bytes.
const MAX_BYTES: usize = 64 * 1024;

pub(super) struct WriteBatch(pub(super) Arc<Executor>);

/// A write that only sets fields, perhaps under a precondition or with a touch.
pub(super) struct WriteRequest {
    id: SessionId,
    /// The hash of the presented secret, or `None` for internal credentials.
    secret: Option<SecretHash>,
    /// Value that the precondition expects.
    expected: Option<Bytes>,
    values: Vec<Bytes>,
    shape: WriteShape,
}

/// The arguments that are the same for all writes of a batch.
#[derive(PartialEq)]
struct WriteShape {
    touch: Option<Touch>,
    /// Name of the field of the precondition.
    precondition: Option<Box<str>>,
    fields: Vec<(Box<str>, Option<Ttl>, CachePolicy)>,
}

impl WriteRequest {
    /// Returns the request of an update, or `None` if the update does more than set fields and
    /// touch the session.
    pub(super) fn new(credentials: Credentials<'_>, update: &Update<'_>) -> Option<Self> {
        if update.needs_current_secret() {
            return None;
        }
        let writes = field_writes(update.changes)?;
        let shape = |write: &FieldWrite<'_>| (write.name.into(), write.ttl, write.cache_policy);
        Some(Self {
            id: *credentials.id,
            secret: credentials.secret().copied(),
            expected: update.precondition.and_then(|precondition| precondition.value.cloned()),
            values: writes.iter().map(|write| write.value.clone()).collect(),
            shape: WriteShape {
                touch: update.touch,
                precondition: update.precondition.map(|precondition| precondition.name.into()),
                fields: writes.iter().map(shape).collect(),
            },
        })
    }

    fn credentials(&self) -> Credentials<'_> {
        match &self.secret {
            Some(secret) => Credentials::new(&self.id, secret),
            None => Credentials::internal(&self.id),
        }
    }

    fn bytes(&self) -> usize {
        self.values.iter().chain(&self.expected).map(Bytes::len).sum()
    }

    fn columns(&self) -> FieldColumns<'_> {
        let fields = self.shape.fields.iter().zip(&self.values);
        FieldColumns::set(fields.map(|((name, ttl, policy), value)| {
            FieldWrite::new(name, value).ttl(*ttl).cache_policy(*policy)
        }))
    }
}

impl WriteBatch {
    /// Returns the statement of a write that is sent alone.
    fn statement(&self, request: &WriteRequest) -> Statement {
        let precondition = request.shape.precondition.as_deref();
        let precondition =
            precondition.map(|name| Precondition::new(name, request.expected.as_ref()));
        let update = Update::default().touch(request.shape.touch).precondition(precondition);
        Statement::new(&self.0.statements.update).update(
            request.credentials(),
            &update,
            request.columns(),
        )
    }
}

impl BatchOp for WriteBatch {
    type Request = WriteRequest;
    type Key = SessionId;
    type Part = PgRow;
    type Answer = Result<Written<Updated>, Refused>;
    type Error = StoreError;

    fn can_batch(&self, request: &WriteRequest) -> bool {
        request.secret.is_some() && !request.values.is_empty() && request.bytes() <= MAX_BYTES / 4
    }

    fn can_join(&self, batch: &[WriteRequest], next: &WriteRequest) -> bool {
        let bytes = || batch.iter().chain([next]).map(WriteRequest::bytes).sum::<usize>();
        batch.len() < MAX_SESSIONS
            && batch.first().is_some_and(|first| first.shape == next.shape)
            && bytes() <= MAX_BYTES
            // One statement cannot write a row twice, so a batch has only one write of each
            // session.
            && !self.has_its_share(batch, next)
    }

    fn key(request: &WriteRequest) -> SessionId {
        request.id
    }

    fn has_its_share(&self, batch: &[WriteRequest], next: &WriteRequest) -> bool {
        batch.iter().any(|other| other.id == next.id)
    }

    async fn send_one(
        &self,
        request: &WriteRequest,
        deadline: Instant,
    ) -> StoreResult<Written<Updated>> {
        updated(&self.0.fetch_one(self.statement(request), deadline).await?)
    }

    async fn send_inline(
        &self,
        request: &WriteRequest,
        deadline: Instant,
    ) -> StoreResult<Written<Updated>> {
        updated(&self.0.fetch_one_inline(self.statement(request), deadline).await?)
    }

    async fn send_batch(
        &self,
        requests: &[WriteRequest],
        deadline: Instant,
    ) -> Result<Vec<Option<PgRow>>, StoreError> {
        let (Self(executor), [first, ..]) = (self, requests) else { return Ok(Vec::new()) };
        let values = requests.iter().flat_map(|request| &request.values).map(|value| &value[..]);
        let expected: Vec<_> = requests.iter().map(|request| request.expected.as_deref()).collect();
        let statement = Statement::new(&executor.statements.update_batch)
            .batch(requests.iter().map(WriteRequest::credentials))
            .touch(first.shape.touch)
            .bind(first.shape.precondition.as_deref())
            .bind(expected)
            .fields(&first.columns().with_values(values));
        let rows = executor.fetch_all_inline(statement, deadline).await.map_err(StoreError::from);
        let rows =
            rows.and_then(|rows| by_ordinal(rows, UpdateBatchColumn::Ordinal, requests.len()));
        // The database function returns no row for a session that is locked or does not exist. Its
        // request is sent again in a statement of its own, too.
        resend_refused(rows, requests.len())
    }

    fn decode(&self, _: &WriteRequest, row: PgRow) -> Option<StoreResult<Written<Updated>>> {
        Some(updated(&row))
    }

    fn timed_out() -> StoreError {
        timed_out(Unavailable)
    }

    fn shut_down() -> StoreError {
        shut_down()
    }
}
