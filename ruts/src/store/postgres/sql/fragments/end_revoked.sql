-- Ends sessions without their secrets. The rows stay until the deadlines of the sessions, but for
-- no longer than the retention, so that their secrets are recognised.
--
-- needs: revoked_ids, {sessions}, {fields}, {revoked_retention_ms}

delete from {fields} f where f.session = any (revoked_ids);
update {sessions} x
set ended_at = clock_timestamp(), revoked = true, idle_at = null,
  absolute_at = least(
    x.idle_at, x.absolute_at, clock_timestamp() + {revoked_retention_ms} * interval '1 millisecond'
  ),
  principal = null, assurance = null, signed_in_at = null
where x.id = any (revoked_ids);
