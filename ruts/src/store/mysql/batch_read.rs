//! [`ReadBatch`]: reads of sessions, batched or not.
//!
//! Used by the store through a `Batcher`, which decides what is sent together. A read does not
//! check credentials or deadlines. The store checks them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    error::{shut_down, timed_out},
    executor::Executor,
    reading::{Read, Snapshot},
    rows::SessionRow,
};
use crate::{
    store::{
        Projection, SessionRecord, StoreError, StoreErrorKind,
        batch::BatchOp,
        owned_request::OwnedProjection,
        sql::{MAX_READS, has_its_share},
    },
    token::SessionId,
};

pub(super) struct ReadBatch(pub(super) Arc<Executor>);

pub(super) struct ReadRequest {
    id: SessionId,
    fields: OwnedProjection,
}

/// A session, live or not, and the time of the server.
pub(super) struct Found {
    pub(super) now: Duration,
    pub(super) session: Option<(SessionRow, SessionRecord)>,
}

impl ReadRequest {
    pub(super) fn new(id: &SessionId, fields: Projection<'_>) -> Self {
        Self { id: *id, fields: fields.into() }
    }
}

impl ReadBatch {
    fn statement(&self, ids: &[SessionId], fields: &OwnedProjection) -> Read {
        fields.lend(|fields| Read::sessions(&self.0.tables, ids, fields))
    }
}

impl Found {
    /// Returns the only session of a snapshot.
    fn only(snapshot: Snapshot) -> Self {
        let session = snapshot.sessions.into_iter().next();
        let session =
            session.map(|(row, fields)| (row, SessionRecord::from_parts(row.head, fields)));
        Self { now: snapshot.now, session }
    }
}

impl BatchOp for ReadBatch {
    type Request = ReadRequest;
    type Key = SessionId;
    type Part = Found;
    type Answer = Found;
    type Error = StoreError;

    fn can_batch(&self, _: &ReadRequest) -> bool {
        true
    }

    fn can_join(&self, batch: &[ReadRequest], next: &ReadRequest) -> bool {
        batch.len() < MAX_READS
            && batch.first().is_some_and(|first| first.fields == next.fields)
            && !self.has_its_share(batch, next)
    }

    fn key(request: &ReadRequest) -> SessionId {
        request.id
    }

    fn has_its_share(&self, batch: &[ReadRequest], next: &ReadRequest) -> bool {
        has_its_share(batch.iter().map(|other| &other.id), &next.id)
    }

    async fn send_one(
        &self,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Result<Found, StoreError> {
        let read = self.statement(&[request.id], &request.fields);
        Ok(Found::only(self.0.run(read, deadline).await?))
    }

    async fn send_inline(
        &self,
        request: &ReadRequest,
        deadline: Instant,
    ) -> Result<Found, StoreError> {
        let read = self.statement(&[request.id], &request.fields);
        Ok(Found::only(self.0.run_inline(read, deadline).await?))
    }

    async fn send_batch(
        &self,
        requests: &[ReadRequest],
        deadline: Instant,
    ) -> Result<Vec<Option<Found>>, StoreError> {
        let [first, ..] = requests else { return Ok(Vec::new()) };
        let mut ids: Vec<_> = requests.iter().map(|request| request.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let read = self.statement(&ids, &first.fields);
        let Snapshot { now, sessions } = match self.0.run_inline(read, deadline).await {
            Ok(snapshot) => snapshot,
            Err(failed) if Instant::now() >= deadline => return Err(failed.into()),
            // One session may have caused the error. Each session is read again in a statement of
            // its own.
            Err(_) => return Ok(requests.iter().map(|_| None).collect()),
        };
        let sessions: HashMap<_, _> =
            sessions.into_iter().map(|found| (found.0.id, found)).collect();
        let found = |request: &ReadRequest| {
            let session = sessions.get(&request.id);
            let session = session
                .map(|(row, fields)| (*row, SessionRecord::from_parts(row.head, fields.clone())));
            Some(Found { now, session })
        };
        Ok(requests.iter().map(found).collect())
    }

    fn decode(&self, _: &ReadRequest, found: Found) -> Option<Result<Found, StoreError>> {
        Some(Ok(found))
    }

    fn timed_out() -> StoreError {
        timed_out(StoreErrorKind::Unavailable)
    }

    fn shut_down() -> StoreError {
        shut_down()
    }
}
