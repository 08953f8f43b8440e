//! Writes that only set fields, in one statement.
//!
//! Used by the store. The statement contains a part of the rules of a session: the conditions under
//! which nothing but the fields changes. If these conditions do not hold, an operation of
//! `operations` applies the rules.

use std::fmt::{self, Display, Formatter};

use super::{
    executor::Write,
    opening::READ_COMMITTED,
    reading::is_live,
    rows::{CLOCK, FIELD_ROW, OVERWRITE, micros},
    script::{Hex, Script, Separated},
    tables::Tables,
};
use crate::{
    store::{Change, Credentials, FieldWrite, Touch, Update},
    token::SecretHash,
};

/// Maximum length of a value that is set together with other values.
const MAX_IN_UNION: usize = 32 * 1024;

/// Returns a write that sets fields of a live session. It changes nothing unless all these
/// conditions hold:
///
/// - The current secret was presented, and this is not the first use of a renewed secret.
/// - No touch is due.
/// - The precondition holds.
///
/// Returns `None` if the credentials are internal, or if the update does more than set fields and
/// touch the session. Also returns `None` if the update sets several fields and a value is longer
/// than [`MAX_IN_UNION`].
pub(super) fn plain_write(
    tables: &Tables,
    credentials: Credentials<'_>,
    update: &Update<'_>,
) -> Option<Write> {
    let secret = credentials.secret().filter(|_| !update.needs_current_secret())?;
    let mut writes = last_of_each(update.changes)?;
    // In a `union`, MariaDB truncates literals of 64 KiB or more.
    if writes.len() > 1 && writes.iter().any(|write| write.value.len() > MAX_IN_UNION) {
        return None;
    }
    writes.sort_unstable_by_key(|write| write.name);
    let mut conditions = vec![
        format!("s.id = {}", Hex(credentials.id.as_bytes())),
        format!("s.secret = {}", Hex(SecretHash::as_bytes(secret))),
        "s.grace is null".to_owned(),
        format!("s.epoch = (select epoch from {})", tables.epoch),
        is_live(),
    ];
    conditions.extend(update.touch.map(is_not_due));
    conditions.extend(precondition(tables, update));
    let (sessions, conditions) = (&tables.sessions, Separated(&conditions, " and "));
    let fields: Vec<_> = writes.iter().map(Literals::of).collect();
    let selected = match &fields[..] {
        [Literals { name, value, ttl, policy }] => format!(
            "select s.number, {name}, {value}, {CLOCK} + {ttl}, {policy} \
             from {sessions} s where {conditions}"
        ),
        // Because of `order by`, the server locks the rows in the order of their names.
        _ => format!(
            "select s.number, v.name, v.value, {CLOCK} + v.ttl, v.policy \
             from {sessions} s join ({}) v where {conditions} order by v.name",
            Separated(&fields, " union all ")
        ),
    };
    let mut script = Script::of(READ_COMMITTED);
    let fields = &tables.fields;
    script.push(format_args!("insert into {fields} {FIELD_ROW} {selected} for update {OVERWRITE}"));
    Some(Write(script))
}

/// Returns the last write of each field. `None` if a change does not set a field, or there is no
/// change.
fn last_of_each<'a>(changes: &[Change<'a>]) -> Option<Vec<FieldWrite<'a>>> {
    let mut writes: Vec<FieldWrite<'a>> = Vec::with_capacity(changes.len());
    for change in changes {
        let Change::Set(write) = change else { return None };
        match writes.iter_mut().find(|earlier| earlier.name == write.name) {
            Some(earlier) => *earlier = *write,
            None => writes.push(*write),
        }
    }
    Some(writes).filter(|writes| !writes.is_empty())
}

/// The parts of a field as literals.
struct Literals<'a> {
    name: Hex<'a>,
    value: Hex<'a>,
    ttl: String,
    policy: i64,
}

impl<'a> Literals<'a> {
    fn of(write: &'a FieldWrite<'_>) -> Self {
        let ttl = write.ttl.map(|ttl| micros(ttl.as_duration()).to_string());
        Self {
            name: Hex(write.name.as_bytes()),
            value: Hex(write.value),
            ttl: format!("cast({} as signed)", ttl.as_deref().unwrap_or("null")),
            policy: write.cache_policy.to_number(),
        }
    }
}

/// Writes the literals as a `select` of one row.
impl Display for Literals<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, value, ttl, policy } = self;
        write!(f, "select {name} as name, {value} as value, {ttl} as ttl, {policy} as policy")
    }
}

/// Returns the condition that a touch would change nothing.
fn is_not_due(touch: Touch) -> String {
    if touch.after.is_zero() {
        return "s.idle_at is null".to_owned();
    }
    let left = micros(touch.idle.as_duration()).saturating_sub(micros(touch.after));
    format!("(s.idle_at is null or s.idle_at > {CLOCK} + {left})")
}

/// Returns the precondition of an update as an SQL condition. The condition locks the field. A read
/// without a lock would miss changes that were committed while the statement waited for the
/// session's lock.
fn precondition(tables: &Tables, update: &Update<'_>) -> Option<String> {
    let precondition = update.precondition?;
    let (not, value) = match precondition.value {
        Some(value) => ("", format!(" and e.value = {}", Hex(value))),
        None => ("not ", String::new()),
    };
    Some(format!(
        "{not}exists (select 1 from {} e where e.session = s.number and e.name = {}{value} \
         and (e.expires_at is null or e.expires_at > {CLOCK}) for update)",
        tables.fields,
        Hex(precondition.name.as_bytes())
    ))
}
