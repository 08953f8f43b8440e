//! Converts rows of the tables to parts of a session record, and back.
//!
//! Used by operations. Maps columns to parts of a record.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use rusqlite::{
    Row, ToSql, params,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

use super::{
    connection::Database,
    statements::{
        DELETE_EXPIRED_FIELDS, DELETE_FIELD, DELETE_FIELDS, DELETE_SESSION, FIELD, FIELDS, SAVE,
        SESSION, SET_FIELD,
    },
};
use crate::{
    auth::{Assurance, PrincipalKey},
    cache_policy::CachePolicy,
    field::FieldName,
    store::{
        Projection, SessionRecord, StoreError,
        record::{Authentication, FieldRecord, Grace, RecordHead},
    },
    token::{SecretHash, SessionId},
};

/// Fields of a session by name.
type Fields = HashMap<FieldName, FieldRecord>;

/// The row of a session.
pub(super) struct SessionRow {
    pub(super) row: i64,
    pub(super) id: SessionId,
    pub(super) head: RecordHead,
    /// Whether `revoke_everyone` has ended the session.
    pub(super) is_revoked: bool,
}

/// A session as it was before an operation, with the fields that the operation needs.
pub(super) struct StoredSession {
    row: i64,
    id: SessionId,
    head: RecordHead,
    fields: Fields,
}

impl SessionRow {
    /// Reads the row of an id.
    pub(super) fn find(database: &Database, id: &SessionId) -> Result<Option<Self>, StoreError> {
        database.row(SESSION, [id.as_bytes()], Self::decode)
    }

    pub(super) fn decode(row: &Row<'_>) -> rusqlite::Result<Self> {
        let moment = |at| row.get(at).map(|Micros(moment)| moment);
        let optional = |at| row.get::<_, Option<Micros>>(at).map(|it| it.map(|Micros(it)| it));
        let secret = |bytes| SecretHash::from_bytes(bytes);
        let grace = match (optional(4)?, optional(5)?) {
            (Some(grace), _) => Grace::Pending(grace),
            (None, Some(until)) => Grace::Until(until),
            (None, None) => Grace::None,
        };
        let signed_in = match row.get::<_, Option<[u8; 32]>>(13)? {
            Some(principal) => Some(Authentication {
                principal: PrincipalKey::from_bytes(principal),
                assurance: row.get(14).map(|Level(assurance)| assurance)?,
                at: moment(15)?,
            }),
            None => None,
        };
        let mut head = RecordHead {
            secret: row.get(2).map(secret)?,
            former: row.get::<_, Option<_>>(3)?.map(secret),
            grace,
            created: moment(6)?,
            issued: moment(7)?,
            used: moment(8)?,
            idle: optional(9)?,
            absolute: optional(10)?,
            latest_absolute: optional(11)?,
            ended: optional(12)?,
            revoked: row.get(17)?,
            signed_in,
        };
        let id = SessionId::from_bytes(row.get(1)?);
        let is_revoked = row.get(16)?;
        if is_revoked {
            head.revoke_with_all();
        }
        Ok(Self { row: row.get(0)?, id, head, is_revoked })
    }

    /// Reads the record with the fields that an operation needs.
    pub(super) fn record(
        &self,
        database: &Database,
        needed: Projection<'_>,
    ) -> Result<SessionRecord, StoreError> {
        Ok(SessionRecord::from_parts(self.head, fields(database, self.row, needed)?))
    }

    /// Returns the session without fields, for an operation that needs none.
    pub(super) fn without_fields(&self) -> StoredSession {
        StoredSession { row: self.row, id: self.id, head: self.head, fields: Fields::new() }
    }

    /// Removes the session and its fields.
    pub(super) fn delete(database: &Database, row: i64) -> Result<(), StoreError> {
        database.execute(DELETE_FIELDS, [row])?;
        database.execute(DELETE_SESSION, [row])?;
        Ok(())
    }
}

impl StoredSession {
    /// Reads the session of an id.
    pub(super) fn find(
        database: &Database,
        id: &SessionId,
        needed: Projection<'_>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(SessionRow { row, id, head, .. }) = SessionRow::find(database, id)? else {
            return Ok(None);
        };
        Ok(Some(Self { row, id, head, fields: fields(database, row, needed)? }))
    }

    /// Returns the record, for an operation that [saves](Self::save) it.
    pub(super) fn record(&self) -> SessionRecord {
        SessionRecord::from_parts(self.head, self.fields.clone())
    }

    /// Returns the record, for an operation that only reads.
    pub(super) fn into_record(self) -> SessionRecord {
        SessionRecord::from_parts(self.head, self.fields)
    }

    /// Writes the difference between the record and the stored session.
    pub(super) fn save(
        &self,
        database: &Database,
        record: &SessionRecord,
        now: Duration,
    ) -> Result<(), StoreError> {
        let (row, head) = (self.row, *record.head());
        if head != self.head {
            insert_or_update(database, row, &self.id, record)?;
            database.execute(DELETE_EXPIRED_FIELDS, params![row, Micros(now)])?;
        }
        if head.ended != self.head.ended {
            database.execute(DELETE_FIELDS, [row])?;
        }
        let principal = |head: &RecordHead| head.signed_in.map(|signed_in| signed_in.principal);
        if head.ended != self.head.ended || principal(&head) != principal(&self.head) {
            database.note_change(self.id);
        }
        for name in self.fields.keys().filter(|name| !record.fields().contains_key(*name)) {
            database.execute(DELETE_FIELD, params![row, &**name])?;
        }
        save_fields(database, row, record, &self.fields)
    }
}

/// Inserts a session with its fields. If the row of an earlier session was deleted by hand, its
/// number is used again, so the fields of that session are deleted.
pub(super) fn insert(
    database: &Database,
    row: i64,
    id: &SessionId,
    record: &SessionRecord,
) -> Result<(), StoreError> {
    database.execute(DELETE_FIELDS, [row])?;
    insert_or_update(database, row, id, record)?;
    save_fields(database, row, record, &Fields::new())
}

fn insert_or_update(
    database: &Database,
    row: i64,
    id: &SessionId,
    record: &SessionRecord,
) -> Result<(), StoreError> {
    let head = *record.head();
    let (grace, grace_until) = match head.grace {
        Grace::Pending(grace) => (Some(Micros(grace)), None),
        Grace::Until(until) => (None, Some(Micros(until))),
        Grace::None => (None, None),
    };
    let signed_in = head.signed_in.as_ref();
    let params = params![
        row,
        id.as_bytes(),
        head.secret.as_bytes(),
        head.former.as_ref().map(SecretHash::as_bytes),
        grace,
        grace_until,
        Micros(head.created),
        Micros(head.issued),
        Micros(head.used),
        head.idle.map(Micros),
        head.absolute.map(Micros),
        head.latest_absolute.map(Micros),
        head.ended.map(Micros),
        signed_in.map(|signed_in| signed_in.principal.as_bytes()),
        signed_in.map(|signed_in| Level(signed_in.assurance)),
        signed_in.map(|signed_in| Micros(signed_in.at)),
        record.deadline().map(Micros),
        head.revoked,
    ];
    database.execute(SAVE, params).map(drop)
}

fn save_fields(
    database: &Database,
    row: i64,
    record: &SessionRecord,
    stored: &Fields,
) -> Result<(), StoreError> {
    for (name, field) in record.fields() {
        if stored.get(name) != Some(field) {
            let FieldRecord { value, expires, cache_policy } = field;
            let (expires, policy) = (expires.map(Micros), cache_policy.to_number());
            let params = params![row, &**name, &value[..], expires, policy];
            database.execute(SET_FIELD, params)?;
        }
    }
    Ok(())
}

fn fields(database: &Database, row: i64, projection: Projection<'_>) -> Result<Fields, StoreError> {
    match projection {
        Projection::All => database.rows(FIELDS, [row], decode_field),
        Projection::Named(names) => {
            let params = names.iter().map(|name| (row, &**name));
            database.row_of_each(FIELD, params, decode_field)
        }
    }
}

fn decode_field(row: &Row<'_>) -> rusqlite::Result<(FieldName, FieldRecord)> {
    let field = FieldRecord {
        value: Bytes::from(row.get::<_, Vec<u8>>(1)?),
        expires: row.get::<_, Option<Micros>>(2)?.map(|Micros(expires)| expires),
        cache_policy: row.get(3).map(|Policy(policy)| policy)?,
    };
    Ok((FieldName::from(row.get_ref(0)?.as_str()?), field))
}

/// A moment or a duration in microseconds. A value beyond the range of `i64` becomes its maximum.
pub(super) struct Micros(pub(super) Duration);

impl ToSql for Micros {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX).into())
    }
}

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = value.as_i64()?;
        let micros = u64::try_from(micros).map_err(|_| FromSqlError::OutOfRange(micros))?;
        Ok(Self(Duration::from_micros(micros)))
    }
}

struct Level(Assurance);

impl ToSql for Level {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.level().into())
    }
}

impl FromSql for Level {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let level = value.as_i64()?;
        let assurance = u8::try_from(level).ok().and_then(Assurance::from_level);
        assurance.map(Self).ok_or(FromSqlError::OutOfRange(level))
    }
}

struct Policy(CachePolicy);

impl FromSql for Policy {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        CachePolicy::from_number(number).map(Self).ok_or(FromSqlError::OutOfRange(number))
    }
}
