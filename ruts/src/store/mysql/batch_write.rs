//! [`WriteBatch`]: writes of fields, batched or not.
//!
//! Used by the store through a `Batcher`, which decides what is sent together.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::{
    error::{shut_down, timed_out},
    executor::{Executor, Write},
    opening::{Opened, Opening},
    plain_write::plain_write,
    rows::{Fields, Origin, SessionNumber},
    script::Script,
    tables::Tables,
    transaction::{Operation, Transaction},
    writing::{changed_fields, save_head, set_fields},
};
use crate::{
    store::{
        Change, Credentials, Refused, StoreError, StoreErrorKind, Update, Updated, Written,
        batch::BatchOp,
        owned_request::{OwnedCredentials, OwnedUpdate},
        sql::resend_refused,
    },
    token::SessionId,
};

/// Maximum number of sessions in a batch.
const MAX_SESSIONS: usize = 32;

/// Maximum size of the values in a batch, in bytes.
const MAX_BYTES: usize = 64 * 1024;

pub(super) struct WriteBatch(pub(super) Arc<Executor>);

/// A write that only sets fields, perhaps under a precondition or with a touch.
#[derive(Clone)]
pub(super) struct WriteRequest {
    credentials: OwnedCredentials,
    update: Arc<OwnedUpdate>,
    has_precondition: bool,
    /// Total size of the values, in bytes.
    bytes: usize,
}

impl WriteRequest {
    /// Returns the request of an update. `None` if the update does more than set fields and touch
    /// the session.
    pub(super) fn new(credentials: Credentials<'_>, update: &Update<'_>) -> Option<Self> {
        if update.needs_current_secret() || update.changes.is_empty() {
            return None;
        }
        let sizes = update.changes.iter().map(|change| match change {
            Change::Set(write) => Some(write.value.len()),
            Change::Remove(_) | Change::Expire(..) => None,
        });
        Some(Self {
            bytes: sizes.sum::<Option<usize>>()?,
            credentials: credentials.into(),
            has_precondition: update.precondition.is_some(),
            update: Arc::new(update.into()),
        })
    }
}

impl WriteBatch {
    /// Returns the write in one statement, if there is one.
    fn plain_write(&self, request: &WriteRequest) -> Option<Write> {
        let Self(executor) = self;
        let write = request
            .update
            .lend(|update| plain_write(&executor.tables, request.credentials.borrow(), update));
        write.filter(|write| executor.accepts(&write.0))
    }
}

/// Returns the answer of a write that has set this number of fields.
fn applied(fields: u64) -> Option<Result<Written<Updated>, Refused>> {
    (fields > 0).then(|| Ok(Written::new(Updated::Applied { found: 0 })))
}

impl BatchOp for WriteBatch {
    type Request = WriteRequest;
    type Key = SessionId;
    type Part = Result<Updated, Refused>;
    /// `None` if a transaction has to apply the rules of the session. Nothing was changed.
    type Answer = Option<Result<Written<Updated>, Refused>>;
    type Error = StoreError;

    fn can_batch(&self, request: &WriteRequest) -> bool {
        !request.has_precondition && request.bytes <= MAX_BYTES / 4
    }

    fn can_join(&self, batch: &[WriteRequest], next: &WriteRequest) -> bool {
        let bytes = || batch.iter().chain([next]).map(|request| request.bytes).sum::<usize>();
        batch.len() < MAX_SESSIONS && bytes() <= MAX_BYTES && !self.has_its_share(batch, next)
    }

    fn key(request: &WriteRequest) -> SessionId {
        request.credentials.id
    }

    fn has_its_share(&self, batch: &[WriteRequest], next: &WriteRequest) -> bool {
        batch.iter().any(|other| Self::key(other) == Self::key(next))
    }

    async fn send_one(
        &self,
        request: &WriteRequest,
        deadline: Instant,
    ) -> Result<Self::Answer, StoreError> {
        match self.plain_write(request) {
            Some(write) => Ok(applied(self.0.run(write, deadline).await?)),
            None => Ok(None),
        }
    }

    async fn send_inline(
        &self,
        request: &WriteRequest,
        deadline: Instant,
    ) -> Result<Self::Answer, StoreError> {
        match self.plain_write(request) {
            Some(write) => Ok(applied(self.0.run_inline(write, deadline).await?)),
            None => Ok(None),
        }
    }

    async fn send_batch(
        &self,
        requests: &[WriteRequest],
        deadline: Instant,
    ) -> Result<Vec<Option<Self::Part>>, StoreError> {
        let Self(executor) = self;
        let operation = UpdateSessions(requests.to_vec());
        let transaction = Transaction { executor: Arc::clone(executor), operation };
        let answers = executor.run_inline(transaction, deadline).await.map_err(StoreError::from);
        resend_refused(answers, requests.len())
    }

    fn decode(
        &self,
        _: &WriteRequest,
        part: Self::Part,
    ) -> Option<Result<Self::Answer, StoreError>> {
        Some(Ok(Some(part.map(Written::new))))
    }

    fn timed_out() -> StoreError {
        timed_out(StoreErrorKind::Unavailable)
    }

    fn shut_down() -> StoreError {
        shut_down()
    }
}

/// Changes several sessions. The answer has `None` for each session that does not exist, or that
/// another transaction has locked.
struct UpdateSessions(Vec<WriteRequest>);

impl Operation for UpdateSessions {
    type Answer = Vec<Option<Result<Updated, Refused>>>;

    fn open(&self, opening: &mut Opening<'_>) {
        let ids: Vec<_> = self.0.iter().map(WriteBatch::key).collect();
        opening.lock_sessions(&ids);
    }

    fn decide(
        &self,
        tables: &Tables,
        opened: &Opened,
        writes: &mut Script,
    ) -> Result<Self::Answer, StoreError> {
        let sessions: HashMap<_, _> = opened.others.iter().map(|row| (row.id, row)).collect();
        let mut changed = Vec::new();
        let answers = self.0.iter().map(|request| {
            let row = *sessions.get(&request.credentials.id)?;
            let mut record = row.in_epoch(opened.epoch).record();
            let proof = request.credentials.proof();
            let answer = request.update.lend(|update| record.update(proof, update, opened.now));
            if record.is_modified() {
                changed.push((row, record));
            }
            Some(answer)
        });
        let answers = answers.collect();
        // The stored fields were not read, so every field of a record is one that the update sets.
        let stored = Fields::new();
        let mut fields = Vec::new();
        for (row, record) in &changed {
            save_head(writes, tables, row, &stored, record, opened.now);
            let number = SessionNumber::Known(row.number);
            fields.extend(changed_fields(number, &stored, record, Origin::Epoch));
        }
        set_fields(writes, tables, fields);
        Ok(answers)
    }
}
