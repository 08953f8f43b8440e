-- Whoever signs in as somebody, or ends all sessions of somebody, does so alone.
  perform pg_advisory_xact_lock(
    ('x' || encode(substring(p_principal from 1 for 8), 'hex'))::bit(64)::bigint
  );
