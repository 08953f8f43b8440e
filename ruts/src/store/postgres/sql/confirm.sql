if not former and s.grace is not null and s.grace_until is null then
    s.grace_until := moment + s.grace * interval '1 millisecond';
    changed := true;
  end if;
