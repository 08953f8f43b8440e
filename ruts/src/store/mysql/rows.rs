//! Converts rows of the tables to parts of a session record, and back.
//!
//! Used by every file that reads or writes rows. Maps columns to parts of a record. Conditions on
//! columns (is live, is expired) are in `reading`, `plain_write` and `operations`.

use std::{
    collections::HashMap,
    fmt::{self, Display, Formatter},
    time::Duration,
};

use bytes::Bytes;
use sqlx::{Decode, MySql, Row, Type, mysql::MySqlRow};

use super::{
    error::{corrupt, decode_error},
    script::Hex,
};
use crate::{
    auth::{Assurance, PrincipalKey},
    cache_policy::CachePolicy,
    field::FieldName,
    store::{
        SessionRecord, StoreError,
        record::{Authentication, FieldRecord, Grace, RecordHead},
    },
    token::{SecretHash, SessionId},
};

/// Fields of a session by name.
pub(super) type Fields = HashMap<FieldName, FieldRecord>;

/// The server's clock in microseconds since 1970. Unlike [`STATEMENT_CLOCK`], it advances while a
/// statement waits for a lock.
pub(super) const CLOCK: &str = "cast(unix_timestamp(sysdate(6)) * 1000000 as signed)";

/// The server's clock at the start of a statement. It is constant, so a comparison can use an
/// index.
pub(super) const STATEMENT_CLOCK: &str = "cast(unix_timestamp(now(6)) * 1000000 as signed)";

/// The columns of the table `s` that [`SessionRow::decode`] reads.
pub(super) const SESSION: &str = "s.number, s.id, s.secret, s.former_secret, s.grace, \
     s.grace_until, s.created_at, s.issued_at, s.used_at, s.idle_at, s.absolute_at, s.latest_absolute_at, \
     s.ended_at, s.principal, s.assurance, s.signed_in_at, s.revoked, s.epoch";

/// The columns of the table `f` that [`decode_field`] reads.
pub(super) const FIELD: &str = "f.name, f.value, f.expires_at, f.cache_policy";

/// The row of a session.
#[derive(Clone, Copy)]
pub(super) struct SessionRow {
    pub(super) number: u64,
    pub(super) id: SessionId,
    pub(super) head: RecordHead,
    pub(super) epoch: i64,
}

impl SessionRow {
    /// Reads the columns [`SESSION`]. `None` if a join found no session.
    pub(super) fn decode(columns: &mut Columns<'_>) -> Result<Option<Self>, StoreError> {
        let Some(number) = columns.get::<Option<u64>>()? else { return Ok(None) };
        let id = SessionId::from_bytes(columns.array()?.ok_or_else(corrupt)?);
        let secret = SecretHash::from_bytes(columns.array()?.ok_or_else(corrupt)?);
        let former = columns.array()?.map(SecretHash::from_bytes);
        let (grace, grace_until) = (columns.moment()?, columns.moment()?);
        let grace = match (grace, grace_until) {
            (Some(grace), _) => Grace::Pending(grace),
            (None, Some(until)) => Grace::Until(until),
            (None, None) => Grace::None,
        };
        let mut moment = || columns.moment()?.ok_or_else(corrupt);
        let (created, issued, used) = (moment()?, moment()?, moment()?);
        let (idle, absolute) = (columns.moment()?, columns.moment()?);
        let (latest_absolute, ended) = (columns.moment()?, columns.moment()?);
        let principal = columns.array()?.map(PrincipalKey::from_bytes);
        let assurance = columns.get::<Option<i8>>()?;
        let signed_in_at = columns.moment()?;
        let signed_in = match principal {
            Some(principal) => {
                let level = assurance.and_then(|level| u8::try_from(level).ok());
                let assurance = level.and_then(Assurance::from_level).ok_or_else(corrupt)?;
                let at = signed_in_at.ok_or_else(corrupt)?;
                Some(Authentication { principal, assurance, at })
            }
            None => None,
        };
        let revoked = columns.get::<i8>()? != 0;
        let head = RecordHead {
            secret,
            former,
            grace,
            created,
            issued,
            used,
            idle,
            absolute,
            ended,
            revoked,
            signed_in,
            latest_absolute,
        };
        Ok(Some(Self { number, id, head, epoch: columns.get()? }))
    }

    /// Returns the session as it is in this epoch. A session of an earlier epoch counts as revoked.
    pub(super) fn in_epoch(mut self, epoch: i64) -> Self {
        if self.epoch != epoch {
            self.head.revoke_with_all();
        }
        self
    }

    /// Returns the record without its fields.
    pub(super) fn record(&self) -> SessionRecord {
        SessionRecord::from_parts(self.head, Fields::new())
    }
}

/// Reads the columns [`FIELD`]. `None` if a join found no field.
pub(super) fn decode_field(
    columns: &mut Columns<'_>,
) -> Result<Option<(FieldName, FieldRecord)>, StoreError> {
    let Some(name) = columns.get::<Option<&[u8]>>()? else { return Ok(None) };
    let name = FieldName::from(std::str::from_utf8(name).map_err(|_| corrupt())?);
    let value = Bytes::from(columns.get::<Vec<u8>>()?);
    let expires = columns.moment()?;
    let cache_policy = CachePolicy::from_number(columns.get()?).ok_or_else(corrupt)?;
    Ok(Some((name, FieldRecord { value, expires, cache_policy })))
}

/// Reads the columns of a row one after the other.
pub(super) struct Columns<'r> {
    row: &'r MySqlRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) const fn of(row: &'r MySqlRow) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn get<T: Decode<'r, MySql> + Type<MySql>>(&mut self) -> Result<T, StoreError> {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(decode_error)
    }

    /// Reads a moment or a duration in microseconds.
    pub(super) fn moment(&mut self) -> Result<Option<Duration>, StoreError> {
        let micros = self.get::<Option<i64>>()?;
        micros
            .map(|micros| u64::try_from(micros).map_err(|_| corrupt()))
            .transpose()
            .map(|micros| micros.map(Duration::from_micros))
    }

    fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        let bytes = self.get::<Option<&[u8]>>()?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| corrupt())).transpose()
    }
}

/// The value of a column of the table of sessions.
#[derive(PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Number(i64),
    /// Microseconds since the [`Origin`] of the record.
    Moment(i64),
    Bytes([u8; 32]),
}

/// The zero from which the moments of a record are counted.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// The start of the year 1970.
    Epoch,
    /// The clock of the server when the statement begins.
    Statement,
}

impl Value {
    fn moment(moment: Option<Duration>) -> Self {
        moment.map_or(Self::Null, |moment| Self::Moment(micros(moment)))
    }

    /// Returns the value as a literal. A moment is counted from `origin`.
    pub(super) const fn from(&self, origin: Origin) -> Literal<'_> {
        Literal(self, origin)
    }
}

/// A [`Value`] in a statement.
pub(super) struct Literal<'a>(&'a Value, Origin);

impl Display for Literal<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Value::Null, _) => f.write_str("null"),
            (Value::Bytes(bytes), _) => Hex(bytes).fmt(f),
            (Value::Moment(moment), Origin::Statement) => {
                write!(f, "{STATEMENT_CLOCK} + {moment}")
            }
            (Value::Number(number) | Value::Moment(number), _) => number.fmt(f),
        }
    }
}

/// Returns the columns that hold a record, without its id and epoch.
///
/// The principal of an ended session is not kept, because no list contains the session.
pub(super) fn values(record: &SessionRecord) -> [(&'static str, Value); 16] {
    let head = *record.head();
    let (grace, grace_until) = match head.grace {
        Grace::Pending(grace) => (Value::Number(micros(grace)), Value::Null),
        Grace::Until(until) => (Value::Null, Value::Moment(micros(until))),
        Grace::None => (Value::Null, Value::Null),
    };
    let signed_in = head.signed_in.filter(|_| head.ended.is_none());
    let of_sign_in = |value: fn(Authentication) -> Value| signed_in.map_or(Value::Null, value);
    [
        ("secret", Value::Bytes(*head.secret.as_bytes())),
        (
            "former_secret",
            head.former.map_or(Value::Null, |secret| Value::Bytes(*secret.as_bytes())),
        ),
        ("grace", grace),
        ("grace_until", grace_until),
        ("created_at", Value::moment(Some(head.created))),
        ("issued_at", Value::moment(Some(head.issued))),
        ("used_at", Value::moment(Some(head.used))),
        ("idle_at", Value::moment(head.idle)),
        ("absolute_at", Value::moment(head.absolute)),
        ("latest_absolute_at", Value::moment(head.latest_absolute)),
        ("ended_at", Value::moment(head.ended)),
        ("principal", of_sign_in(|it| Value::Bytes(*it.principal.as_bytes()))),
        ("assurance", of_sign_in(|it| Value::Number(it.assurance.level().into()))),
        ("signed_in_at", of_sign_in(|it| Value::moment(Some(it.at)))),
        ("delete_at", Value::moment(record.deadline())),
        ("revoked", Value::Number(head.revoked.into())),
    ]
}

/// The number of a session in a statement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SessionNumber {
    Known(u64),
    /// The session that the same transaction has inserted.
    LastInserted,
}

impl Display for SessionNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(number) => number.fmt(f),
            Self::LastInserted => f.write_str("last_insert_id()"),
        }
    }
}

/// A row of the table of fields, as it is inserted.
pub(super) struct FieldRow<'a> {
    pub(super) session: SessionNumber,
    pub(super) name: &'a str,
    pub(super) field: &'a FieldRecord,
    pub(super) origin: Origin,
}

/// The columns of a [`FieldRow`].
pub(super) const FIELD_ROW: &str = "(session, name, value, expires_at, cache_policy)";

/// Overwrites a field that exists.
pub(super) const OVERWRITE: &str = "on duplicate key update value = values(value), \
     expires_at = values(expires_at), cache_policy = values(cache_policy)";

impl Display for FieldRow<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { session, name, field, origin } = self;
        let (name, value) = (Hex(name.as_bytes()), Hex(&field.value));
        let expires = Value::moment(field.expires);
        let (expires, policy) = (expires.from(*origin), field.cache_policy.to_number());
        write!(f, "({session}, {name}, {value}, {expires}, {policy})")
    }
}

/// Returns a time in microseconds. A time beyond the range of `i64` becomes its maximum.
pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
