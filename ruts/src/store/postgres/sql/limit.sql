if p_limit is not null then
    others := array(
      select x.id from {sessions} x
      where {live} and x.handle <> p_handle
      order by x.signed_at, x.id
    );
    if cardinality(others) >= p_limit then
      if not p_end_oldest then
        said := 'limit';
        return;
      end if;
      delete from {sessions} x where x.id = any (others[1 : cardinality(others) - p_limit + 1]);
    end if;
  end if;
