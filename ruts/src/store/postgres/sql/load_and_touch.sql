-- Reads the session for which the credentials are valid, and its fields. Touches the session if the
-- touch is due.
--
-- $1 session id, $2 secret hash or null, $3 and $4 the touch, $5 field names unless all fields are
-- read

select
  {session_columns},
  f.names, f.contents, f.cache_policies, f.expiries,
  coalesce(s.secret <> q.secret, false) as by_former_secret, {former_until} as former_until,
  s.ended_at,
  s.revoked or not {is_current_predicate} as is_revoked,
  case
    when {touch_due_predicate}
    then {touch}(
      p_session_id => $1, p_secret => $2, p_touch_idle => $3, p_touch_after => $4
    )
  end as touched
from (select $1::bytea as session_id, $2::bytea as secret) q
left join {sessions} s on s.session_id = q.session_id
  and (q.secret is null or s.secret = q.secret or s.former_secret = q.secret)
  and {unexpired_predicate}
{join_fields}
