-- Reads the session for which the credentials are valid, and its fields.
--
-- $1 session id, $2 secret hash or null, $3 field names unless all fields are read

select
  {session_columns},
  f.names, f.contents, f.cache_policies, f.expiries,
  coalesce(s.secret <> q.secret, false) as by_former_secret, {former_until} as former_until,
  s.ended_at,
  s.revoked or not {is_current_predicate} as is_revoked
from (select $1::bytea as session_id, $2::bytea as secret) q
left join {sessions} s on s.session_id = q.session_id
  and (q.secret is null or s.secret = q.secret or s.former_secret = q.secret)
  and {unexpired_predicate}
{join_fields}
