//! The operations of the contract that lock a session or a principal.
//!
//! Used by the store and the cleanup. [`SessionRecord`] holds the rules of a session. The
//! operations decide which rows are locked, read and written.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    error::NAME,
    executor::Answer,
    opening::{Opened, Opening},
    rows::{Fields, Origin, STATEMENT_CLOCK},
    script::{Hex, Script},
    tables::Tables,
    transaction::Operation,
    writing::{delete, delete_fields_of_revoked, insert, move_to_epoch, revoke, save},
};
use crate::{
    auth::PrincipalKey,
    store::{
        AuthChange, Loaded, NewSignIn, Projection, Refused, SessionLimit, SessionRecord,
        StoreError, StoreErrorKind, Touch, Update, Updated,
        owned_request::{
            OwnedCreate, OwnedCredentials, OwnedProjection, OwnedTake, OwnedTarget, OwnedUpdate,
        },
    },
    token::SessionId,
};

/// Maximum number of sessions beyond a limit that one transaction ends, so that the transaction is
/// short.
const STEP: usize = 100;

/// The progress of an operation after a transaction.
pub(super) enum Step<T> {
    /// The operation is complete.
    Done(T),
    /// The transaction has ended some sessions. The operation continues in a new transaction.
    Again,
}

/// No field.
const NONE: Projection<'_> = Projection::Named(&[]);

/// Reads a session and touches it.
pub(super) struct LoadAndTouch {
    pub(super) credentials: OwnedCredentials,
    pub(super) fields: OwnedProjection,
    pub(super) touch: Option<Touch>,
}

impl Operation for LoadAndTouch {
    type Answer = Result<Loaded, Refused>;

    fn open(&self, opening: &mut Opening<'_>) {
        self.fields.lend(|fields| opening.lock_session(&self.credentials.id, fields));
    }

    fn decide(
        &self,
        tables: &Tables,
        opened: &Opened,
        writes: &mut Script,
    ) -> Result<Self::Answer, StoreError> {
        Ok(change(tables, opened, writes, |record, now| {
            self.fields
                .lend(|fields| record.load(self.credentials.proof(), fields, self.touch, now))
        }))
    }
}

/// Creates a session. Used if other sessions may have to end for it, or if an ended session may
/// have the same id.
pub(super) struct CreateSession(pub(super) Arc<OwnedCreate>);

impl Operation for CreateSession {
    type Answer = Step<()>;

    fn open(&self, opening: &mut Opening<'_>) {
        self.0.lend(|create| {
            lock_for_limit(opening, create.sign_in.as_ref());
            opening.lock_session(create.id, NONE);
            read_for_limit(opening, create.sign_in.as_ref());
        });
    }

    fn decide(
        &self,
        tables: &Tables,
        opened: &Opened,
        writes: &mut Script,
    ) -> Result<Step<()>, StoreError> {
        self.0.lend(|create| {
            if opened.current().is_some_and(|held| held.record().is_retained(opened.now)) {
                return Err(StoreError::new(NAME, StoreErrorKind::Exists));
            }
            if let Some(who) = &create.sign_in
                && let Step::Again = make_room(tables, opened, writes, create.id, who)?
            {
                return Ok(Step::Again);
            }
            if let Some(held) = opened.session {
                delete(writes, tables, &[held.number]);
            }
            let record = SessionRecord::new(create, opened.now);
            insert(writes, tables, create.id, &record, Origin::Epoch);
            Ok(Step::Done(()))
        })
    }
}

/// Changes a session.
pub(super) struct UpdateSession {
    pub(super) credentials: OwnedCredentials,
    pub(super) update: Arc<OwnedUpdate>,
}

/// Returns the sign-in of an update, if it has one.
pub(super) const fn signs_in<'a>(update: &Update<'a>) -> Option<NewSignIn<'a>> {
    match update.auth_change {
        Some(AuthChange::In { who, .. }) => Some(who),
        _ => None,
    }
}

impl Operation for UpdateSession {
    type Answer = Step<Result<Updated, Refused>>;

    fn open(&self, opening: &mut Opening<'_>) {
        self.update.lend(|update| {
            let (who, names) = (signs_in(update), update.needed_names());
            lock_for_limit(opening, who.as_ref());
            // A sign-in may remove every field, so it needs all of them.
            let needed = if who.is_some() { Projection::All } else { Projection::Named(&names) };
            opening.lock_session(&self.credentials.id, needed);
            read_for_limit(opening, who.as_ref());
        });
    }

    fn decide(
        &self,
        tables: &Tables,
        opened: &Opened,
        writes: &mut Script,
    ) -> Result<Self::Answer, StoreError> {
        let (id, proof) = (&self.credentials.id, self.credentials.proof());
        self.update.lend(|update| {
            // A refused sign-in must not end other sessions, so the update is checked first.
            if let (Some(who), Some(record)) = (signs_in(update), opened.record())
                && record.would_apply(proof, update, opened.now) == Ok(true)
                && let Step::Again = make_room(tables, opened, writes, id, &who)?
            {
                return Ok(Step::Again);
            }
            let change =
                change(tables, opened, writes, |record, now| record.update(proof, update, now));
            Ok(Step::Done(change))
        })
    }
}

/// Removes a field and returns its value.
pub(super) struct Take {
    pub(super) credentials: OwnedCredentials,
    pub(super) take: OwnedTake,
}

impl Operation for Take {
    type Answer = Result<Option<Bytes>, Refused>;

    fn open(&self, opening: &mut Opening<'_>) {
        let name = self.take.borrow().name;
        opening.lock_session(&self.credentials.id, Projection::Named(&[name]));
    }

    fn decide(
        &self,
        tables: &Tables,
        opened: &Opened,
        writes: &mut Script,
    ) -> Result<Self::Answer, StoreError> {
        Ok(change(tables, opened, writes, |record, now| {
            record.take(self.credentials.proof(), &self.take.borrow(), now)
        }))
    }
}

/// Ends a session.
pub(super) struct Delete(pub(super) OwnedCredentials);

impl Operation for Delete {
    type Answer = Result<(), Refused>;

    fn open(&self, opening: &mut Opening<'_>) {
        opening.lock_session(&self.0.id, NONE);
    }

    fn decide(
        &self,
        tables: &Tables,
        opened: &Opened,
        writes: &mut Script,
    ) -> Result<Self::Answer, StoreError> {
        Ok(change(tables, opened, writes, |record, now| record.delete(self.0.proof(), now)))
    }
}

/// Ends sessions of a principal, one batch in each transaction.
pub(super) struct Revoke {
    pub(super) principal: PrincipalKey,
    pub(super) target: OwnedTarget,
    /// The last session of the previous batch.
    pub(super) after: Option<SessionId>,
    pub(super) limit: usize,
}

/// The sessions that a [`Revoke`] ended.
#[derive(Default)]
pub(super) struct RevokedBatch {
    pub(super) ended: Vec<SessionId>,
    /// The last session that was examined, if there may be more.
    pub(super) next: Option<SessionId>,
    /// A session to end was not found. Either the principal has left the session, or the server has
    /// aborted the statement without an error.
    pub(super) is_incomplete: bool,
    /// For each session in `ended`, the index of the statement that ends it.
    statements: Vec<usize>,
}

impl Operation for Revoke {
    type Answer = RevokedBatch;

    fn open(&self, opening: &mut Opening<'_>) {
        opening.lock_principal(&self.principal);
        match self.target {
            OwnedTarget::One(id) => {
                opening.read_others(&format!("s.id = {}", Hex(id.as_bytes())));
            }
            OwnedTarget::All { .. } => {
                opening.read_sessions_of(&self.principal, self.after.as_ref(), self.limit);
            }
        }
    }

    fn decide(
        &self,
        tables: &Tables,
        opened: &Opened,
        writes: &mut Script,
    ) -> Result<RevokedBatch, StoreError> {
        let mut batch = RevokedBatch::default();
        if opened.others.len() == self.limit {
            batch.next = opened.others.last().map(|last| last.id);
        }
        let mut theirs: Vec<_> = (opened.others.iter())
            .filter(|row| self.target.borrow().includes(&row.id) && row.epoch == opened.epoch)
            .filter(|row| row.record().belongs_to(&self.principal, opened.now))
            .collect();
        theirs.sort_unstable_by_key(|row| row.number);
        for row in &theirs {
            batch.statements.push(revoke(writes, tables, &self.principal, row, opened.now));
            batch.ended.push(row.id);
        }
        let numbers: Vec<_> = theirs.iter().map(|row| row.number).collect();
        if !numbers.is_empty() {
            delete_fields_of_revoked(writes, tables, &numbers);
        }
        Ok(batch)
    }

    /// Removes from the answer the sessions that the principal left in the meantime, because they
    /// were not ended.
    fn complete(&self, mut batch: RevokedBatch, written: &[Answer]) -> RevokedBatch {
        let was_found = |at: usize| written.get(at).is_some_and(|answer| answer.affected > 0);
        batch.is_incomplete = !batch.statements.iter().all(|at| was_found(*at));
        let mut statements = batch.statements.iter();
        batch.ended.retain(|_| statements.next().is_some_and(|at| was_found(*at)));
        batch
    }
}

/// Deletes sessions that are not retained. Revokes the other sessions of earlier epochs, so that
/// their secrets are still recognised.
pub(super) struct DeleteExpired(pub(super) usize);

impl Operation for DeleteExpired {
    type Answer = usize;

    /// Skips rows that another transaction has locked.
    fn open(&self, opening: &mut Opening<'_>) {
        let Self(limit) = self;
        opening.read_others(&format!(
            "s.cleanup_hour <= {STATEMENT_CLOCK} div 3600000000 and s.delete_at <= {STATEMENT_CLOCK} \
             order by s.cleanup_hour limit {limit} for update skip locked"
        ));
        opening.read_earlier(*limit);
    }

    fn decide(
        &self,
        tables: &Tables,
        opened: &Opened,
        writes: &mut Script,
    ) -> Result<usize, StoreError> {
        let mut sessions = opened.others.clone();
        sessions.sort_unstable_by_key(|session| session.number);
        // A session may be both expired and of an earlier epoch. It was then read twice.
        sessions.dedup_by_key(|session| session.number);
        sessions.truncate(self.0);
        let (mut expired, mut earlier) = (Vec::new(), Vec::new());
        for session in &sessions {
            if !session.record().is_retained(opened.now) {
                expired.push(session.number);
            } else if session.epoch != opened.epoch {
                let mut record = session.record();
                if !record.is_ended() {
                    record.revoke(opened.now);
                }
                save(writes, tables, session, &Fields::new(), &record, opened.now);
                earlier.push(session.number);
            }
        }
        if !expired.is_empty() {
            delete(writes, tables, &expired);
        }
        if !earlier.is_empty() {
            // In the current epoch, the next cleanup does not find these sessions again.
            move_to_epoch(writes, tables, &earlier, opened.epoch);
        }
        Ok(expired.len() + earlier.len())
    }
}

/// Applies a rule to the record of the locked session, and adds the statements that store the
/// change.
fn change<T>(
    tables: &Tables,
    opened: &Opened,
    writes: &mut Script,
    rule: impl FnOnce(&mut SessionRecord, Duration) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let (row, mut record) = opened.session.zip(opened.record()).ok_or(Refused::NotFound)?;
    let answer = rule(&mut record, opened.now);
    if record.is_modified() {
        save(writes, tables, &row, &opened.fields, &record, opened.now);
    }
    answer
}

/// Locks the principal of a sign-in with a limit, so that such sign-ins wait for each other.
fn lock_for_limit(opening: &mut Opening<'_>, who: Option<&NewSignIn<'_>>) {
    if let Some(who) = who.filter(|who| who.limit.is_some()) {
        opening.lock_principal(who.principal);
    }
}

fn read_for_limit(opening: &mut Opening<'_>, who: Option<&NewSignIn<'_>>) {
    if let Some(who) = who
        && let Some(limit) = who.limit
    {
        opening.read_live_sessions_of(who.principal, most(limit));
    }
}

/// Returns the maximum number of live sessions that a sign-in reads: the sessions that may stay,
/// its own session, and the sessions of one step.
const fn most(limit: SessionLimit) -> usize {
    (limit.sessions as usize).saturating_add(1 + STEP)
}

/// Ends the oldest sessions of the principal, so that the session `own` fits under the limit.
///
/// The opening may have read only some sessions of the principal. Even so, this function ends only
/// sessions beyond the limit. The sessions that were read and stay are all later, and fill the
/// limit together with `own`.
fn make_room(
    tables: &Tables,
    opened: &Opened,
    writes: &mut Script,
    own: &SessionId,
    who: &NewSignIn<'_>,
) -> Result<Step<()>, StoreError> {
    let Some(limit) = who.limit else { return Ok(Step::Done(())) };
    let mut live = Vec::new();
    for row in opened.others.iter().filter(|row| row.id != *own) {
        let record = row.record();
        if record.belongs_to(who.principal, opened.now)
            && let Some(since) = record.signed_in_at()
        {
            live.push((since, row.id));
        }
    }
    let Some(beyond) = limit.beyond(live) else {
        return Err(StoreError::new(NAME, StoreErrorKind::SessionLimit));
    };
    let mut ending: Vec<_> = opened.others.iter().filter(|row| beyond.contains(&row.id)).collect();
    ending.sort_unstable_by_key(|row| row.number);
    for row in &ending {
        revoke(writes, tables, who.principal, row, opened.now);
    }
    let numbers: Vec<_> = ending.iter().map(|row| row.number).collect();
    if numbers.is_empty() {
        return Ok(Step::Done(()));
    }
    delete_fields_of_revoked(writes, tables, &numbers);
    Ok(if opened.others.len() < most(limit) { Step::Done(()) } else { Step::Again })
}
