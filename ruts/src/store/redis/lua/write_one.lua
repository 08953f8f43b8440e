-- Writes one session.
--
-- needs: KEYS, ARGV, write_session
--
-- KEYS[1] is the session. ARGV and the answer are the same as for `write_session`.
return write_session(KEYS[1], ARGV)
