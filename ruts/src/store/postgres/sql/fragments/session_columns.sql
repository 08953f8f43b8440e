-- The columns that every read except `expiry` selects first, for session s. A read returns a row even if it
-- finds no session, so that the answer of a standby is recognised. Without a session, all columns but the
-- first two are null.
--
-- needs: s
-- defines: is_standby, now_at

pg_is_in_recovery() as is_standby, statement_timestamp() as now_at, s.created_at, s.rotated_at,
s.used_at, s.idle_at, s.absolute_at, s.signed_at, s.principal, s.assurance
