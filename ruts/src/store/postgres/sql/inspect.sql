-- Reads a live session without its secret and its fields.
--
-- $1 session id

select
  {session_columns}
from (select $1::bytea as session_id) q
left join {sessions} s on s.session_id = q.session_id and s.ended_at is null
  and {unexpired_predicate}
  and {is_current_predicate}
