if changed then
    update {sessions}
    set secret = s.secret, replaced = s.replaced, rotated_at = s.rotated_at,
      idle_at = s.idle_at, absolute_at = s.absolute_at
    where id = s.id;
  end if;
