//! [`ReadBatch`]: reads of sessions, batched or not.
//!
//! Used by the store through a `Batcher`, which decides what is sent together.

use std::sync::Arc;

use sqlx::postgres::PgRow;
use tokio::time::Instant;

use super::{
    bind::Statement,
    decode::{by_ordinal, loaded, loaded_in_batch},
    error::{shut_down, timed_out},
    executor::Executor,
    statements::{ByProjection, LoadBatchColumn},
};
use crate::{
    store::{
        Credentials, Loaded, Projection, Refused, StoreError, StoreErrorKind, StoreResult, Touch,
        batch::BatchOp,
        sql::{MAX_READS, has_its_share},
    },
    token::{SecretHash, SessionId},
    turns::Turn,
};

pub(super) struct ReadBatch(pub(super) Arc<Executor>);

pub(super) struct ReadRequest {
    id: SessionId,
    /// The hash of the presented secret, or `None` for internal credentials.
    secret: Option<SecretHash>,
    /// The names of the fields, each followed by a zero byte, which no name contains. `None` reads
    /// all fields.
    names: Option<Box<str>>,
    touch: Option<Touch>,
}

impl ReadRequest {
    pub(super) fn new(
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Self {
        let names = match fields {
            Projection::All => None,
            Projection::Named(names) => {
                let length = names.iter().map(|name| name.len() + 1).sum();
                let mut joined = String::with_capacity(length);
                names.iter().for_each(|name| joined.extend([name, "\0"]));
                Some(joined.into())
            }
        };
        Self { id: *credentials.id, secret: credentials.secret().copied(), names, touch }
    }

    fn credentials(&self) -> Credentials<'_> {
        match &self.secret {
            Some(secret) => Credentials::new(&self.id, secret),
            None => Credentials::internal(&self.id),
        }
    }

    /// Returns the statement for the projection, with the parameters that `bind` adds and with the
    /// names of the fields.
    fn statement(
        &self,
        sql: &ByProjection,
        bind: impl FnOnce(Statement) -> Statement,
    ) -> Statement {
        let statement = bind(Statement::read(sql.get(self.names.is_some())));
        match &self.names {
            Some(names) => statement.bind(names.split_terminator('\0').collect::<Vec<_>>()),
            None => statement,
        }
    }
}

impl ReadBatch {
    /// Waits for the turn of a read with a touch, because a touch may lock the session.
    async fn turn(
        &self,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Result<Option<Turn<'_, Box<[u8]>>>, StoreError> {
        match request.touch {
            Some(_) => self.0.turn(request.id.as_bytes(), deadline).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the statement of a read that is sent alone.
    fn statement(&self, request: &ReadRequest) -> Statement {
        let Self(executor) = self;
        match request.touch {
            Some(_) => request.statement(&executor.statements.load_and_touch, |statement| {
                statement.credentials(request.credentials()).touch(request.touch)
            }),
            None => request.statement(&executor.statements.load, |statement| {
                statement.credentials(request.credentials())
            }),
        }
    }
}

impl BatchOp for ReadBatch {
    type Request = ReadRequest;
    type Key = SessionId;
    type Part = PgRow;
    type Answer = Result<Loaded, Refused>;
    type Error = StoreError;

    /// Excludes reads whose touch is always due, because such a read takes a lock. Also excludes
    /// reads with internal credentials, because such reads are rare.
    fn can_batch(&self, request: &ReadRequest) -> bool {
        request.secret.is_some() && !request.touch.is_some_and(|touch| touch.after.is_zero())
    }

    fn can_join(&self, batch: &[ReadRequest], next: &ReadRequest) -> bool {
        let is_alike =
            |first: &ReadRequest| (&first.names, first.touch) == (&next.names, next.touch);
        batch.len() < MAX_READS
            && batch.first().is_some_and(is_alike)
            && !self.has_its_share(batch, next)
    }

    fn key(request: &ReadRequest) -> SessionId {
        request.id
    }

    fn has_its_share(&self, batch: &[ReadRequest], next: &ReadRequest) -> bool {
        has_its_share(batch.iter().map(|other| &other.id), &next.id)
    }

    async fn send_one(&self, request: &ReadRequest, deadline: Instant) -> StoreResult<Loaded> {
        let _turn = self.turn(request, deadline).await?;
        let row = self.0.fetch_one(self.statement(request), deadline).await?;
        loaded(&row, request.touch.is_some())
    }

    async fn send_inline(&self, request: &ReadRequest, deadline: Instant) -> StoreResult<Loaded> {
        let _turn = self.turn(request, deadline).await?;
        let row = self.0.fetch_one_inline(self.statement(request), deadline).await?;
        loaded(&row, request.touch.is_some())
    }

    async fn send_batch(
        &self,
        requests: &[ReadRequest],
        deadline: Instant,
    ) -> Result<Vec<Option<PgRow>>, StoreError> {
        let (Self(executor), [first, ..]) = (self, requests) else { return Ok(Vec::new()) };
        let statement = first.statement(&executor.statements.load_batch, |statement| {
            statement.batch(requests.iter().map(ReadRequest::credentials)).touch(first.touch)
        });
        let rows = executor.fetch_all_inline(statement, deadline).await.map_err(StoreError::from);
        let rows = rows.and_then(|rows| by_ordinal(rows, LoadBatchColumn::Ordinal, requests.len()));
        // One request may have caused the error. Each request is sent again in a statement of its
        // own.
        Ok(rows.unwrap_or_else(|_| requests.iter().map(|_| None).collect()))
    }

    fn decode(&self, _: &ReadRequest, row: PgRow) -> Option<StoreResult<Loaded>> {
        loaded_in_batch(&row).transpose()
    }

    fn timed_out() -> StoreError {
        timed_out(StoreErrorKind::Unavailable)
    }

    fn shut_down() -> StoreError {
        shut_down()
    }
}
