said := 'none';
  select * into s from {sessions} where handle = p_handle for update;
  -- Read once the lock is granted: waiting for it takes time.
  moment := clock_timestamp();
  if s.id is null or s.idle_at <= moment or s.absolute_at <= moment then
    return;
  elsif s.secret = p_secret then
    if s.ended_at is not null then
      said := 'ended';
      ago := date_part('epoch', moment - s.ended_at) * 1000;
      return;
    end if;
  else
    if s.replaced = p_secret then
      said := 'replaced';
      ago := date_part('epoch', moment - s.rotated_at) * 1000;
    end if;
    return;
  end if;
