if p_rotate <> s.secret then
    s.replaced := s.secret;
    s.secret := p_rotate;
    s.rotated_at := moment;
    changed := true;
  end if;
