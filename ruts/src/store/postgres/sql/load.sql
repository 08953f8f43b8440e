select
  case
    when pg_is_in_recovery() then 'standby'
    {touched_said}
    when s.secret = $2 then case when s.ended_at is null then 'found' else 'ended' end
    when s.replaced = $2 then 'replaced'
    else 'none'
  end,
  (date_part('epoch', {moment} - case when s.secret = $2 then s.ended_at else s.rotated_at end) * 1000::float8)::bigint,
  (date_part('epoch', {moment} - s.created_at) * 1000::float8)::bigint,
  (date_part('epoch', {moment} - s.rotated_at) * 1000::float8)::bigint,
  (date_part('epoch', {idle_at} - {moment}) * 1000::float8)::bigint,
  (date_part('epoch', s.absolute_at - {moment}) * 1000::float8)::bigint,
  f.name, f.value, f.hot,
  (date_part('epoch', f.expires_at - {moment}) * 1000::float8)::bigint
from {sessions} s
{touched}
left join {fields} f on f.session = s.id
  and s.secret = $2 and s.ended_at is null
  and ($3::text[] is null or f.name = any ($3))
  and (f.expires_at is null or f.expires_at > {moment})
where s.handle = $1
  and (s.idle_at is null or s.idle_at > statement_timestamp())
  and (s.absolute_at is null or s.absolute_at > statement_timestamp())
