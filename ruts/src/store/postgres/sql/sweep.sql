with due as (
  select id from {sessions}
  where gc <= floor(date_part('epoch', statement_timestamp()) / 3600::float8)::int
    and least(idle_at, absolute_at) <= statement_timestamp()
  order by gc
  limit $1
  for update skip locked
),
removed as (
  delete from {sessions} s using due where s.id = due.id returning 1
)
select count(*) from removed
