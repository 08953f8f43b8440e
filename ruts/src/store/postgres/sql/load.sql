select
  case
    when pg_is_in_recovery() then 'standby'
    {touched_said}
    when s.secret = $2 or (s.replaced = $2 and (s.grace_until is null or s.grace_until > {moment}))
      then case when s.ended_at is null then 'found' else 'ended' end
    when s.replaced = $2 then 'replaced'
    else 'none'
  end,
  {touched_ago}(date_part('epoch', {moment} - case
    when s.secret <> $2 and s.grace_until <= {moment} then s.grace_until
    else s.ended_at
  end) * 1000::float8)::bigint{touched_ago_end},
  s.secret <> $2,
  {meta}
from {sessions} s
{touched}
left join {fields} f on f.session = s.id
  and s.ended_at is null
  and (s.secret = $2 or (s.replaced = $2 and (s.grace_until is null or s.grace_until > {moment})))
  and ($3::text[] is null or f.name = any ($3))
  and (f.expires_at is null or f.expires_at > {moment})
where s.handle = $1
  and (s.idle_at is null or s.idle_at > statement_timestamp())
  and (s.absolute_at is null or s.absolute_at > statement_timestamp())
  and s.epoch = (select e.epoch from {epoch} e)
