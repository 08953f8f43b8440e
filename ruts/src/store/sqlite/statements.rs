//! The SQL of the tables and the statements of the store.
//!
//! Used by `tables`, `rows`, `writer` and operations. Moments are microseconds since 1970, and
//! durations are microseconds.

/// Version of the tables. Tables of a different version are refused.
pub(super) const VERSION: i64 = 1;

/// `ruts_fields` has a row id, because such a table stores large values in half the space of a
/// clustered table. The id of a session is not its primary key, because random primary keys slow
/// creations down.
///
/// All sessions up to row `revoked_up_to` have ended, and the cleanup has freed the sessions up to
/// row `freed_up_to`. `changes` counts the transactions in which a session ended or changed its
/// principal. If the row of `ruts_state` was deleted by hand, it is not known which sessions have
/// ended, so all of them have.
pub(super) const TABLES: &str = "
create table if not exists ruts_sessions (
  row integer primary key,
  id blob not null unique,
  secret blob not null,
  former_secret blob,
  grace integer,
  grace_until integer,
  created_at integer not null,
  issued_at integer not null,
  used_at integer not null,
  idle_at integer,
  absolute_at integer,
  latest_absolute_at integer,
  ended_at integer,
  principal blob,
  assurance integer,
  signed_in_at integer,
  delete_at integer,
  revoked integer not null
) strict;
create index if not exists ruts_sessions_delete_at on ruts_sessions (delete_at)
  where delete_at is not null;
create index if not exists ruts_sessions_principal on ruts_sessions (principal, id)
  where principal is not null and ended_at is null;
create table if not exists ruts_fields (
  session integer not null,
  name text not null,
  value blob not null,
  expires_at integer,
  cache_policy integer not null,
  primary key (session, name)
) strict;
create table if not exists ruts_state (
  one integer primary key check (one = 1),
  version integer not null,
  revoked_up_to integer not null,
  freed_up_to integer not null,
  changes integer not null
) strict;
insert into ruts_state (one, version, revoked_up_to, freed_up_to, changes)
  select 1, 1, coalesce((select max(row) from ruts_sessions), 0), 0, 0
  where not exists (select 1 from ruts_state);
";

pub(super) const TABLES_VERSION: &str = "select version from ruts_state";

macro_rules! select_session {
    ($rest:literal) => {
        concat!(
            "select row, id, secret, former_secret, grace, grace_until, created_at, issued_at, ",
            "used_at, idle_at, absolute_at, latest_absolute_at, ended_at, principal, assurance, ",
            "signed_in_at, row <= (select revoked_up_to from ruts_state), revoked ",
            "from ruts_sessions ",
            $rest
        )
    };
}

pub(super) const SESSION: &str = select_session!("where id = ?1");

/// Sessions of a principal that were not deleted or revoked, after an id. Without the row of
/// `ruts_state`, the sessions are selected and cannot be decoded, so that the operation fails.
pub(super) const SESSIONS_OF: &str = select_session!(
    "where principal = ?1 and ended_at is null and id > ?2
       and row > coalesce((select revoked_up_to from ruts_state), 0)
     order by id limit ?3"
);

/// A row number above the row numbers of all sessions, and above `revoked_up_to`.
pub(super) const NEXT_ROW: &str = "
select max(revoked_up_to, coalesce((select max(row) from ruts_sessions), 0)) + 1 from ruts_state";

/// Inserts a session, or replaces everything but its id.
pub(super) const SAVE: &str = "
insert into ruts_sessions
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
on conflict (row) do update set
  secret = excluded.secret, former_secret = excluded.former_secret, grace = excluded.grace,
  grace_until = excluded.grace_until, issued_at = excluded.issued_at, used_at = excluded.used_at,
  idle_at = excluded.idle_at, absolute_at = excluded.absolute_at, latest_absolute_at = excluded.latest_absolute_at,
  ended_at = excluded.ended_at, principal = excluded.principal, assurance = excluded.assurance,
  signed_in_at = excluded.signed_in_at, delete_at = excluded.delete_at,
  revoked = excluded.revoked";

pub(super) const DELETE_SESSION: &str = "delete from ruts_sessions where row = ?1";

/// At most `?2` sessions that are not retained.
pub(super) const EXPIRED: &str = "select row from ruts_sessions where delete_at <= ?1 limit ?2";

/// At most `?1` sessions that `revoke_everyone` has ended and the cleanup has not freed yet.
pub(super) const REVOKED: &str = select_session!(
    "where row > (select freed_up_to from ruts_state)
       and row <= (select revoked_up_to from ruts_state)
     order by row limit ?1"
);

/// Records up to which row revoked sessions were freed: `?1`, or all rows if `?1` is null.
pub(super) const NOTE_FREED: &str = "
update ruts_state set freed_up_to = coalesce(?1, revoked_up_to)
where freed_up_to < coalesce(?1, revoked_up_to)";

pub(super) const REVOKE_EVERYONE: &str = "
update ruts_state
set revoked_up_to = max(revoked_up_to, coalesce((select max(row) from ruts_sessions), 0))";

pub(super) const FIELDS: &str =
    "select name, value, expires_at, cache_policy from ruts_fields where session = ?1";

pub(super) const FIELD: &str = "
select name, value, expires_at, cache_policy from ruts_fields where session = ?1 and name = ?2";

pub(super) const SET_FIELD: &str = "
insert into ruts_fields values (?1, ?2, ?3, ?4, ?5)
on conflict (session, name) do update set
  value = excluded.value, expires_at = excluded.expires_at, cache_policy = excluded.cache_policy";

pub(super) const DELETE_FIELD: &str = "delete from ruts_fields where session = ?1 and name = ?2";
pub(super) const DELETE_FIELDS: &str = "delete from ruts_fields where session = ?1";
pub(super) const DELETE_EXPIRED_FIELDS: &str =
    "delete from ruts_fields where session = ?1 and expires_at <= ?2";

pub(super) const COUNT_CHANGE: &str = "update ruts_state set changes = changes + 1";
pub(super) const CHANGES: &str = "select changes from ruts_state";

/// Reads a number that changes when another connection commits.
pub(super) const DATA_VERSION: &str = "pragma data_version";
