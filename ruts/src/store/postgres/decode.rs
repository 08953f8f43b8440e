//! Decodes the rows of statements.
//!
//! Used by the store, the batches, the cleanup and `check`. Knows nothing about parameters or
//! connections.

use std::time::Duration;

use bytes::Bytes;
use sqlx::{
    Decode, Postgres, Row, Type,
    error::BoxDynError,
    postgres::{PgHasArrayType, PgRow, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid},
};

use super::{
    error::{NAME, corrupt, statement_error},
    statements::{
        DeleteExpiredColumn, FieldColumn, ListColumn, LoadBatchColumn, LoadColumn, OutcomeColumn,
        RevokeColumn, SessionColumn, TakeColumn, TouchColumn, UpdateColumn,
    },
};
use crate::{
    auth::{Assurance, PrincipalKey},
    cache_policy::CachePolicy,
    store::{
        Expiry, ListedSession, Loaded, Refused, SessionMeta, SignedIn, StoreError, StoreErrorKind,
        StoreResult, StoredField, Updated, Written,
    },
    token::SessionId,
};

/// A moment of the server's clock, in microseconds. This type decodes timestamps without a calendar
/// crate, which sqlx would need.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(i64);

impl Moment {
    /// Returns the time from `earlier` to this moment, or zero if this moment comes first.
    fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        const TIMESTAMPTZ: Oid = Oid(1184);
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => Ok(Self(i64::from_be_bytes(value.as_bytes()?.try_into()?))),
            PgValueFormat::Text => Err("a timestamp in text format".into()),
        }
    }
}

fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    row: &'r PgRow,
    column: impl Into<usize>,
) -> Result<T, StoreError> {
    row.try_get(column.into()).map_err(|error| statement_error(error, false).error)
}

fn bytes(row: &PgRow, at: impl Into<usize>) -> Result<Option<Bytes>, StoreError> {
    Ok(column::<Option<Vec<u8>>>(row, at)?.map(Bytes::from))
}

fn session_id(row: &PgRow, at: impl Into<usize>) -> Result<SessionId, StoreError> {
    let id = column::<&[u8]>(row, at)?.try_into().map_err(|_| corrupt())?;
    Ok(SessionId::from_bytes(id))
}

/// Decodes the outcome of a function. `answer` decodes the rest if the credentials were accepted.
fn outcome<T>(
    outcome: &str,
    ago_ms: Option<i64>,
    answer: impl FnOnce() -> Result<T, StoreError>,
) -> StoreResult<T> {
    let ago = || {
        let millis = ago_ms.ok_or_else(corrupt)?;
        Ok::<_, StoreError>(Duration::from_millis(millis.max(0).unsigned_abs()))
    };
    match outcome {
        "ok" | "conflict" | "not_due" => answer().map(Ok),
        "replaced" => Ok(Err(Refused::Replaced { ago: ago()? })),
        "deleted" => Ok(Err(Refused::Deleted { ago: ago()? })),
        "revoked" => Ok(Err(Refused::Revoked)),
        "not_found" => Ok(Err(Refused::NotFound)),
        "session_limit" => Err(StoreError::new(NAME, StoreErrorKind::SessionLimit)),
        _ => Err(corrupt()),
    }
}

fn written<T>(
    row: &PgRow,
    answer: impl FnOnce() -> Result<T, StoreError>,
) -> StoreResult<Written<T>> {
    let ago_ms = column(row, OutcomeColumn::AgoMs)?;
    outcome(column(row, OutcomeColumn::Outcome)?, ago_ms, || answer().map(Written::new))
}

/// Returns whether a statement has to be repeated, because more sessions may be above the limit.
pub(super) fn has_sessions_to_end(row: &PgRow) -> Result<bool, StoreError> {
    column::<&str>(row, OutcomeColumn::Outcome).map(|outcome| outcome == "again")
}

pub(super) fn created(row: &PgRow) -> Result<(), StoreError> {
    match column(row, OutcomeColumn::Outcome)? {
        "ok" => Ok(()),
        "exists" => Err(StoreError::new(NAME, StoreErrorKind::Exists)),
        "session_limit" => Err(StoreError::new(NAME, StoreErrorKind::SessionLimit)),
        _ => Err(corrupt()),
    }
}

pub(super) fn updated(row: &PgRow) -> StoreResult<Written<Updated>> {
    written(row, || match column(row, OutcomeColumn::Outcome)? {
        "conflict" => Ok(Updated::Conflict { current: bytes(row, UpdateColumn::Value)? }),
        "not_due" => Ok(Updated::NotDue),
        _ => {
            let found = column::<i64>(row, UpdateColumn::FieldsFound)?;
            Ok(Updated::Applied { found: found.try_into().map_err(|_| corrupt())? })
        }
    })
}

pub(super) fn taken(row: &PgRow) -> StoreResult<Written<Option<Bytes>>> {
    written(row, || bytes(row, TakeColumn::Value))
}

pub(super) fn deleted(row: &PgRow) -> StoreResult<Written<()>> {
    written(row, || Ok(()))
}

/// Decodes the row of `revoke`: the sessions that it ended, and the start of the next step.
pub(super) fn revoked(row: &PgRow) -> Result<(Vec<SessionId>, Option<Vec<u8>>), StoreError> {
    let ids: Vec<Vec<u8>> = column(row, RevokeColumn::SessionIds)?;
    let ids = ids.into_iter().map(|id| id.try_into().map(SessionId::from_bytes));
    let ids = ids.collect::<Result<_, _>>().map_err(|_| corrupt())?;
    Ok((ids, column(row, RevokeColumn::NextFrom)?))
}

pub(super) fn deleted_count(row: &PgRow) -> Result<usize, StoreError> {
    let count: i64 = column(row, DeleteExpiredColumn::Count)?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// The row of `touch`: outcome, `ago_ms`, the current moment, the idle deadline, and the last use.
type Touched = (String, Option<i64>, Option<Moment>, Option<Moment>, Option<Moment>);

/// The [`SessionColumn`]s of a row.
struct SessionRow {
    now: Moment,
    created: Moment,
    issued: Moment,
    used: Moment,
    idle: Option<Moment>,
    absolute: Option<Moment>,
    signed_in: Option<(Moment, Assurance, PrincipalKey)>,
}

impl SessionRow {
    /// `None` if no session was found.
    fn new(row: &PgRow) -> Result<Option<Self>, StoreError> {
        let Some(created) = column(row, SessionColumn::CreatedAt)? else { return Ok(None) };
        let signed_in = match column::<Option<&[u8]>>(row, SessionColumn::Principal)? {
            None => None,
            Some(principal) => {
                let principal = principal.try_into().map_err(|_| corrupt())?;
                let level = u8::try_from(column::<i16>(row, SessionColumn::Assurance)?).ok();
                let assurance = level.and_then(Assurance::from_level).ok_or_else(corrupt)?;
                let signed_in_at = column(row, SessionColumn::SignedInAt)?;
                Some((signed_in_at, assurance, PrincipalKey::from_bytes(principal)))
            }
        };
        Ok(Some(Self {
            now: column(row, SessionColumn::NowAt)?,
            created,
            issued: column(row, SessionColumn::IssuedAt)?,
            used: column(row, SessionColumn::UsedAt)?,
            idle: column(row, SessionColumn::IdleAt)?,
            absolute: column(row, SessionColumn::AbsoluteAt)?,
            signed_in,
        }))
    }

    fn meta(&self, by_former_secret: bool) -> SessionMeta {
        let left = |end: Option<Moment>| end.map(|end| end.since(self.now));
        SessionMeta {
            age: self.now.since(self.created),
            secret_age: self.now.since(self.issued),
            idle_for: self.now.since(self.used),
            idle_remaining: left(self.idle),
            absolute_remaining: left(self.absolute),
            by_former_secret,
            signed_in: self.signed_in.map(|(signed, assurance, principal)| {
                SignedIn::new(principal, assurance, self.now.since(signed))
            }),
        }
    }

    /// Adds the [`FieldColumn`]s of the row.
    fn loaded(&self, row: &PgRow, by_former_secret: bool) -> Result<Loaded, StoreError> {
        let names: Option<Vec<String>> = column(row, FieldColumn::Names)?;
        let contents: Option<Vec<Vec<u8>>> = column(row, FieldColumn::Contents)?;
        let policies: Option<Vec<i64>> = column(row, FieldColumn::CachePolicies)?;
        let expiries: Option<Vec<Option<Moment>>> = column(row, FieldColumn::Expiries)?;
        let columns = names.into_iter().flatten().zip(contents.into_iter().flatten());
        let fields = columns
            .zip(policies.into_iter().flatten().zip(expiries.into_iter().flatten()))
            .filter(|(_, (_, expiry))| expiry.is_none_or(|expiry| expiry > self.now))
            .map(|((name, value), (policy, expiry))| {
                Ok(StoredField::new(name, value.into())
                    .ttl(expiry.map(|expiry| expiry.since(self.now)))
                    .cache_policy(CachePolicy::from_number(policy).ok_or_else(corrupt)?))
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Loaded::new(self.meta(by_former_secret), fields))
    }
}

/// Decodes a row of `load`, or of `load_and_touch`.
pub(super) fn loaded(row: &PgRow, has_touch: bool) -> StoreResult<Loaded> {
    let Some(mut session) = SessionRow::new(row)? else { return Ok(Err(Refused::NotFound)) };
    let by_former_secret = column(row, LoadColumn::ByFormerSecret)?;
    if has_touch
        && let Some((text, ago_ms, now, idle, used)) =
            column::<Option<Touched>>(row, TouchColumn::Touched)?
    {
        return outcome(&text, ago_ms, || {
            session.now = now.ok_or_else(corrupt)?;
            session.used = used.ok_or_else(corrupt)?;
            session.idle = idle;
            session.loaded(row, by_former_secret)
        });
    }
    if column(row, LoadColumn::IsRevoked)? {
        return Ok(Err(Refused::Revoked));
    }
    let valid_until: Option<Moment> =
        if by_former_secret { column(row, LoadColumn::FormerUntil)? } else { None };
    if let Some(until) = valid_until.filter(|until| *until <= session.now) {
        return Ok(Err(Refused::Replaced { ago: session.now.since(until) }));
    }
    if let Some(ended) = column::<Option<Moment>>(row, LoadColumn::EndedAt)? {
        return Ok(Err(Refused::Deleted { ago: session.now.since(ended) }));
    }
    session.loaded(row, by_former_secret).map(Ok)
}

/// Decodes a row of `load_batch`. `None` if a touch is due.
pub(super) fn loaded_in_batch(row: &PgRow) -> Result<Option<Result<Loaded, Refused>>, StoreError> {
    let is_due: Option<bool> = column(row, LoadBatchColumn::TouchIsDue)?;
    if is_due.unwrap_or_default() { Ok(None) } else { loaded(row, false).map(Some) }
}

pub(super) fn inspected(row: &PgRow) -> Result<Option<SessionMeta>, StoreError> {
    Ok(SessionRow::new(row)?.map(|session| session.meta(false)))
}

pub(super) fn expiry(row: &PgRow) -> Result<Option<Expiry>, StoreError> {
    // The first two columns are those of every read. The third column names the deadline.
    match column::<Option<&str>>(row, 2_usize)? {
        None => Ok(None),
        Some("idle") => Ok(Some(Expiry::Idle)),
        Some("absolute") => Ok(Some(Expiry::Absolute)),
        Some(_) => Err(corrupt()),
    }
}

/// Decodes a row of `list_by_principal`. `None` if the page is empty.
pub(super) fn listed(row: &PgRow) -> Result<Option<ListedSession>, StoreError> {
    let Some(session) = SessionRow::new(row)? else { return Ok(None) };
    let loaded = session.loaded(row, false)?;
    Ok(Some(ListedSession::new(session_id(row, ListColumn::SessionId)?, loaded)))
}

/// Puts the rows of a batch into the order of its requests. `None` for a request without a row.
pub(super) fn by_ordinal(
    rows: Vec<PgRow>,
    ordinal: impl Into<usize>,
    requests: usize,
) -> Result<Vec<Option<PgRow>>, StoreError> {
    let ordinal = ordinal.into();
    let mut ordered: Vec<_> = (0..requests).map(|_| None).collect();
    for row in rows {
        // Ordinals count from 1, and indexes from 0.
        let at = usize::try_from(column::<i64>(&row, ordinal)? - 1).ok();
        *at.and_then(|at| ordered.get_mut(at)).ok_or_else(corrupt)? = Some(row);
    }
    Ok(ordered)
}
