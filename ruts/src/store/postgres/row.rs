//! What the rows of the statements say.

use std::time::Duration;

use bytes::Bytes;
use sqlx::{
    Decode, Postgres, Row, Type,
    error::BoxDynError,
    postgres::{PgHasArrayType, PgRow, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid},
};

use super::failure::{NAME, STANDBY, corrupt, failed, unfit};
use crate::{
    principal::{Assurance, PrincipalKey},
    store::{
        Loaded, Lookup, SessionMeta, SignedIn, StoreError, StoreErrorKind, StoredField, Updated,
    },
    ttl::{CachePolicy, Ttl},
};

/// A moment of the server's clock, in microseconds: sqlx itself knows one only with a calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(i64);

impl Moment {
    /// From another one until this one, if that is ahead.
    fn since(self, other: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(other.0)).unwrap_or_default())
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
            PgValueFormat::Text => Err("a moment in text".into()),
        }
    }
}

pub(super) fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    row: &'r PgRow,
    index: usize,
) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| failed(error).error)
}

pub(super) fn bytes(row: &PgRow, index: usize) -> Result<Option<Bytes>, StoreError> {
    Ok(column::<Option<Vec<u8>>>(row, index)?.map(Bytes::from))
}

/// What a function of the database says, and for how many milliseconds it is so; `found` makes something
/// of the rest.
fn lookup<T>(
    said: &str,
    ago: Option<i64>,
    found: impl FnOnce() -> Result<T, StoreError>,
) -> Result<Lookup<T>, StoreError> {
    let ago = || {
        let millis = ago.ok_or_else(corrupt)?;
        Ok::<_, StoreError>(Duration::from_millis(millis.max(0).unsigned_abs()))
    };
    match said {
        "found" | "conflict" | "early" => found().map(Lookup::Found),
        "replaced" => Ok(Lookup::Replaced { ago: ago()? }),
        "ended" => Ok(Lookup::Ended { ago: ago()? }),
        "none" => Ok(Lookup::NotFound),
        "limit" => Err(StoreError::new(NAME, StoreErrorKind::SessionLimit)),
        _ => Err(corrupt()),
    }
}

/// What a function says in its first two columns, and what `found` makes of the rest.
pub(super) fn answered<T>(
    row: &PgRow,
    found: impl FnOnce() -> Result<T, StoreError>,
) -> Result<Lookup<T>, StoreError> {
    lookup(column(row, 0)?, column(row, 1)?, found)
}

/// What the function that updates a session says.
pub(super) fn updated(row: &PgRow) -> Result<Lookup<Updated>, StoreError> {
    answered(row, || match column(row, 0)? {
        "conflict" => Ok(Updated::Conflict { current: bytes(row, 3)? }),
        "early" => Ok(Updated::NotDue),
        _ => {
            let found = column::<i64>(row, 2)?.try_into().map_err(|_| corrupt())?;
            Ok(Updated::Applied { found })
        }
    })
}

/// Whose of several operations a row is, the first being 0.
pub(super) fn place(row: &PgRow, index: usize) -> Result<usize, StoreError> {
    usize::try_from(column::<i64>(row, index)? - 1).map_err(|_| corrupt())
}

/// What a read says that counted as activity: whether the session was still there once its row was locked,
/// the moment, and the session's new idle deadline and last use.
type Touched = (String, Option<i64>, Option<Moment>, Option<Moment>, Option<Moment>);

/// The columns with which a row of a read begins.
struct Head {
    now: Moment,
    created: Moment,
    rotated: Moment,
    used: Moment,
    idle: Option<Moment>,
    absolute: Option<Moment>,
    signed_in: Option<(Moment, Assurance, PrincipalKey)>,
}

impl Head {
    fn new(row: &PgRow) -> Result<Self, StoreError> {
        if column(row, 0)? {
            return Err(unfit(STANDBY));
        }
        let signed_in = match column::<Option<&[u8]>>(row, 8)? {
            None => None,
            Some(principal) => {
                let principal = principal.try_into().map_err(|_| corrupt())?;
                let level = u8::try_from(column::<i16>(row, 9)?).ok();
                let assurance = level.and_then(Assurance::from_level).ok_or_else(corrupt)?;
                Some((column(row, 7)?, assurance, PrincipalKey::from_bytes(principal)))
            }
        };
        Ok(Self {
            now: column(row, 1)?,
            created: column(row, 2)?,
            rotated: column(row, 3)?,
            used: column(row, 4)?,
            idle: column(row, 5)?,
            absolute: column(row, 6)?,
            signed_in,
        })
    }

    fn meta(&self, by_former: bool) -> SessionMeta {
        let left = |end: Option<Moment>| end.map(|end| end.since(self.now));
        SessionMeta {
            age: self.now.since(self.created),
            secret_age: self.now.since(self.rotated),
            unused: self.now.since(self.used),
            idle: left(self.idle),
            absolute: left(self.absolute),
            by_former,
            signed_in: self.signed_in.map(|(signed, assurance, principal)| SignedIn {
                principal,
                assurance,
                ago: self.now.since(signed),
            }),
        }
    }

    /// With the fields of the row, which follow in four columns.
    fn loaded(&self, row: &PgRow, by_former: bool) -> Result<Loaded, StoreError> {
        let names: Option<Vec<String>> = column(row, 10)?;
        let contents: Option<Vec<Vec<u8>>> = column(row, 11)?;
        let hots: Option<Vec<i64>> = column(row, 12)?;
        let ends: Option<Vec<Option<Moment>>> = column(row, 13)?;
        let columns = names.into_iter().flatten().zip(contents.into_iter().flatten());
        let fields = columns
            .zip(hots.into_iter().flatten().zip(ends.into_iter().flatten()))
            .filter(|(_, (_, end))| end.is_none_or(|end| end > self.now))
            .map(|((name, value), (hot, end))| {
                let ttl = end.map(|end| end.since(self.now));
                let hot = hot_of(hot).ok_or_else(corrupt)?;
                Ok(StoredField { name: name.into(), value: value.into(), ttl, hot })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Loaded { meta: self.meta(by_former), fields })
    }
}

/// What was read of the session that a secret may open.
pub(super) fn loaded(row: &PgRow, touches: bool) -> Result<Lookup<Loaded>, StoreError> {
    let mut head = Head::new(row)?;
    let by_former = column(row, 14)?;
    if touches && let Some((said, ago, now, idle, used)) = column::<Option<Touched>>(row, 17)? {
        return lookup(&said, ago, || {
            head.now = now.ok_or_else(corrupt)?;
            head.used = used.ok_or_else(corrupt)?;
            head.idle = idle;
            head.loaded(row, by_former)
        });
    }
    let replaced: Option<Moment> = if by_former { column(row, 15)? } else { None };
    if let Some(replaced) = replaced.filter(|replaced| *replaced <= head.now) {
        return Ok(Lookup::Replaced { ago: head.now.since(replaced) });
    }
    if let Some(ended) = column::<Option<Moment>>(row, 16)? {
        return Ok(Lookup::Ended { ago: head.now.since(ended) });
    }
    head.loaded(row, by_former).map(Lookup::Found)
}

/// What was read of several sessions: whose it is, the first being 0; nothing if more is to be done.
pub(super) fn loaded_together(row: &PgRow) -> Result<(usize, Option<Lookup<Loaded>>), StoreError> {
    let is_due = column::<Option<bool>>(row, 18)?.unwrap_or_default();
    Ok((place(row, 17)?, if is_due { None } else { Some(loaded(row, false)?) }))
}

/// What was read of a session by its owner.
pub(super) fn listed(row: &PgRow) -> Result<Loaded, StoreError> {
    Head::new(row)?.loaded(row, false)
}

/// What was read of a session without its fields.
pub(super) fn peeked(row: &PgRow) -> Result<SessionMeta, StoreError> {
    Ok(Head::new(row)?.meta(false))
}

fn hot_of(number: i64) -> Option<CachePolicy> {
    match number {
        0 => Some(CachePolicy::Auto),
        -1 => Some(CachePolicy::Never),
        -2 => Some(CachePolicy::Checked),
        millis => {
            let millis = Duration::from_millis(millis.try_into().ok()?);
            Ttl::new(millis).ok().map(CachePolicy::For)
        }
    }
}
