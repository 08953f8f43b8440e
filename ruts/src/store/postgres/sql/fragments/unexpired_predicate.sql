-- Whether no deadline of session s has passed.
--
-- needs: s

(s.idle_at is null or s.idle_at > statement_timestamp())
and (s.absolute_at is null or s.absolute_at > statement_timestamp())
