-- Returns from the function: the operation needs the current secret, and a former secret in its
-- grace period or internal credentials were presented.
--
-- needs: outcome, ago_ms
-- defines: outcome, ago_ms

outcome := 'replaced';
ago_ms := 0;
return;
