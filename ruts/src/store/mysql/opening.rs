//! [`Opening`]: the first round trip of a transaction, which locks and reads the rows that the
//! operation needs.
//!
//! Used by `transaction` and its operations. Every transaction uses `READ_COMMITTED`.

use std::time::Duration;

use super::{
    error::{ROWS_ARE_MISSING, StatementError, corrupt, unsupported},
    executor::{Answer, Attempt},
    reading::{is_live, named, of_principal},
    rows::{CLOCK, Columns, FIELD, Fields, SESSION, SessionRow, decode_field},
    script::{Hex, Script, Separated},
    tables::Tables,
};
use crate::{
    auth::PrincipalKey,
    store::{Projection, SessionRecord, StoreError},
    token::SessionId,
};

/// Sets the isolation level of the next transaction. A higher level also locks gaps between rows,
/// so concurrent creations of sessions would wait for each other.
pub(super) const READ_COMMITTED: &str = "set transaction isolation level read committed";

/// The rows that a transaction locks and reads first.
///
/// Transactions that wait for locks take them in the same order: the principal, the session, other
/// sessions by their numbers. A session is always locked before its fields.
pub(super) struct Opening<'a> {
    tables: &'a Tables,
    script: Script,
    lock: Option<usize>,
    session: Option<usize>,
    fields: Option<usize>,
    clock: Option<usize>,
    others: Vec<usize>,
}

/// The rows that an [`Opening`] has read.
pub(super) struct Opened {
    /// The clock of the server, after all waits for locks.
    pub(super) now: Duration,
    pub(super) epoch: i64,
    /// The locked session, even if `revoke_everyone` has ended it.
    pub(super) session: Option<SessionRow>,
    /// The requested fields.
    pub(super) fields: Fields,
    /// Other sessions. They are locked only if their condition contains `for update`.
    pub(super) others: Vec<SessionRow>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(tables: &'a Tables) -> Self {
        let mut script = Script::of(READ_COMMITTED);
        script.push("start transaction");
        let (lock, session, fields, clock, others) = (None, None, None, None, Vec::new());
        Self { tables, script, lock, session, fields, clock, others }
    }

    /// Locks the row of a principal, so that other transactions wait for this lock. Principals with
    /// the same first byte share a row.
    pub(super) fn lock_principal(&mut self, principal: &PrincipalKey) {
        let [lock, ..] = principal.as_bytes();
        let locks = &self.tables.locks;
        let locked =
            self.script.push(format_args!("select n from {locks} where n = {lock} for update"));
        self.lock = Some(locked);
    }

    /// Locks a session, and reads fields of it.
    pub(super) fn lock_session(&mut self, id: &SessionId, fields: Projection<'_>) {
        let (id, sessions) = (Hex(id.as_bytes()), &self.tables.sessions);
        let locked = self
            .script
            .push(format_args!("select {SESSION} from {sessions} s where s.id = {id} for update"));
        self.session = Some(locked);
        if !matches!(fields, Projection::Named([])) {
            // This statement begins after the lock was granted, so it sees every change by an
            // earlier holder of the lock.
            let read = self.script.push(format_args!(
                "select {FIELD} from {sessions} s join {} f on f.session = s.number{} \
                 where s.id = {id}",
                self.tables.fields,
                named(fields)
            ));
            self.fields = Some(read);
        }
    }

    /// Locks and reads several sessions. Skips rows that another transaction has locked.
    pub(super) fn lock_sessions(&mut self, ids: &[SessionId]) {
        let ids: Vec<_> = ids.iter().map(|id| Hex(id.as_bytes())).collect();
        let sessions = &self.tables.sessions;
        let read = self.script.push(format_args!(
            "select {SESSION} from {sessions} s force index (by_id) where s.id in ({}) \
             order by s.id for update skip locked",
            Separated(&ids, ", ")
        ));
        self.others.push(read);
    }

    /// Reads other sessions by a condition on the table `s`. Locks them only if the condition
    /// contains `for update`.
    pub(super) fn read_others(&mut self, condition: &str) {
        let sessions = &self.tables.sessions;
        let read =
            self.script.push(format_args!("select {SESSION} from {sessions} s where {condition}"));
        self.others.push(read);
    }

    /// Reads the sessions of a principal that were not deleted or revoked, ordered by id, without
    /// locking them.
    pub(super) fn read_sessions_of(
        &mut self,
        principal: &PrincipalKey,
        after: Option<&SessionId>,
        limit: usize,
    ) {
        let condition = of_principal(self.tables, principal, after);
        self.read_others(&format!("{condition} order by s.id limit {limit}"));
    }

    /// Reads live sessions of a principal without locking them.
    pub(super) fn read_live_sessions_of(&mut self, principal: &PrincipalKey, limit: usize) {
        let condition = of_principal(self.tables, principal, None);
        self.read_others(&format!("{condition} and {} order by s.id limit {limit}", is_live()));
    }

    /// Locks and reads sessions of earlier epochs, which `revoke_everyone` has ended. Skips rows
    /// that another transaction has locked.
    pub(super) fn read_earlier(&mut self, limit: usize) {
        let Tables { sessions, epoch, .. } = self.tables;
        let read = self.script.push(format_args!(
            "select {SESSION} from {sessions} s force index (by_epoch) \
             where s.epoch < (select epoch from {epoch}) limit {limit} for update skip locked"
        ));
        self.others.push(read);
    }

    /// Sends the script.
    pub(super) async fn send(
        mut self,
        attempt: &mut Attempt<'_>,
    ) -> Result<Opened, StatementError> {
        let clock = format!("select epoch, {CLOCK} from {}", self.tables.epoch);
        self.clock = Some(self.script.push(clock));
        let answers = attempt.begin(&self.script).await?;
        self.decode(&answers).map_err(Into::into)
    }

    fn decode(&self, answers: &[Answer]) -> Result<Opened, StoreError> {
        let rows = |at: Option<usize>| {
            at.and_then(|at| answers.get(at)).map_or(&[][..], |answer| &answer.rows)
        };
        if self.lock.is_some() && rows(self.lock).is_empty() {
            return Err(unsupported(ROWS_ARE_MISSING));
        }
        let mut clock = Columns::of(rows(self.clock).first().ok_or_else(corrupt)?);
        let (epoch, now) = (clock.get()?, clock.moment()?.ok_or_else(corrupt)?);
        let session = match rows(self.session).first() {
            Some(row) => SessionRow::decode(&mut Columns::of(row))?,
            None => None,
        };
        let mut fields = Fields::new();
        for row in rows(self.fields) {
            fields.extend(decode_field(&mut Columns::of(row))?);
        }
        let mut others = Vec::new();
        for at in &self.others {
            for row in rows(Some(*at)) {
                others.extend(SessionRow::decode(&mut Columns::of(row))?);
            }
        }
        Ok(Opened { now, epoch, session, fields, others })
    }
}

impl Opened {
    /// Returns the record of the locked session.
    pub(super) fn record(&self) -> Option<SessionRecord> {
        let session = self.session?.in_epoch(self.epoch);
        Some(SessionRecord::from_parts(session.head, self.fields.clone()))
    }

    /// Returns the locked session, unless `revoke_everyone` has ended it.
    pub(super) fn current(&self) -> Option<SessionRow> {
        self.session.filter(|session| session.epoch == self.epoch)
    }
}
