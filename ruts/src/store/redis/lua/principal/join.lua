-- Runs the first step of a sign-in.
--
-- needs: ARGV, join
--
-- ARGV: session id, nonce, time for which the session stays listed, maximum number of sessions.
return join(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
