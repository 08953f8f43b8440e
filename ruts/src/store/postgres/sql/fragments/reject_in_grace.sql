-- Returns from the function: the operation needs the current secret, and a former one was presented.
--
-- needs: outcome, ago_ms
-- defines: outcome, ago_ms

outcome := 'replaced';
ago_ms := 0;
return;
