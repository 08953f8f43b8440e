-- Reads the sessions of several credentials, and the same fields of each. A row shows whether a
-- touch is due, but the statement does not touch the session.
--
-- $1 session ids, $2 secret hashes, $3 and $4 the touch, $5 field names unless all fields are read

select
  {session_columns},
  f.names, f.contents, f.cache_policies, f.expiries,
  s.secret <> q.secret as by_former_secret, {former_until} as former_until,
  s.ended_at,
  s.revoked or not {is_current_predicate} as is_revoked,
  q.ordinal,
  $3::bigint is not null and {touch_due_predicate} as touch_is_due
from unnest($1::bytea[], $2::bytea[]) with ordinality q (session_id, secret, ordinal)
-- A subquery with a limit is an index probe for each session. A join, planned while the table was
-- small, would scan the whole table even after it has grown.
left join lateral (select * from {sessions} x where x.session_id = q.session_id limit 1) s
  on (s.secret = q.secret or s.former_secret = q.secret)
  and {unexpired_predicate}
{join_fields}
