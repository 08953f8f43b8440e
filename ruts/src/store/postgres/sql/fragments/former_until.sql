-- The moment from which the former secret of session s is not accepted. Null until the current
-- secret is used. Without a grace period, it is never in the future, even if the clock of the
-- server has stepped back.
--
-- needs: s

case
  when s.grace is null then least(s.issued_at, statement_timestamp())
  else s.grace_until
end
