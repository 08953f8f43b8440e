if not late and p_idle is not null and s.idle_at is not null and greatest(
    p_idle - date_part('epoch', s.idle_at - moment) * 1000, 0
  ) >= p_after then
    s.idle_at := moment + p_idle * interval '1 millisecond';
    s.used_at := moment;
    changed := true;
  end if;
