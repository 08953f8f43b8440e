select
  case
    when s.secret = $2 then case when s.ended_at is null then 'found' else 'ended' end
    when s.replaced = $2 then 'replaced'
    else 'none'
  end,
  (date_part('epoch', statement_timestamp() - coalesce(s.ended_at, s.rotated_at)) * 1000)::bigint,
  (date_part('epoch', statement_timestamp() - s.created_at) * 1000)::bigint,
  (date_part('epoch', statement_timestamp() - s.rotated_at) * 1000)::bigint,
  (date_part('epoch', {idle_at} - statement_timestamp()) * 1000)::bigint,
  (date_part('epoch', s.absolute_at - statement_timestamp()) * 1000)::bigint,
  f.name, f.value, f.hot,
  (date_part('epoch', f.expires_at - statement_timestamp()) * 1000)::bigint
from {sessions} s {touched}
left join {fields} f on f.session = s.id
  and s.secret = $2 and s.ended_at is null
  and ($3::text[] is null or f.name = any ($3))
  and (f.expires_at is null or f.expires_at > statement_timestamp())
where s.handle = $1
  and (s.idle_at is null or s.idle_at > statement_timestamp())
  and (s.absolute_at is null or s.absolute_at > statement_timestamp())
