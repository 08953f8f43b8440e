select
  {meta},
  f.names, f.contents, f.hots, f.ends,
  s.secret <> q.secret, s.grace_until, s.ended_at,
  q.place, $3::bigint is not null and {due}
from unnest($1::bytea[], $2::bytea[]) with ordinality q (handle, secret, place)
-- One by one: the plan for a table that was small once would go on to read all of it.
cross join lateral (select * from {sessions} x where x.handle = q.handle limit 1) s
{held}
where (s.secret = q.secret or s.replaced = q.secret)
  and (s.idle_at is null or s.idle_at > statement_timestamp())
  and (s.absolute_at is null or s.absolute_at > statement_timestamp())
  and s.epoch = (select e.epoch from {epoch} e)
