//! The operations of the contract, each within a transaction of its caller.
//!
//! Used by the store and the writer. [`SessionRecord`] holds the rules of a session. The operations
//! decide what is read before the rules apply, and what is written after. A failed operation has
//! changed nothing, except that it may have freed an ended session.

use std::time::Duration;

use bytes::Bytes;

use super::{
    connection::Database,
    error::{NAME, corrupt},
    rows::{Micros, SessionRow, StoredSession, insert},
    statements::{EXPIRED, NEXT_ROW, NOTE_FREED, REVOKE_EVERYONE, REVOKED, SESSIONS_OF},
};
use crate::{
    auth::PrincipalKey,
    store::{
        AuthChange, Create, Expiry, ListedSession, Loaded, NewSignIn, Projection, Refused,
        RevokeTarget, SessionMeta, SessionPage, SessionRecord, StoreError, StoreErrorKind,
        StoreResult, TakeField, Touch, Update, Updated, owned_request::OwnedCredentials,
    },
    token::SessionId,
};

/// No field.
const NONE: Projection<'_> = Projection::Named(&[]);

/// Approximate maximum number of sessions of a principal that one transaction ends, so that the
/// transaction is short.
const STEP: usize = 100;

/// The progress of an operation after a transaction.
pub(super) enum Step<T> {
    /// The operation is complete.
    Done(T),
    /// The transaction has ended some sessions. The operation continues in a new transaction.
    Again,
}

/// Reads a session. `None` if the read has to write: a touch is due, or the current secret is used
/// for the first time.
pub(super) fn load(
    database: &Database,
    credentials: &OwnedCredentials,
    fields: Projection<'_>,
    touch: Option<Touch>,
) -> Result<Option<Result<Loaded, Refused>>, StoreError> {
    let Some(stored) = StoredSession::find(database, &credentials.id, fields)? else {
        return Ok(Some(Err(Refused::NotFound)));
    };
    let mut record = stored.into_record();
    let answer = record.load(credentials.proof(), fields, touch, database.now());
    Ok((!record.is_modified()).then_some(answer))
}

/// Reads a session without recording the use.
pub(super) fn load_only(
    database: &Database,
    credentials: &OwnedCredentials,
    fields: Projection<'_>,
) -> Result<Result<Loaded, Refused>, StoreError> {
    let Some(stored) = StoredSession::find(database, &credentials.id, fields)? else {
        return Ok(Err(Refused::NotFound));
    };
    Ok(stored.into_record().load(credentials.proof(), fields, None, database.now()))
}

/// Reads a session and touches it.
pub(super) fn load_and_touch(
    database: &Database,
    credentials: &OwnedCredentials,
    fields: Projection<'_>,
    touch: Option<Touch>,
) -> StoreResult<Loaded> {
    change(database, &credentials.id, fields, |record, now| {
        record.load(credentials.proof(), fields, touch, now)
    })
}

pub(super) fn create(database: &Database, create: &Create<'_>) -> Result<Step<()>, StoreError> {
    let now = database.now();
    if let Some(row) = SessionRow::find(database, create.id)? {
        if !row.is_revoked && row.record(database, NONE)?.is_retained(now) {
            return Err(StoreError::new(NAME, StoreErrorKind::Exists));
        }
        SessionRow::delete(database, row.row)?;
    }
    if let Some(who) = &create.sign_in
        && let Step::Again = make_room(database, create.id, who)?
    {
        return Ok(Step::Again);
    }
    let row = database.row(NEXT_ROW, [], |row| row.get(0))?.ok_or_else(corrupt)?;
    insert(database, row, create.id, &SessionRecord::new(create, now)).map(Step::Done)
}

pub(super) fn update(
    database: &Database,
    credentials: &OwnedCredentials,
    update: &Update<'_>,
) -> Result<Step<Result<Updated, Refused>>, StoreError> {
    let (id, proof) = (&credentials.id, credentials.proof());
    let who = match &update.auth_change {
        Some(AuthChange::In { who, .. }) => Some(who),
        _ => None,
    };
    let names = update.needed_names();
    // A sign-in may remove every field, so it needs all of them.
    let needed = if who.is_some() { Projection::All } else { Projection::Named(&names) };
    let Some(stored) = StoredSession::find(database, id, needed)? else {
        return Ok(Step::Done(Err(Refused::NotFound)));
    };
    let (mut record, now) = (stored.record(), database.now());
    // A refused sign-in must not end other sessions, so the update is checked first.
    if let Some(who) = who
        && record.would_apply(proof, update, now) == Ok(true)
        && let Step::Again = make_room(database, id, who)?
    {
        return Ok(Step::Again);
    }
    let answer = record.update(proof, update, now);
    stored.save(database, &record, now)?;
    Ok(Step::Done(answer))
}

pub(super) fn take(
    database: &Database,
    credentials: &OwnedCredentials,
    take: &TakeField<'_>,
) -> StoreResult<Option<Bytes>> {
    change(database, &credentials.id, Projection::Named(&[take.name]), |record, now| {
        record.take(credentials.proof(), take, now)
    })
}

pub(super) fn delete(database: &Database, credentials: &OwnedCredentials) -> StoreResult<()> {
    change(database, &credentials.id, NONE, |record, now| record.delete(credentials.proof(), now))
}

pub(super) fn inspect(
    database: &Database,
    id: &SessionId,
) -> Result<Option<SessionMeta>, StoreError> {
    let stored = StoredSession::find(database, id, NONE)?;
    Ok(stored.and_then(|stored| stored.into_record().inspect(database.now())))
}

pub(super) fn expiry(database: &Database, id: &SessionId) -> Result<Option<Expiry>, StoreError> {
    let stored = StoredSession::find(database, id, NONE)?;
    Ok(stored.and_then(|stored| stored.into_record().expiry(database.now())))
}

pub(super) fn list_by_principal(
    database: &Database,
    principal: &PrincipalKey,
    after: Option<&SessionId>,
    limit: usize,
    fields: Projection<'_>,
) -> Result<SessionPage, StoreError> {
    let limit = limit.max(1);
    // Reads one session more than the page holds, to find out whether there is a next page.
    let mut rows = sessions_of(database, principal, after, limit.saturating_add(1))?;
    let has_next = rows.len() > limit;
    rows.truncate(limit);
    let (mut page, now) = (SessionPage::default(), database.now());
    for row in &rows {
        let record = row.record(database, fields)?;
        if let Some(loaded) = record.load_for(principal, fields, now) {
            page.sessions.push(ListedSession::new(row.id, loaded));
        }
    }
    page.next = rows.last().filter(|_| has_next).map(|row| row.id);
    Ok(page)
}

/// Ends the next sessions of a principal after the id `after`. Returns the ids of the ended
/// sessions. Also returns the last examined session, if there may be more sessions.
pub(super) fn revoke(
    database: &Database,
    principal: &PrincipalKey,
    target: RevokeTarget<'_>,
    after: Option<&SessionId>,
) -> Result<(Vec<SessionId>, Option<SessionId>), StoreError> {
    let rows: Vec<SessionRow> = match target {
        RevokeTarget::One(id) => {
            SessionRow::find(database, id)?.into_iter().filter(|row| !row.is_revoked).collect()
        }
        RevokeTarget::All { .. } => sessions_of(database, principal, after, STEP)?,
    };
    let last = rows.last().filter(|_| rows.len() == STEP).map(|row| row.id);
    let now = database.now();
    let mut ended = Vec::new();
    for row in rows {
        let is_theirs = row.record(database, NONE)?.belongs_to(principal, now);
        if is_theirs && target.includes(&row.id) {
            end(database, &row, now)?;
            ended.push(row.id);
        }
    }
    Ok((ended, last))
}

pub(super) fn revoke_everyone(database: &Database) -> Result<(), StoreError> {
    database.note_change(None);
    match database.execute(REVOKE_EVERYONE, [])? {
        1 => Ok(()),
        _ => Err(corrupt()),
    }
}

/// Frees at most `limit` sessions, and returns their number. Sessions that are not retained are
/// deleted. Sessions that `revoke_everyone` has ended lose their fields.
pub(super) fn delete_expired(database: &Database, limit: usize) -> Result<usize, StoreError> {
    let number = |limit: usize| i64::try_from(limit).unwrap_or(i64::MAX);
    let now = database.now();
    let expired: Vec<i64> =
        database.rows(EXPIRED, (Micros(now), number(limit)), |row| row.get(0))?;
    for row in &expired {
        SessionRow::delete(database, *row)?;
    }
    let left = limit - expired.len();
    let revoked: Vec<SessionRow> = database.rows(REVOKED, [number(left)], SessionRow::decode)?;
    for session in &revoked {
        end(database, session, now)?;
    }
    if left > 0 {
        let last = revoked.last().filter(|_| revoked.len() == left).map(|session| session.row);
        database.execute(NOTE_FREED, [last])?;
    }
    Ok(expired.len() + revoked.len())
}

/// Applies a rule to the record of a session and saves it.
fn change<T>(
    database: &Database,
    id: &SessionId,
    needed: Projection<'_>,
    rule: impl FnOnce(&mut SessionRecord, Duration) -> Result<T, Refused>,
) -> StoreResult<T> {
    let Some(stored) = StoredSession::find(database, id, needed)? else {
        return Ok(Err(Refused::NotFound));
    };
    let (mut record, now) = (stored.record(), database.now());
    let answer = rule(&mut record, now);
    stored.save(database, &record, now)?;
    Ok(answer)
}

/// Ends the oldest sessions of the principal, so that the session `own` fits under the limit.
///
/// This function may read only some sessions of the principal. Even so, it ends only sessions
/// beyond the limit. The sessions that were read and stay are all later, and fill the limit
/// together with `own`.
fn make_room(
    database: &Database,
    own: &SessionId,
    who: &NewSignIn<'_>,
) -> Result<Step<()>, StoreError> {
    let Some(limit) = who.limit else { return Ok(Step::Done(())) };
    let most = (limit.sessions as usize).saturating_add(STEP);
    let (mut live, mut after, now) = (Vec::new(), None, database.now());
    loop {
        let rows = sessions_of(database, who.principal, after.as_ref(), STEP)?;
        after = rows.last().filter(|_| rows.len() == STEP).map(|row| row.id);
        for row in rows.into_iter().filter(|row| row.id != *own) {
            let record = row.record(database, NONE)?;
            if record.belongs_to(who.principal, now)
                && let Some(since) = record.signed_in_at()
            {
                live.push((since, row));
            }
        }
        if after.is_none() || live.len() >= most {
            break;
        }
    }
    let choice = live.iter().map(|(since, row)| (*since, row.id)).collect();
    let Some(beyond) = limit.beyond(choice) else {
        return Err(StoreError::new(NAME, StoreErrorKind::SessionLimit));
    };
    for (_, row) in live.iter().filter(|(_, row)| beyond.contains(&row.id)) {
        end(database, row, now)?;
    }
    Ok(if after.is_some() { Step::Again } else { Step::Done(()) })
}

/// Revokes a session, unless it was deleted.
fn end(database: &Database, session: &SessionRow, now: Duration) -> Result<(), StoreError> {
    let stored = session.without_fields();
    let mut record = stored.record();
    if !record.is_ended() || record.is_revoked() {
        record.revoke(now);
    }
    stored.save(database, &record, now)
}

/// Returns the sessions of a principal that were not deleted or revoked, ordered by id.
fn sessions_of(
    database: &Database,
    principal: &PrincipalKey,
    after: Option<&SessionId>,
    limit: usize,
) -> Result<Vec<SessionRow>, StoreError> {
    let after = after.map_or(&[][..], |after| after.as_bytes());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    database.rows(SESSIONS_OF, (principal.as_bytes(), after, limit), SessionRow::decode)
}
