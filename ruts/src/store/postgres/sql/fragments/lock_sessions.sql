-- Locks the session of the sign-in, and the sessions that the limit may end, all in the order of
-- their ids. Otherwise two sign-ins could deadlock, if each may end the session of the other.
--
-- needs: p_limit, p_session_id, p_principal, {sessions}, {is_live_predicate}, {step}

if p_limit is not null then
  perform from {sessions} y
  where y.id = any (
    array(select x.id from {sessions} x where x.session_id = p_session_id)
    || array(
      select x.id from {sessions} x
      where {is_live_predicate}
        and x.session_id <> p_session_id
      order by x.session_id
      limit p_limit::bigint + {step}
    )
  )
  order by y.id
  for update;
end if;
