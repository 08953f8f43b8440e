//! Statements that write the difference between a stored session and its record.
//!
//! Used by the store, the operations and `check`. Makes no decisions: the rules of a session have
//! already changed the record.

use std::time::Duration;

use super::{
    executor::Write,
    opening::READ_COMMITTED,
    reading::{is_live, of_principal},
    rows::{
        FIELD_ROW, FieldRow, Fields, OVERWRITE, Origin, SessionNumber, SessionRow, micros, values,
    },
    script::{Hex, Script, Separated},
    tables::Tables,
};
use crate::{
    auth::PrincipalKey,
    store::{Create, SessionRecord},
    token::SessionId,
};

/// Adds the statements that store a changed record of a locked session.
pub(super) fn save(
    script: &mut Script,
    tables: &Tables,
    session: &SessionRow,
    stored: &Fields,
    record: &SessionRecord,
    now: Duration,
) {
    save_head(script, tables, session, stored, record, now);
    let number = SessionNumber::Known(session.number);
    set_fields(script, tables, changed_fields(number, stored, record, Origin::Epoch).collect());
}

/// Adds the statements that store a changed record of a locked session, except the fields to set.
pub(super) fn save_head(
    script: &mut Script,
    tables: &Tables,
    session: &SessionRow,
    stored: &Fields,
    record: &SessionRecord,
    now: Duration,
) {
    let (Tables { sessions, fields, .. }, number) = (tables, session.number);
    let changed = changed(session, record);
    if !changed.is_empty() {
        let changed = Separated(&changed, ", ");
        script.push_for(1, format_args!("update {sessions} set {changed} where number = {number}"));
    }
    if record.is_ended() {
        script.push(format_args!("delete from {fields} where session = {number}"));
        return;
    }
    if !changed.is_empty() {
        let micros = micros(now);
        script.push(format_args!(
            "delete from {fields} where session = {number} and expires_at <= {micros}"
        ));
    }
    let mut removed: Vec<&str> = (stored.keys().map(|name| &**name))
        .filter(|name| !record.fields().contains_key(*name))
        .collect();
    if !removed.is_empty() {
        removed.sort_unstable();
        let names: Vec<_> = removed.iter().map(|name| Hex(name.as_bytes())).collect();
        // Only live fields have to be found: the previous statement may have deleted the expired
        // ones.
        let is_live = |name: &&&str| {
            stored
                .get(**name)
                .is_some_and(|field| field.expires.is_none_or(|expires| expires > now))
        };
        let live = removed.iter().filter(is_live).count() as u64;
        script.push_for(
            live,
            format_args!(
                "delete from {fields} where session = {number} and name in ({})",
                Separated(&names, ", ")
            ),
        );
    }
}

/// Adds the statements that insert a session. If rows were deleted by hand, for example by
/// `truncate`, the server may use the number of an earlier session again. So the fields of that
/// session are deleted.
pub(super) fn insert(
    script: &mut Script,
    tables: &Tables,
    id: &SessionId,
    record: &SessionRecord,
    origin: Origin,
) {
    let values = values(record);
    let names: Vec<_> = values.iter().map(|(name, _)| name).collect();
    let literals: Vec<_> = values.iter().map(|(_, value)| value.from(origin)).collect();
    script.push(format_args!(
        "insert into {} (id, {}, epoch) values ({}, {}, (select epoch from {}))",
        tables.sessions,
        Separated(&names, ", "),
        Hex(id.as_bytes()),
        Separated(&literals, ", "),
        tables.epoch
    ));
    script.push(format_args!(
        "delete f from {} s join {} f on f.session = s.number where s.id = {}",
        tables.sessions,
        tables.fields,
        Hex(id.as_bytes())
    ));
    let stored = Fields::new();
    let fields = changed_fields(SessionNumber::LastInserted, &stored, record, origin);
    set_fields(script, tables, fields.collect());
}

/// Creates a session without checking whether its id is in use.
pub(super) fn create(tables: &Tables, create: &Create<'_>) -> Write {
    // The moments of this record are counted from the clock of the server.
    let record = SessionRecord::new(create, Duration::ZERO);
    let mut script = Script::of(READ_COMMITTED);
    script.push("start transaction");
    insert(&mut script, tables, create.id, &record, Origin::Statement);
    script.push("commit");
    Write(script)
}

/// Ends all sessions, by a new epoch.
pub(super) fn revoke_everyone(tables: &Tables) -> Write {
    let mut script = Script::of(READ_COMMITTED);
    script.push_for(1, format_args!("update {} set epoch = epoch + 1", tables.epoch));
    Write(script)
}

/// Adds the statement that moves locked sessions to an epoch.
pub(super) fn move_to_epoch(script: &mut Script, tables: &Tables, numbers: &[u64], epoch: i64) {
    let (sessions, numbers) = (&tables.sessions, Separated(numbers, ", "));
    script.push(format_args!("update {sessions} set epoch = {epoch} where number in ({numbers})"));
}

/// Adds the statements that delete sessions.
pub(super) fn delete(script: &mut Script, tables: &Tables, numbers: &[u64]) {
    let (Tables { sessions, fields, .. }, numbers) = (tables, Separated(numbers, ", "));
    script.push(format_args!("delete from {fields} where session in ({numbers})"));
    script.push(format_args!("delete from {sessions} where number in ({numbers})"));
}

/// Adds the statement that revokes a session that is not locked. The statement changes nothing if
/// the principal has left the session. Returns its index.
pub(super) fn revoke(
    script: &mut Script,
    tables: &Tables,
    principal: &PrincipalKey,
    session: &SessionRow,
    now: Duration,
) -> usize {
    let mut record = session.record();
    record.revoke(now);
    let changed = changed(session, &record);
    script.push(format_args!(
        "update {} s set {} where s.number = {} and {}",
        tables.sessions,
        Separated(&changed, ", "),
        session.number,
        of_principal(tables, principal, None)
    ))
}

/// Adds the statement that deletes the fields of sessions that were revoked.
pub(super) fn delete_fields_of_revoked(script: &mut Script, tables: &Tables, numbers: &[u64]) {
    script.push(format_args!(
        "delete f from {} s join {} f on f.session = s.number \
         where s.number in ({}) and s.ended_at is not null",
        tables.sessions,
        tables.fields,
        Separated(numbers, ", ")
    ));
}

/// Stores a changed record, if the session is live and still as it was read. Otherwise the
/// statement finds no row.
pub(super) fn save_if_unchanged(
    tables: &Tables,
    session: &SessionRow,
    record: &SessionRecord,
) -> Write {
    let stored = values(&session.record());
    let same: Vec<_> = (stored.iter())
        .map(|(name, value)| format!("{name} <=> {}", value.from(Origin::Epoch)))
        .collect();
    let mut script = Script::of(READ_COMMITTED);
    script.push(format_args!(
        "update {} s set {} where number = {} and epoch = (select epoch from {}) and {} and {}",
        tables.sessions,
        Separated(&changed(session, record), ", "),
        session.number,
        tables.epoch,
        is_live(),
        Separated(&same, " and ")
    ));
    Write(script)
}

/// Returns the assignments that make the row of a session equal to its record.
fn changed(session: &SessionRow, record: &SessionRecord) -> Vec<String> {
    let (stored, values) = (values(&session.record()), values(record));
    (stored.iter().zip(&values))
        .filter(|(stored, value)| stored != value)
        .map(|(_, (name, value))| format!("{name} = {}", value.from(Origin::Epoch)))
        .collect()
}

/// Returns the fields that differ from the stored fields, as rows of the session. An ended session
/// has no fields.
pub(super) fn changed_fields<'a>(
    session: SessionNumber,
    stored: &'a Fields,
    record: &'a SessionRecord,
    origin: Origin,
) -> impl Iterator<Item = FieldRow<'a>> {
    (record.fields().iter())
        .filter(|_| !record.is_ended())
        .filter(|(name, field)| stored.get(*name) != Some(*field))
        .map(move |(name, field)| FieldRow { session, name, field, origin })
}

/// Adds the statement that sets fields of locked sessions, in the order of their keys.
pub(super) fn set_fields(script: &mut Script, tables: &Tables, mut rows: Vec<FieldRow<'_>>) {
    if rows.is_empty() {
        return;
    }
    rows.sort_unstable_by_key(|row| (row.session, row.name));
    let (number, fields, rows) = (rows.len() as u64, &tables.fields, Separated(&rows, ", "));
    script.push_for(
        number,
        format_args!("insert into {fields} {FIELD_ROW} values {rows} {OVERWRITE}"),
    );
}
