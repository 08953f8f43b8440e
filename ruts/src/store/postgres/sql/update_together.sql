select u.said, u.ago, u.hits, u.value, q.place
from unnest($1::bytea[], $2::bytea[]) with ordinality q (handle, secret, place)
-- One by one: the plan for a table that was small once would go on to read all of it. What waits for no lock
-- while it holds others can be waited for by all.
cross join lateral (
  select x.handle from {sessions} x where x.handle = q.handle for update skip locked
) free
-- With the handle of a session that is locked by now: no plan can ask the function before.
cross join lateral {update}(
  free.handle, q.secret, $3, $4, null, null, null, null, null, null, null, null, null, null, null, null,
  null, null, null, null, $5,
  ($6::bytea[])[(q.place - 1::bigint) * $9::bigint + 1::bigint : q.place * $9::bigint],
  $7, $8
) u
