s.ended_at is null and ({secret} or s.grace_until is null) and (
      ({secret} and s.grace is not null and s.grace_until is null)
      or s.idle_at <= statement_timestamp()
        + greatest($3::bigint::float8 - $4::bigint::float8, 0::float8) * interval '1 millisecond'
      or ($4::bigint = 0::bigint and s.idle_at is not null)
    )
