select
  {meta},
  f.names, f.contents, f.hots, f.ends,
  s.handle
from (
  select * from {sessions} x
  where x.principal = $1 and x.handle > $2 and x.ended_at is null
    and (x.idle_at is null or x.idle_at > statement_timestamp())
    and (x.absolute_at is null or x.absolute_at > statement_timestamp())
    and x.epoch = (select e.epoch from {epoch} e)
  order by x.handle
  limit $3
) s
{held}
order by s.handle
