-- Writes the session's row if it changed.
--
-- needs: s, changed, {sessions}

if changed then
  update {sessions} x
  set secret = s.secret, former_secret = s.former_secret, issued_at = s.issued_at, grace = s.grace,
    grace_until = s.grace_until, used_at = s.used_at, idle_at = s.idle_at,
    absolute_at = s.absolute_at, latest_absolute_at = s.latest_absolute_at, signed_in_at = s.signed_in_at,
    principal = s.principal, assurance = s.assurance
  where x.id = s.id;
end if;
