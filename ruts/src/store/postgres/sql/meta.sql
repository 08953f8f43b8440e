pg_is_in_recovery(), statement_timestamp(), s.created_at, s.rotated_at, s.used_at, s.idle_at,
  s.absolute_at, s.signed_at, s.principal, s.assurance
