if p_rotate <> s.secret then
    s.replaced := p_secret;
    s.secret := p_rotate;
    s.rotated_at := moment;
    s.grace := null;
    s.grace_until := moment;
    changed := true;
  end if;
