-- Whether a touch of $3 milliseconds after $4 milliseconds would change session s. It does if the
-- idle deadline moves, or if a renewed secret is used for the first time.
--
-- needs: s, q.secret, $3 idle time, $4 part of it after which a touch is due

s.ended_at is null and (
  q.secret is null or s.secret = q.secret or s.grace is not null and s.grace_until is null
) and (
  (s.secret = q.secret and s.grace is not null and s.grace_until is null)
  or s.idle_at <= statement_timestamp()
    + greatest($3::bigint::float8 - $4::bigint::float8, 0::float8) * interval '1 millisecond'
  or ($4::bigint = 0::bigint and s.idle_at is not null)
)
