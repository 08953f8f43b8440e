-- Enforces the limit on the principal's live sessions: ends the oldest ones, or returns from the
-- function.
--
-- needs: p_principal, p_session_id, p_limit, p_end_oldest, outcome, others, revoked_ids, {sessions},
--   {is_live_predicate}, {end_revoked}
-- defines: outcome, others, revoked_ids

if p_limit is not null then
  -- Locked, so that each is still the principal's when it is deleted.
  with live as (
    select x.id, x.signed_at from {sessions} x
    where {is_live_predicate}
      and x.session_id <> p_session_id
    -- Not by the index on the id, which would be a scan of all sessions.
    order by x.id + 0
    for update
  )
  select coalesce(array_agg(live.id order by live.signed_at, live.id), '{}')
  into others from live;
  if cardinality(others) >= p_limit then
    if not p_end_oldest then
      outcome := 'session_limit';
      return;
    end if;
    revoked_ids := others[1 : cardinality(others) - p_limit + 1];
    {end_revoked}
  end if;
end if;
