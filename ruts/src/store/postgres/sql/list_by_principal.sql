-- Lists live sessions of a principal with their fields.
--
-- $1 principal, $2 session id before the page, $3 limit, $4 field names or null

select
  {session_columns},
  f.names, f.contents, f.cache_policies, f.expiries,
  s.session_id
from (select $1::bytea as principal) q
left join lateral (
  select s.* from {sessions} s
  where s.principal = q.principal and s.session_id > $2 and s.ended_at is null
    and {unexpired_predicate}
    and {is_current_predicate}
  order by s.session_id
  limit $3
) s on true
{join_fields}
order by s.session_id
