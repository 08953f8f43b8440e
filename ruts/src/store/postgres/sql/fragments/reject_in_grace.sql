-- Returns from the function: a secret in its grace period may not do what was asked.
--
-- needs: outcome, ago_ms
-- defines: outcome, ago_ms

outcome := 'replaced';
ago_ms := 0;
return;
