left join lateral (
  select * from {touch}($1, $2, $4, $5)
  where s.ended_at is null
    and (s.secret = $2 or (s.replaced = $2 and s.grace_until is null))
    and (
      (s.secret = $2 and s.grace is not null and s.grace_until is null)
      or (s.idle_at is not null and greatest(
        $4::float8 - date_part('epoch', s.idle_at - statement_timestamp()) * 1000::float8, 0
      ) >= $5::float8)
    )
  offset 0 -- keeps the condition in front of the call
) t on true
