-- Enforces the limit on the principal's live sessions: ends the oldest ones, or returns from the
-- function. If at least one step of sessions is above the limit, this fragment ends some of them
-- and sets the outcome `again`. The ended sessions need not be the oldest sessions of the
-- principal. But they are never among its latest sessions, which may stay.
--
-- needs: p_principal, p_session_id, p_limit, p_end_oldest, outcome, others, revoked_ids, {sessions},
--   {is_live_predicate}, {end_revoked}, {step}
-- defines: outcome, others, revoked_ids

if p_limit is not null then
  -- Locked, so that each session still belongs to the principal when it is ended.
  with live as (
    select x.id, x.signed_in_at from {sessions} x
    where {is_live_predicate}
      and x.session_id <> p_session_id
    order by x.session_id
    limit p_limit::bigint + {step}
    for update
  )
  select coalesce(array_agg(live.id order by live.signed_in_at, live.id), '{}')
  into others from live;
  if cardinality(others) >= p_limit then
    if not p_end_oldest then
      outcome := 'session_limit';
      return;
    end if;
    revoked_ids := others[1 : cardinality(others) - p_limit + 1];
    {end_revoked}
    if cardinality(others) = p_limit::bigint + {step} then
      outcome := 'again';
      return;
    end if;
  end if;
end if;
