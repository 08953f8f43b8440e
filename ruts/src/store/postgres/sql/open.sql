said := 'none';
  select * into s from {sessions} where handle = p_handle for update;
  -- Read once the lock is granted: waiting for it takes time.
  moment := clock_timestamp();
  if s.id is null or s.idle_at <= moment or s.absolute_at <= moment
    or s.epoch <> (select e.epoch from {epoch} e)
  then
    return;
  elsif s.secret <> p_secret then
    if s.replaced is distinct from p_secret then
      return;
    end if;
    former := true;
    late := s.grace_until is not null;
    if s.grace_until <= moment then
      said := 'replaced';
      ago := date_part('epoch', moment - s.grace_until) * 1000;
      return;
    end if;
  end if;
  if s.ended_at is not null then
    said := 'ended';
    ago := date_part('epoch', moment - s.ended_at) * 1000;
    return;
  end if;
