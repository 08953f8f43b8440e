with touched as (
  update {sessions} s
  set idle_at = clock_timestamp() + $4 * interval '1 millisecond'
  where s.handle = $1 and s.secret = $2 and s.ended_at is null
    and s.idle_at > clock_timestamp()
    and (s.absolute_at is null or s.absolute_at > clock_timestamp())
    and greatest($4 - date_part('epoch', s.idle_at - clock_timestamp()) * 1000, 0) >= $5
  returning s.idle_at
)
