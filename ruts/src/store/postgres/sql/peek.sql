select
  {meta}
from {sessions} s
where s.handle = $1 and s.ended_at is null
  and (s.idle_at is null or s.idle_at > statement_timestamp())
  and (s.absolute_at is null or s.absolute_at > statement_timestamp())
  and s.epoch = (select e.epoch from {epoch} e)
