-- Starts the grace period of the former secret at the first use of the current one.
--
-- needs: by_former_secret, s, moment, changed
-- defines: s, changed

if not by_former_secret and s.grace is not null and s.grace_until is null then
  s.grace_until := moment + s.grace * interval '1 millisecond';
  changed := true;
end if;
