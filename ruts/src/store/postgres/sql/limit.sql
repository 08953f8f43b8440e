if p_limit is not null then
    -- Locked, so that none of them is somebody else's by the time that it is ended.
    with theirs as (
      select x.id, x.signed_at from {sessions} x
      where {live} and x.handle <> p_handle
      order by x.id
      for update
    )
    select coalesce(array_agg(theirs.id order by theirs.signed_at, theirs.id), '{}')
    into others from theirs;
    if cardinality(others) >= p_limit then
      if not p_end_oldest then
        said := 'limit';
        return;
      end if;
      delete from {sessions} x where x.id = any (others[1 : cardinality(others) - p_limit + 1]);
    end if;
  end if;
