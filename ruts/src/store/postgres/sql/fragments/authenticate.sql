-- Locks the session and checks the secret. The function returns here if the credentials are not
-- accepted. A null secret stands for internal credentials, which have the rights of a former secret
-- in its grace period.
--
-- needs: p_session_id, p_secret, outcome, ago_ms, s, moment, is_revoked, by_former_secret,
--   in_grace, {sessions}, {epoch}
-- defines: outcome, ago_ms, s, moment, is_revoked, by_former_secret, in_grace

outcome := 'not_found';
select * into s from {sessions} x where x.session_id = p_session_id for update;
-- Waiting for the lock takes time, so the clock is read after the wait.
moment := clock_timestamp();
is_revoked := s.revoked or s.epoch is distinct from (select e.epoch from {epoch} e);
if s.id is null or s.idle_at <= moment or s.absolute_at <= moment then
  return;
elsif p_secret is null then
  by_former_secret := true;
  in_grace := true;
elsif s.secret <> p_secret then
  if s.former_secret is distinct from p_secret then
    return;
  end if;
  by_former_secret := true;
  in_grace := s.grace_until is not null;
  if (s.grace is null or s.grace_until <= moment) and not is_revoked then
    outcome := 'replaced';
    ago_ms := greatest(date_part('epoch', moment - coalesce(s.grace_until, s.issued_at)) * 1000, 0);
    return;
  end if;
end if;
if is_revoked then
  outcome := 'revoked';
  return;
elsif s.ended_at is not null then
  outcome := 'deleted';
  ago_ms := date_part('epoch', moment - s.ended_at) * 1000;
  return;
end if;
