-- Deletes expired sessions, and skips the rows that another transaction has locked. The deletion
-- compares ids with an array: if it joined `expired` instead, the server might scan all sessions.
-- If a new epoch has ended a session without a deadline, the session is revoked: its row gets a
-- deadline, and loses its fields. In a transaction that the application left open, no session is
-- found.
--
-- $1 limit

with expired as (
  select id from {sessions}
  where cleanup_hour <= floor(date_part('epoch', statement_timestamp()) / 3600::float8)::int
    and least(idle_at, absolute_at) <= statement_timestamp()
    and {is_only_statement_predicate}
  order by cleanup_hour
  limit $1
  for update skip locked
),
deleted as (
  delete from {sessions} s where s.id = any (array(select id from expired)) returning 1
),
endless as (
  select id from {sessions}
  where cleanup_hour is null and epoch < (select e.epoch from {epoch} e)
    and {is_only_statement_predicate}
  limit $1
  for update skip locked
),
freed as (
  delete from {fields} f where f.session = any (array(select id from endless))
),
revoked as (
  update {sessions} s
  set ended_at = statement_timestamp(), revoked = true,
    absolute_at = statement_timestamp()
      + {revoked_retention_ms}::float8 * interval '1 millisecond',
    principal = null, assurance = null, signed_in_at = null
  where s.id = any (array(select id from endless))
  returning 1
)
select greatest((select count(*) from deleted), (select count(*) from revoked)) as count
