with free as materialized (
  select x.handle from {sessions} x where x.handle = any ($1::bytea[]) for update skip locked
)
select u.said, u.ago, u.hits, u.value, q.place
from unnest($1::bytea[], $2::bytea[]) with ordinality q (handle, secret, place)
join free on free.handle = q.handle
-- With the handle of a session that is locked by now: no plan can ask the function before.
cross join lateral {update}(
  free.handle, q.secret, $3, $4, null, null, null, null, null, null, null, null, null, null, null, null,
  null, null, null, null, $5,
  ($6::bytea[])[(q.place - 1::bigint) * $9::bigint + 1::bigint : q.place * $9::bigint],
  $7, $8
) u
