-- Runs the last step of a sign-in.
--
-- needs: ARGV, verify
--
-- ARGV: session id, mark, time for which the session stays listed.
return verify(ARGV[1], ARGV[2], ARGV[3])
