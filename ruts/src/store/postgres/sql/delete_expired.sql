-- Deletes expired sessions, and skips the rows that another transaction has locked. With a join of
-- `expired`, the server might scan all sessions.
--
-- $1 limit

with expired as (
  select id from {sessions}
  where cleanup_hour <= floor(date_part('epoch', statement_timestamp()) / 3600::float8)::int
    and least(idle_at, absolute_at) <= statement_timestamp()
  order by cleanup_hour
  limit $1
  for update skip locked
),
deleted as (
  delete from {sessions} s where s.id = any (array(select id from expired)) returning 1
)
select count(*) as count
from deleted
