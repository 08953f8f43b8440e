-- Locks a principal until the end of the transaction. Sign-ins and revocations of one principal
-- wait for each other.
--
-- needs: p_principal

perform pg_advisory_xact_lock(
  ('x' || encode(substring(p_principal from 1 for 8), 'hex'))::bit(64)::bigint
);
