-- Reads which deadline of a session has passed, if the row of the session still exists.
--
-- $1 session id

select pg_is_in_recovery() as is_standby, {is_only_statement_predicate} as is_only_statement, (
  select
    case when s.absolute_at is null or s.idle_at < s.absolute_at then 'idle' else 'absolute' end
  from {sessions} s
  where s.session_id = $1::bytea and s.ended_at is null
    and not ({unexpired_predicate})
    and {is_current_predicate}
) as expiry
