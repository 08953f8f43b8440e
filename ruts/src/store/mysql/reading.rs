//! Sessions as a read finds them, in one statement: [`Snapshot`].
//!
//! Used by the store. Its conditions (`is_live`, `of_principal`) are shared with the statements
//! that write. A statement without locks sees the database at one moment.

use std::{collections::BTreeMap, time::Duration};

use super::{
    error::{StatementError, corrupt, read_only},
    executor::{Attempt, Work},
    rows::{CLOCK, Columns, FIELD, Fields, SESSION, SessionRow, decode_field},
    script::{Hex, Script, Separated},
    tables::Tables,
};
use crate::{auth::PrincipalKey, store::Projection, token::SessionId};

/// SQL expression for whether the server accepts no writes. `read_only` is a number, or a word in
/// later releases of MariaDB.
pub(super) const IS_READ_ONLY: &str = "cast(@@global.read_only as char) not in ('0', 'OFF')";

/// Sessions, live or not, with the requested fields.
pub(super) struct Snapshot {
    pub(super) now: Duration,
    pub(super) sessions: Vec<(SessionRow, Fields)>,
}

/// A read in one statement, which returns a [`Snapshot`].
pub(super) struct Read(Script);

impl Read {
    /// Reads several sessions.
    pub(super) fn sessions(tables: &Tables, ids: &[SessionId], fields: Projection<'_>) -> Self {
        let ids: Vec<_> = ids.iter().map(|id| Hex(id.as_bytes())).collect();
        // Without the hint, the server scans the whole table as long as its statistics say that the
        // table is small.
        let sessions = format!(
            "{} s force index (by_id) on s.id in ({})",
            tables.sessions,
            Separated(&ids, ", ")
        );
        Self::new(tables, &sessions, fields)
    }

    /// Reads sessions of a principal that were not deleted or revoked, ordered by id.
    pub(super) fn sessions_of(
        tables: &Tables,
        principal: &PrincipalKey,
        after: Option<&SessionId>,
        limit: usize,
        fields: Projection<'_>,
    ) -> Self {
        let of_principal = of_principal(tables, principal, after);
        let sessions = format!(
            "(select * from {} s where {of_principal} order by s.id limit {limit}) s on true",
            tables.sessions
        );
        Self::new(tables, &sessions, fields)
    }

    /// Joins sessions to the row of the epoch, which always exists, so the answer always has the
    /// clock.
    fn new(tables: &Tables, sessions: &str, fields: Projection<'_>) -> Self {
        let (columns, join) = match fields {
            Projection::Named([]) => ("null".to_owned(), String::new()),
            _ => {
                let named = named(fields);
                // Without the hint, MySQL scans the whole table as long as its statistics say that
                // the table is small.
                let join = format!(
                    " left join {} f force index (primary) on f.session = s.number{named}",
                    tables.fields
                );
                (FIELD.to_owned(), join)
            }
        };
        Self(Script::of(format_args!(
            "select e.epoch, {CLOCK}, {IS_READ_ONLY}, {SESSION}, {columns} \
             from {} e left join {sessions}{join}",
            tables.epoch
        )))
    }
}

impl Work for Read {
    type Answer = Snapshot;

    async fn run(&self, attempt: &mut Attempt<'_>) -> Result<Snapshot, StatementError> {
        let answers = attempt.read(&self.0).await?;
        let rows = answers.first().map_or(&[][..], |answer| &answer.rows);
        let mut snapshot = Snapshot { now: Duration::ZERO, sessions: Vec::new() };
        // Sorted here, because the server would write values to a temporary file to sort the rows.
        let mut sessions = BTreeMap::new();
        for row in rows {
            let mut columns = Columns::of(row);
            let epoch: i64 = columns.get()?;
            snapshot.now = columns.moment()?.ok_or_else(corrupt)?;
            if columns.get::<i64>()? != 0 {
                return Err(read_only());
            }
            let Some(session) = SessionRow::decode(&mut columns)? else { continue };
            let session = session.in_epoch(epoch);
            let (_, fields) =
                sessions.entry(session.id).or_insert_with(|| (session, Fields::new()));
            fields.extend(decode_field(&mut columns)?);
        }
        snapshot.sessions = sessions.into_values().collect();
        // The answer has no row only if the table of the epoch is empty.
        if rows.is_empty() { Err(corrupt().into()) } else { Ok(snapshot) }
    }
}

/// Returns the condition that limits a join to the fields of a projection.
pub(super) fn named(fields: Projection<'_>) -> String {
    match fields {
        Projection::All => String::new(),
        Projection::Named([]) => " and false".to_owned(),
        Projection::Named(names) => {
            let names: Vec<_> = names.iter().map(|name| Hex(name.as_bytes())).collect();
            format!(" and f.name in ({})", Separated(&names, ", "))
        }
    }
}

/// Returns the condition for sessions of a principal that were not deleted or revoked, after an id.
pub(super) fn of_principal(
    tables: &Tables,
    principal: &PrincipalKey,
    after: Option<&SessionId>,
) -> String {
    let after = after.map(|after| format!(" and s.id > {}", Hex(after.as_bytes())));
    format!(
        "s.principal = {}{} and s.ended_at is null and s.epoch = (select epoch from {})",
        Hex(principal.as_bytes()),
        after.unwrap_or_default(),
        tables.epoch
    )
}

/// Returns the condition that the session `s` is live, apart from its epoch.
pub(super) fn is_live() -> String {
    format!(
        "s.ended_at is null and (s.idle_at is null or s.idle_at > {CLOCK}) \
         and (s.absolute_at is null or s.absolute_at > {CLOCK})"
    )
}
