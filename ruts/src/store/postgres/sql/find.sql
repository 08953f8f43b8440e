select
  case when pg_is_in_recovery() then 'standby' else 'found' end,
  s.handle,
  false,
  {meta}
from (
  select * from {sessions} x
  where x.principal = $1 and x.handle > $2 and x.ended_at is null
    and (x.idle_at is null or x.idle_at > statement_timestamp())
    and (x.absolute_at is null or x.absolute_at > statement_timestamp())
    and x.epoch = (select e.epoch from {epoch} e)
  order by x.handle
  limit $3
) s
left join {fields} f on f.session = s.id
  and ($4::text[] is null or f.name = any ($4))
  and (f.expires_at is null or f.expires_at > statement_timestamp())
order by s.handle
