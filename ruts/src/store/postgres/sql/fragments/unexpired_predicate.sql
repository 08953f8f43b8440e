-- Whether session s has passed no deadline.
--
-- needs: s

(s.idle_at is null or s.idle_at > statement_timestamp())
and (s.absolute_at is null or s.absolute_at > statement_timestamp())
