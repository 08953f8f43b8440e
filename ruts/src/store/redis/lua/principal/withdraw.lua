-- Withdraws the first step of a sign-in.
--
-- needs: ARGV, withdraw
--
-- ARGV: session id, mark.
withdraw(ARGV[1], ARGV[2])
