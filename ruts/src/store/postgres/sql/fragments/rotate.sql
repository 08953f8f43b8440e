-- Replaces the secret, without a grace period.
--
-- needs: p_secret, p_rotate_secret, s, moment, changed
-- defines: s, changed

if p_rotate_secret <> s.secret then
  s.former_secret := p_secret;
  s.secret := p_rotate_secret;
  s.issued_at := moment;
  s.grace := null;
  s.grace_until := null;
  changed := true;
end if;
