-- Reads a live session without its secret and its fields.
--
-- $1 session id

select
  {session_columns}
from {sessions} s
where s.session_id = $1 and s.ended_at is null
  and {unexpired_predicate}
