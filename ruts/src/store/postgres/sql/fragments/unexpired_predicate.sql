-- Whether session s has passed no deadline and is of the current epoch.
--
-- needs: s, {epoch}

(s.idle_at is null or s.idle_at > statement_timestamp())
and (s.absolute_at is null or s.absolute_at > statement_timestamp())
and s.epoch = (select e.epoch from {epoch} e)
