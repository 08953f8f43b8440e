-- Moves the idle deadline if the touch is due. Internal credentials, which have no secret, may move
-- it too.
--
-- needs: p_secret, p_touch_idle, p_touch_after, in_grace, s, moment, changed
-- defines: s, changed

if (not in_grace or p_secret is null)
  and p_touch_idle is not null and s.idle_at is not null and greatest(
  p_touch_idle - date_part('epoch', s.idle_at - moment) * 1000, 0
) >= p_touch_after then
  s.idle_at := moment + p_touch_idle * interval '1 millisecond';
  s.used_at := moment;
  changed := true;
end if;
