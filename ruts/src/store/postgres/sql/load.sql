select
  {meta},
  f.names, f.contents, f.hots, f.ends,
  s.secret <> $2, s.grace_until, s.ended_at{touched}
from {sessions} s
{held}
where s.handle = $1
  and (s.secret = $2 or s.replaced = $2)
  and (s.idle_at is null or s.idle_at > statement_timestamp())
  and (s.absolute_at is null or s.absolute_at > statement_timestamp())
  and s.epoch = (select e.epoch from {epoch} e)
