-- The columns that every read except `expiry` selects first, for session s. A read returns a row
-- even if it finds no session. So the answer of a standby, and an answer in a foreign transaction,
-- are recognised. Without a session, all columns but the first three are null.
--
-- needs: s, {is_only_statement_predicate}
-- defines: is_standby, is_only_statement, now_at

pg_is_in_recovery() as is_standby, {is_only_statement_predicate} as is_only_statement,
statement_timestamp() as now_at, s.created_at, s.issued_at, s.used_at, s.idle_at, s.absolute_at,
s.signed_in_at, s.principal, s.assurance
